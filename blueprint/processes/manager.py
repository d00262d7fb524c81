"""The services of one workspace: started, adopted, restarted and stopped, and never a process that is not proven ours.

What is needed to start something is imported where that is done: `plan`, `verify` and `stop` do without it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint.core.errors import BlueprintError
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed, TaskStopped, within
from blueprint.processes import records
from blueprint.processes.ending import end_family
from blueprint.processes.finding import NOT_RUNNING, STOPPED, Found, find, find_without_record
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.listening import port_held
from blueprint.processes.ownership import OwnershipTag, owned_processes, tag_of, tagged_processes
from blueprint.processes.ports import holder, is_free
from blueprint.processes.records import RecordDamaged, ServiceRecord
from blueprint.processes.spec import Service, ServiceChange
from blueprint.processes.table import Process

if TYPE_CHECKING:
    from blueprint.processes.launching import Launched

_GRACE_SECONDS = 10.0
_FAILED_START_GRACE_SECONDS = 1.0  # the task's time is over by then
_PORT_SECONDS = 15.0  # for another service of ours, which is being stopped, to leave a port
_LOCK_SECONDS = 0.1


def _nobody_listens(_name: str, _facts: dict[str, Any]) -> None:
    pass


class ServiceManager:
    """Starts, adopts and stops the services of one workspace; safe to use from several threads at once."""

    def __init__(
        self, folder: Path, workspace_id: str, on_started: Callable[[str, dict[str, Any]], None] = _nobody_listens
    ) -> None:
        """Args:
        folder: Where the records are kept, `state/services`.
        workspace_id: The random id of the workspace; what is started carries it.
        on_started: Told of each process that is started: the service's name, and its pid, port, log and reason.
        """
        self._folder = folder
        self._workspace = self.workspace = workspace_id
        self._on_started = on_started
        self._settled: set[str] = set()  # what this manager has seen up
        self._begun: dict[str, tuple[Launched, str]] = {}  # what it has started and not waited for, and why
        self._locks: dict[str, threading.Lock] = {}
        self._locks_lock = threading.Lock()

    # --- what is -----------------------------------------------------------------------------------------------------

    def record(self, name: str) -> ServiceRecord | None:
        """What is remembered of the service; None if nothing that can be used, or of another workspace."""
        with contextlib.suppress(RecordDamaged):
            record = records.read(self._folder, name)
            if record is not None and record.workspace == self._workspace:
                return record
        return None

    def state(self, name: str) -> str:
        """`running`, `frozen`, `stopped`, `not ours: …`, or `running without a record: …`; takes milliseconds."""
        found = self._find(name)
        if found.state == STOPPED and found.record is None:
            family = owned_processes(self._mark(name))
            if family:
                return f"running without a record: {family[0]}"
        return found.state

    def strays(self) -> list[Process]:
        """What carries this workspace's mark and is of no service that runs: left behind by one that ended."""
        alive: set[int] = set()
        for name in records.names(self._folder):
            found = self._find(name)
            if found.record is not None and found.leader is not None:
                alive |= {seen.pid for seen in owned_processes(self._mark(name), {found.record.identity})}
        return [
            seen for family in tagged_processes(self._workspace).values() for seen in family if seen.pid not in alive
        ]

    # --- making it so ------------------------------------------------------------------------------------------------

    def begin(self, service: Service, control: TaskControl) -> None:
        """Start a service that is not running, without waiting: `ensure` does that later, and says what is wrong.

        Nothing is done if something of it runs, or somebody holds its port.

        Raises:
            TaskFailed: Its program cannot be started.
            EnvironmentRefused: Its log or its record cannot be written.
            TaskStopped: The execution was interrupted.
        """
        mark = self._mark(service.name)
        with self._alone_with(service.name, control):
            found = self._find(service.name)
            if found.leader is not None or owned_processes(mark, {found.identity} if found.identity else ()):
                return
            if service.port is not None and not is_free(service.host, service.port):
                return
            self._begun[service.name] = (self._launch(service, found.why_not), found.why_not)

    def stop_begun(self) -> None:
        """Stop what was begun and is not waited for by anyone: what it is to work with does not come."""
        for name in list(self._begun):
            with contextlib.suppress(TaskFailed, TaskStopped, BlueprintError):  # the first error is the one to tell
                self.stop(name, within(10), _FAILED_START_GRACE_SECONDS)

    def ensure(self, service: Service, control: TaskControl) -> ServiceChange:
        """See that the service runs as configured and answers: adopt it, or end what is left of it and start it.

        Raises:
            TaskFailed: It did not get ready in time, or died while it was starting.
            EnvironmentRefused: Its port is held by a stranger, or the disk or the system do not allow it.
            TaskStopped: The execution was interrupted; what was started goes on and is adopted the next time.
        """
        from blueprint.processes import readiness

        mark = self._mark(service.name)
        fingerprint = service.fingerprint(self._workspace)
        with self._alone_with(service.name, control):
            found = self._find(service.name)
            if service.name in self._begun:
                started, why = self._begun.pop(service.name)
                record = found.record
                if record is not None and record.fingerprint == fingerprint and record.identity == started.identity:
                    self._wait(service, started, control)
                    return ServiceChange(started.identity, changed=True, reason=why)
            how_found = ""
            if found.record is None:
                found, how_found = self._recover(service, found, fingerprint)
            why = found.why_not
            if found.record is not None and found.leader is not None:
                why = readiness.why_unfit(service, mark, fingerprint, found.record, found.leader, control)
                if not why:
                    if not found.record.ready:
                        records.write(self._folder, replace(found.record, ready=True))
                    self._settled.add(service.name)
                    return ServiceChange(found.record.identity, changed=False, reason=how_found)
            left = end_family(mark, found.identity, control, _GRACE_SECONDS)
            if left.seen and found.leader is None:
                why += f"; what was left of it was ended: {', '.join(map(str, left.seen))}"
            self._free_the_port(service, control)
            started = self._launch(service, why)
            self._wait(service, started, control)
            return ServiceChange(started.identity, changed=True, reason=why)

    def stop(self, name: str, control: TaskControl, grace: float = _GRACE_SECONDS) -> str | None:
        """End the service with everything that it started; gives a sentence, or None if nothing of it was running.

        Args:
            name: The service's name.
            control: Gives the deadline and the wish to stop.
            grace: Seconds between SIGTERM and SIGKILL.

        Raises:
            TaskFailed: A process cannot be killed.
            EnvironmentRefused: One belongs to another user.
        """
        with self._alone_with(name, control):
            self._settled.discard(name)
            self._begun.pop(name, None)
            found = self._find(name)
            ended = end_family(self._mark(name), found.identity, control, grace)
            records.remove(self._folder, name)
        if not ended.seen:
            return None
        title = found.record.title if found.record else name
        killed = f", of which {', '.join(map(str, ended.killed))} had to be killed" if ended.killed else ""
        return f"{title} stopped: {', '.join(map(str, ended.seen))}{killed}."

    def stop_all(self, control: TaskControl) -> list[str]:
        """Stop every service of this workspace, the youngest first, and whatever else carries its mark.

        One that cannot be stopped does not keep the others from being stopped; its error is raised at the end.
        """
        known = {name: self.record(name) for name in {*records.names(self._folder), *tagged_processes(self._workspace)}}
        youngest_first = sorted(known.items(), key=lambda item: item[1].started_at if item[1] else "", reverse=True)
        sentences: list[str] = []
        failure: BlueprintError | TaskFailed | None = None
        for name, _ in youngest_first:
            try:
                sentence = self.stop(name, control)
            except (BlueprintError, TaskFailed) as error:
                failure = failure or error
            else:
                sentences += [sentence] if sentence else []
        if failure is not None:
            raise failure
        return sentences

    # --- parts of the above ------------------------------------------------------------------------------------------

    def _mark(self, name: str) -> OwnershipTag:
        return OwnershipTag(self._workspace, name)

    def _find(self, name: str) -> Found:
        return find(self._folder, self._mark(name))

    @contextlib.contextmanager
    def _alone_with(self, name: str, control: TaskControl) -> Iterator[None]:
        lock = self._lock(name)
        while not lock.acquire(timeout=_LOCK_SECONDS):
            control.pause(0)
        try:
            yield
        finally:
            lock.release()

    def _lock(self, name: str) -> threading.Lock:
        with self._locks_lock:
            return self._locks.setdefault(name, threading.Lock())

    def _recover(self, service: Service, found: Found, fingerprint: str) -> tuple[Found, str]:
        """If only the record is missing, write it anew; tells what was wrong with the old one."""
        identity = find_without_record(service, self._mark(service.name), fingerprint)
        if identity is None:
            return found, ""
        records.write(self._folder, self._new_record(service, identity, fingerprint))
        reason = "its record was missing" if found.why_not == NOT_RUNNING else found.why_not
        return self._find(service.name), f"{reason}; its process (pid {identity.pid}) was found by its mark"

    def _new_record(self, service: Service, identity: ProcessIdentity, fingerprint: str) -> ServiceRecord:
        return ServiceRecord(
            name=service.name,
            title=service.title,
            workspace=self._workspace,
            identity=identity,
            fingerprint=fingerprint,
            host=service.host,
            port=service.port,
            log=str(service.log),
            started_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        )

    def _free_the_port(self, service: Service, control: TaskControl) -> None:
        """See that nobody has the port; another service of ours that an earlier configuration gave it to is ended."""
        from blueprint.core.waiting import wait_until

        if service.port is None or is_free(service.host, service.port):
            return
        wait_until(
            control,
            lambda: self._left_by_its_holder(service, control),
            seconds=_PORT_SECONDS,
            what=f"{service.title} needs {service.address}",
        )

    def _left_by_its_holder(self, service: Service, control: TaskControl) -> None:
        assert service.port is not None  # noqa: S101
        found = holder(service.port, service.host)
        mark = tag_of(found.pid) if found and found.pid else None
        ours = mark is not None and mark.workspace == self._workspace and mark.service != service.name
        if ours and mark is not None and mark.service not in self._settled:
            lock = self._lock(mark.service)
            if not lock.acquire(blocking=False):  # it is being started anew or stopped by another thread
                raise NotReady(f"it is held by our own {mark.service}, {found}")
            try:
                end_family(mark, self._find(mark.service).identity, control, _GRACE_SECONDS)
            finally:
                lock.release()
        elif not is_free(service.host, service.port):
            raise port_held(service, found)

    def _launch(self, service: Service, why: str) -> Launched:
        from blueprint.processes.launching import launch

        fingerprint = service.fingerprint(self._workspace)
        started = launch(service, self._mark(service.name), fingerprint)
        with self._ended_if_it_fails(service, started):
            records.write(self._folder, self._new_record(service, started.identity, fingerprint))
            details = {"pid": started.identity.pid, "port": service.port, "log": str(service.log), "reason": why}
            self._on_started(service.name, details)
        return started

    def _wait(self, service: Service, started: Launched, control: TaskControl) -> None:
        from blueprint.processes.readiness import wait_until_ready

        with self._ended_if_it_fails(service, started):
            wait_until_ready(service, self._mark(service.name), started, control, control.remaining())
            record = self.record(service.name)
            if record is None:
                raise TaskFailed(f"The record of {service.title} (pid {started.identity.pid}) was removed meanwhile.")
            records.write(self._folder, replace(record, ready=True))
        self._settled.add(service.name)

    @contextlib.contextmanager
    def _ended_if_it_fails(self, service: Service, started: Launched) -> Iterator[None]:
        try:
            yield
        except TaskStopped:
            raise  # interrupted: services are left as they are
        except Exception:
            with contextlib.suppress(TaskFailed, TaskStopped, BlueprintError):  # the first error is the one to tell
                end_family(self._mark(service.name), started.identity, within(10), _FAILED_START_GRACE_SECONDS)
                records.remove(self._folder, service.name)
            raise
