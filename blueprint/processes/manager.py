"""The services of one workspace: started, adopted, restarted and stopped, and never a process that is not proven ours.

What is needed to start something is imported where that is done: `plan`, `verify` and `stop` do without it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint.core.errors import BlueprintError
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskStopped, within
from blueprint.processes import records
from blueprint.processes.ending import end_service
from blueprint.processes.finding import NOT_RUNNING, Found, find, find_without_record, port_held, require_listener
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.log import ServiceLog
from blueprint.processes.ownership import OwnershipTag, owned_processes, tag_of, tagged_processes
from blueprint.processes.ports import holder, is_free
from blueprint.processes.records import RecordDamaged, ServiceRecord
from blueprint.processes.spec import ServiceChange, ServiceSpec
from blueprint.processes.table import Process

if TYPE_CHECKING:
    from blueprint.processes.starting import Launched

_GRACE_SECONDS = 10.0
_FAILED_START_GRACE_SECONDS = 1.0  # the task's time is over by then
_LEAVING_SECONDS = 5.0  # for a process that was killed to end
_PORT_SECONDS = 15.0  # for another service of ours, which is being stopped, to leave a port
_LOCK_SECONDS = 0.1
_LAST_LINES = 20  # of the log of a service that died: what it said hours ago is not the cause


class ServiceManager:
    """Starts, adopts, reads and stops the services of one workspace; safe to use from several threads at once."""

    def __init__(
        self, folder: Path, workspace_id: str, on_started: Callable[[str, dict[str, Any]], None] | None = None
    ) -> None:
        """Manage the services whose records are in a folder; what is started carries the workspace's id.

        `on_started` is told of each process that is started: the service's name, and its pid, port, log and reason.
        """
        self._folder = folder
        self.workspace = workspace_id
        self._on_started = on_started
        self._settled: set[str] = set()  # what this manager has seen up
        self._begun: dict[str, tuple[Launched, str]] = {}  # what it has started and not waited for, and why
        self._locks: dict[str, threading.Lock] = {}

    def record(self, name: str) -> ServiceRecord | None:
        """Read the record of a service; None if there is none that can be used, or it is another workspace's."""
        with contextlib.suppress(RecordDamaged):
            record = records.read(self._folder, name)
            if record is not None and record.workspace == self.workspace:
                return record
        return None

    def state(self, name: str) -> str:
        """Say how a service is: `running`, `frozen`, `stopped…`, `not ours: …` or `running without a record: …`."""
        found = self._find(name)
        if found.leader is not None:
            return "frozen" if found.leader.frozen else "running"
        if found.foreign:
            return f"not ours: {found.reason}"
        if found.record is None:
            processes = owned_processes(self._tag(name))
            if processes:
                return f"running without a record: {processes[0]}"
            return "stopped" if found.reason == NOT_RUNNING else f"stopped: {found.reason}"
        said = ServiceLog(Path(found.record.log)).telling_line(found.record.log_offset, _LAST_LINES)
        return f"stopped: {found.reason}; its log says: {said}"

    def require_running(self, spec: ServiceSpec) -> ProcessIdentity:
        """Return the service's main process, proven to run and to hold the service's port.

        Raises:
            NotReady: It does not run, or nobody listens; says how the service is.
            EnvironmentRefused: Somebody else holds the port; names the process.
        """
        found = self._find(spec.name)
        if found.leader is None or found.leader.frozen:
            raise NotReady(self.state(spec.name))
        require_listener(spec, self._tag(spec.name), found.leader.identity)
        return found.leader.identity

    def begin(self, spec: ServiceSpec, control: TaskControl) -> None:
        """Start a service that is not running, without waiting: `ensure` does that later, and says what is wrong.

        Nothing is done if something of it runs, or somebody holds its port.
        """
        with self._locked(spec.name, control):
            found = self._find(spec.name)
            if owned_processes(self._tag(spec.name), found.known) or not self._can_listen(spec):
                return
            self._begun[spec.name] = (self._launch(spec, found.reason), found.reason)

    def stop_begun(self) -> None:
        """Stop what was begun and is not waited for by anyone: what it is to work with does not come."""
        for name in list(self._begun):
            with contextlib.suppress(TaskStopped, BlueprintError):  # the first error is the one to tell
                self.stop(name, within(10), _FAILED_START_GRACE_SECONDS)

    def ensure(self, spec: ServiceSpec, control: TaskControl) -> ServiceChange:
        """Have the service run as configured and answer: adopt it, or end what is left of it and start it.

        Raises:
            BlueprintError: It is not up.
            TaskStopped: The execution was interrupted; what was started goes on and is adopted the next time.
        """
        from blueprint.processes.starting import unfit_reason

        tag = self._tag(spec.name)
        with self._locked(spec.name, control):
            if spec.name in self._begun:
                started, reason = self._begun.pop(spec.name)
                return self._wait(spec, started, reason, control)
            found = self._find(spec.name)
            how_found = ""
            if found.record is None:
                found, how_found = self._recover(spec, found)
            reason = unfit_reason(spec, tag, found, control)
            if not reason and found.record is not None:
                if not found.record.ready:
                    records.write(self._folder, replace(found.record, ready=True))
                self._settled.add(spec.name)
                return ServiceChange(identity=found.record.identity, changed=False, reason=how_found)
            left = end_service(tag, found.known, control, _GRACE_SECONDS)
            if left.processes and found.leader is None:
                reason += f"; what was left of it was ended: {_names(left.processes)}"
            self._free_the_port(spec, control)
            return self._wait(spec, self._launch(spec, reason), reason, control)

    def stop(self, name: str, control: TaskControl, grace: float = _GRACE_SECONDS) -> str | None:
        """End the service with everything that it started, as `end_service` does; name what was ended, if anything."""
        with self._locked(name, control):
            self._settled.discard(name)
            self._begun.pop(name, None)
            found = self._find(name)
            ended = end_service(self._tag(name), found.known, control, grace)
            records.remove(self._folder, name)
        if not ended.processes:
            return None
        title = found.record.title if found.record else name
        killed = f", of which {_names(ended.killed)} had to be killed" if ended.killed else ""
        return f"{title} stopped: {_names(ended.processes)}{killed}."

    def stop_all(self, control: TaskControl) -> list[str]:
        """Stop every service of this workspace, each before those that it uses, and whatever else carries its tag.

        One that cannot be stopped does not keep the others from being stopped; its error is raised at the end. Else a
        sentence is returned for each that was running.
        """
        names = {*records.names(self._folder), *tagged_processes(self.workspace)}
        sentences: list[str | None] = []
        failure: BlueprintError | None = None
        for name in self._stopping_order(names):
            try:
                sentences.append(self.stop(name, control))
            except BlueprintError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return [sentence for sentence in sentences if sentence]

    def _stopping_order(self, names: Iterable[str]) -> list[str]:
        """Return the names in the order of stopping: the youngest first, but a service before those that it uses.

        A worker whose server is gone tries for seconds to tell it of its own end.
        """
        found = {name: self.record(name) for name in names}
        started = {name: record.started_at if record else "" for name, record in found.items()}
        order: TopologicalSorter[str] = TopologicalSorter()
        youngest = sorted(found, key=started.__getitem__, reverse=True)
        for name in youngest:
            order.add(name)
            record = found[name]
            for used in record.depends_on if record else ():
                order.add(used, name)
        try:
            return [name for name in order.static_order() if name in found]
        except CycleError:  # of a damaged record: stopping matters more than its order
            return youngest

    def _tag(self, name: str) -> OwnershipTag:
        return OwnershipTag(self.workspace, name)

    def _find(self, name: str) -> Found:
        return find(self._folder, self._tag(name))

    @contextlib.contextmanager
    def _locked(self, name: str, control: TaskControl) -> Iterator[None]:
        lock = self._lock(name)
        while not lock.acquire(timeout=_LOCK_SECONDS):
            control.pause(0)
        try:
            yield
        finally:
            lock.release()

    def _lock(self, name: str) -> threading.Lock:
        return self._locks.setdefault(name, threading.Lock())

    def _recover(self, spec: ServiceSpec, found: Found) -> tuple[Found, str]:
        """Write the record anew if only it is missing; say what was wrong with the old one."""
        identity = find_without_record(spec, self._tag(spec.name))
        if identity is None:
            return found, ""
        records.write(self._folder, records.new(spec, self._tag(spec.name), identity))
        reason = "its record was missing" if found.reason == NOT_RUNNING else found.reason
        return self._find(spec.name), f"{reason}; its process (pid {identity.pid}) was found by its tag"

    def _can_listen(self, spec: ServiceSpec) -> bool:
        return spec.port is None or is_free(spec.host, spec.port)

    def _free_the_port(self, spec: ServiceSpec, control: TaskControl) -> None:
        """Have the port free; another service of ours that an earlier configuration gave it to is ended."""
        from blueprint.core.waiting import wait_until

        if self._can_listen(spec):
            return
        patience = control.clock() + _LEAVING_SECONDS
        wait_until(
            control,
            lambda: self._end_our_holder(spec, control, patience),
            seconds=_PORT_SECONDS,
            what=f"{spec.address}, which {spec.title} needs",
        )

    def _end_our_holder(self, spec: ServiceSpec, control: TaskControl, patience: float) -> None:
        assert spec.port is not None  # noqa: S101
        found = holder(spec.port, spec.host)
        tag = tag_of(found.pid) if found and found.pid else None
        if tag and tag.workspace == self.workspace and tag.service not in (spec.name, *self._settled):
            lock = self._lock(tag.service)
            if not lock.acquire(blocking=False):  # it is being started anew or stopped by another thread
                raise NotReady(f"it is held by our own {tag.service}, {found}")
            try:
                end_service(tag, self._find(tag.service).known, control, _GRACE_SECONDS)
            finally:
                lock.release()
        elif not is_free(spec.host, spec.port):
            if found and found.is_leaving and control.clock() < patience:
                raise NotReady("it is held by a process that is ending")
            raise port_held(spec, found)

    def _launch(self, spec: ServiceSpec, reason: str) -> Launched:
        from blueprint.processes.starting import launch

        started = launch(spec, self._tag(spec.name))
        with self._ended_on_failure(spec, started):
            records.write(self._folder, started.record)
            details = {"pid": started.record.identity.pid, "port": spec.port, "log": str(spec.log), "reason": reason}
            if self._on_started:
                self._on_started(spec.name, details)
        return started

    def _wait(self, spec: ServiceSpec, started: Launched, reason: str, control: TaskControl) -> ServiceChange:
        from blueprint.processes.starting import wait_until_ready

        with self._ended_on_failure(spec, started):
            wait_until_ready(spec, self._tag(spec.name), started, control)
            records.write(self._folder, replace(started.record, ready=True))
        self._settled.add(spec.name)
        return ServiceChange(identity=started.record.identity, changed=True, reason=reason)

    @contextlib.contextmanager
    def _ended_on_failure(self, spec: ServiceSpec, started: Launched) -> Iterator[None]:
        try:
            yield
        except TaskStopped:
            raise  # interrupted: services are left as they are
        except Exception:
            with contextlib.suppress(TaskStopped, BlueprintError):  # the first error is the one to tell
                end_service(self._tag(spec.name), {started.record.identity}, within(10), _FAILED_START_GRACE_SECONDS)
                records.remove(self._folder, spec.name)
            raise


def _names(processes: Mapping[ProcessIdentity, Process]) -> str:
    return ", ".join(map(str, processes.values()))
