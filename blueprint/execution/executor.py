"""The scheduler: runs the units of a plan concurrently, in the order of their needs.

Each has a deadline.

Every unit has a thread of its own. The main thread decides and records, and so it is always there for a signal.
The threads are daemons: one that hangs is abandoned and does not keep the program from ending. Nothing here knows
what the tasks do. Standard library only.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from blueprint.core.errors import ExitCode
from blueprint.core.task import Evidence, Status, TaskControl, TaskSkipped, TaskStopped
from blueprint.execution import outcome
from blueprint.execution.events import Event, TaskFinished, TaskStarted, Unit, UnitsPlanned
from blueprint.execution.outcome import TaskOutcome
from blueprint.execution.plan import Plan, longest_chains

UnitFunction = Callable[[TaskControl], Evidence]

GRACE_SECONDS = 5.0  # that a task may need after its deadline to end what it began
_NOTICE_SECONDS = 0.1  # a signal handler sets an event, and that does not wake a thread that waits on a queue
_WIND_DOWN_SECONDS = 0.5  # after an interruption; the answer to Ctrl-C stays well within a second


@dataclass
class _Running:
    """A unit at work; its thread writes `waiting_for`, the main thread everything else."""

    control: TaskControl
    started: float
    timeout: float
    waiting_for: str = ""


@dataclass(frozen=True)
class _End:
    """The end of a unit's function: the value that it returned, or the error that it raised."""

    unit: Unit
    ended: float
    value: object = None
    error: BaseException | None = None


class Executor:
    """Runs the units of a plan, all at once or stage by stage.

    Attributes:
        unit_statuses: The status of each unit that has ended; it grows while `run` is at work.
        jobs: Largest number of tasks at work at the same time; 1 means strictly one after the other, by number.
        extra_seconds: By how much the deadlines of single tasks are raised.
    """

    def __init__(
        self,
        plan: Plan,
        record: Callable[[Event], object],
        *,
        tell: Callable[[Unit, str], None],
        jobs: int = 8,
        clock: Callable[[], float] = time.monotonic,
        stop: threading.Event | None = None,
        done: Mapping[Unit, Status] | None = None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            plan: The tasks to run and to check first.
            record: Called in the thread of `run` with each event.
            tell: Called in a unit's thread with the unit and what it waits for.
            jobs: Largest number of tasks at work at the same time.
            clock: Monotonic seconds.
            stop: Ends the execution within a second when it is set, for example by a signal handler.
            done: The units that finished before, in another process of the same execution.
            grace: Seconds after its deadline within which a unit may still return.
        """
        self.unit_statuses: dict[Unit, Status] = dict(done or {})
        self.jobs = jobs
        self.extra_seconds: Mapping[int, float] = {}
        self._plan = plan
        self._record = record
        self._tell = tell
        self._clock = clock
        self._stop = stop or threading.Event()
        self._grace = grace
        self._running: dict[Unit, _Running] = {}
        self._ends: queue.SimpleQueue[_End] = queue.SimpleQueue()
        self._exit_codes: set[ExitCode] = set()

    @property
    def statuses(self) -> dict[int, Status]:
        """The status of each task of which a unit has ended."""
        by_task: dict[int, dict[str | None, TaskOutcome]] = {}
        for unit, status in self.unit_statuses.items():
            by_task.setdefault(unit.task, {})[unit.deployment] = TaskOutcome(status)
        return {number: outcome.combine(found).status for number, found in by_task.items()}

    @property
    def interrupted(self) -> bool:
        """Tell whether it was stopped before everything planned had ended."""
        if not self._stop.is_set():
            return False
        statuses = self.statuses
        return any(statuses.get(number) in (None, Status.INTERRUPTED) for number in self._plan.planned)

    @property
    def exit_code(self) -> ExitCode:
        """The worst code so far: bug, interruption, refused environment or settings, failed task, or none."""
        if ExitCode.BUG in self._exit_codes:
            return ExitCode.BUG
        if self.interrupted:
            return ExitCode.INTERRUPTED
        for code in (ExitCode.ENVIRONMENT, ExitCode.USAGE):
            if code in self._exit_codes:
                return code
        passed = all(status.passed for status in self.unit_statuses.values())
        return ExitCode.PROVEN if passed else ExitCode.TASK_FAILED

    def run(self, functions: Mapping[Unit, UnitFunction]) -> None:
        """Run the planned units that have a function here, each once its needs have passed.

        If more are ready than may run, the one with the longest chain behind it comes first, by the deadlines.
        A unit that fails blocks those that need it; the others go on. Returns when all have ended, or have been
        recorded as interrupted; units that were not reached then have no status.

        Raises:
            ValueError: A task here needs one that is planned, has not ended, and has no function here either.
            BaseException: The error of `record`, for example because the disk is full. The running units are told
                to stop and are given a moment; nothing more is recorded.
        """
        if self._stop.is_set():
            return
        needs = self._needs(functions)
        if not needs:
            return
        self._record(UnitsPlanned(tuple(unit for unit in functions if unit in needs)))
        order = _Order(needs, {unit: self._timeout(unit) for unit in needs} if self.jobs > 1 else None)
        try:
            while order.is_active() and not self._stop.is_set():
                self._start_ready(order, needs, functions)
                for unit, ended in self._ended():
                    self._finish(unit, ended)
                    order.done(unit)
            for unit, ended in self._wound_down():
                self._finish(unit, ended)
        except BaseException:
            for _ in self._wound_down():
                pass
            raise

    def _needs(self, functions: Mapping[Unit, UnitFunction]) -> dict[Unit, list[Unit]]:
        """Return for each unit to carry out here the units that must have passed before it, ended or not."""
        planned = set(self._plan.planned)
        here = {unit for unit in functions if unit.task in planned and unit not in self.unit_statuses}
        known: dict[int, list[Unit]] = {}
        for unit in (*here, *self.unit_statuses):
            known.setdefault(unit.task, []).append(unit)
        needs = {}
        for unit in sorted(here, key=lambda unit: unit.sort_key):
            found = [Unit(unit.task)] if unit.deployment is not None and Unit(unit.task) in here else []
            for number in self._plan.by_number[unit.task].spec.needs:
                if number in planned and number not in known:
                    raise ValueError(f"task {unit.task} needs task {number}, which has neither run nor a function here")
                units = known.get(number, [])
                own = Unit(number, unit.deployment)
                found += [own] if own in units else units
            needs[unit] = sorted(found, key=lambda unit: unit.sort_key)
        return needs

    def _start_ready(
        self, order: _Order, needs: Mapping[Unit, list[Unit]], functions: Mapping[Unit, UnitFunction]
    ) -> None:
        while not self._stop.is_set():
            tasks = {unit.task for unit in self._running}
            unit = order.next(None if len(tasks) < self.jobs else tasks)
            if unit is None:
                return
            blocking = self._blocking(unit, needs[unit])
            if blocking is None:
                self._start(unit, functions[unit])
            else:
                self._finish(unit, blocking)
                order.done(unit)

    def _timeout(self, unit: Unit) -> float:
        return self._plan.by_number[unit.task].spec.timeout + self.extra_seconds.get(unit.task, 0.0)

    def _blocking(self, unit: Unit, needs: list[Unit]) -> TaskOutcome | None:
        for need in needs:
            status = self.unit_statuses[need]
            if not status.passed:
                which = "its own shared part" if need.task == unit.task else f"task {need.task}"
                return outcome.blocked(which, status)
        return None

    def _start(self, unit: Unit, function: UnitFunction) -> None:
        self._record(TaskStarted(unit.task, unit.deployment, self._plan.by_number[unit.task].mode.value))
        started = self._clock()
        timeout = self._timeout(unit)
        running = _Running(TaskControl(unit.task, started + timeout, clock=self._clock), started, timeout)

        def tell(text: str) -> None:
            running.waiting_for = text
            self._tell(unit, text)

        def work() -> None:
            try:
                value = function(running.control)
            except BaseException as error:  # noqa: BLE001 - a SystemExit too: whatever it is, the execution hears of it
                self._ends.put(_End(unit, self._clock(), error=error))
            else:
                self._ends.put(_End(unit, self._clock(), value=value))

        running.control.tell = tell
        self._running[unit] = running
        name = f"task-{unit.task}" + (f"-{unit.deployment}" if unit.deployment else "")
        threading.Thread(target=work, name=name, daemon=True).start()

    def _ended(self) -> Iterator[tuple[Unit, TaskOutcome]]:
        """Wait a moment for a unit to end, and yield it and the units whose time is over."""
        if not self._running:
            return
        end = self._next_end(_NOTICE_SECONDS)
        if end is not None:
            yield end.unit, self._judge(end)
        now = self._clock()
        for unit, running in list(self._running.items()):
            if now >= running.control.deadline + self._grace:
                running.control.stopped.set()
                yield unit, outcome.timed_out(running.timeout, running.waiting_for)

    def _wound_down(self) -> Iterator[tuple[Unit, TaskOutcome]]:
        """Tell the running units to stop, give them a moment, and abandon the rest."""
        for running in self._running.values():
            running.control.stopped.set()
        end_of_patience = self._clock() + _WIND_DOWN_SECONDS
        while self._running:
            end = self._next_end(max(0.0, end_of_patience - self._clock()))
            if end is None:
                break
            judged = self._judge(end)
            yield end.unit, judged
            self._running.pop(end.unit, None)
        for unit, running in sorted(self._running.items(), key=lambda item: item[0].sort_key):
            yield unit, outcome.interrupted(running.waiting_for)

    def _next_end(self, seconds: float) -> _End | None:
        """Return the next end of a unit that is still waited for; None if there is none in time."""
        try:
            while True:
                end = self._ends.get(timeout=seconds)
                if end.unit in self._running:
                    return end
        except queue.Empty:
            return None

    def _judge(self, end: _End) -> TaskOutcome:
        running = self._running[end.unit]
        if end.error is None:
            return outcome.returned(end.value)
        if running.control.stopped.is_set() and not isinstance(end.error, TaskSkipped):
            return outcome.interrupted(running.waiting_for)  # whatever else it says: it was told to stop
        if isinstance(end.error, TaskStopped) and end.ended >= running.control.deadline:
            return outcome.timed_out(running.timeout, running.waiting_for)
        return outcome.raised(end.error)

    def _finish(self, unit: Unit, ended: TaskOutcome) -> None:
        running = self._running.pop(unit, None)
        seconds = 0.0 if running is None else self._clock() - running.started
        self.unit_statuses[unit] = ended.status
        self._exit_codes.add(ended.exit_code)
        self._record(TaskFinished(unit.task, unit.deployment, ended, round(seconds, 6)))


class _Order:
    """Order of the units: among the ready ones, the longest chain of dependants comes first.

    A unit is ready when its needs have ended. Between equals, or without deadlines, the lowest number comes first.
    """

    def __init__(self, needs: Mapping[Unit, list[Unit]], timeouts: Mapping[Unit, float] | None) -> None:
        inside = {unit: [need for need in found if need in needs] for unit, found in needs.items()}
        self._chains = longest_chains(inside, timeouts) if timeouts else {}
        self._sorter = TopologicalSorter(inside)
        self._sorter.prepare()
        self._ready: list[Unit] = []

    def is_active(self) -> bool:
        """Tell whether a unit is left that is not `done`."""
        return self._sorter.is_active()

    def next(self, tasks: set[int] | None = None) -> Unit | None:
        """Return the unit to start now, each once; None while everything left needs something that is not done.

        Args:
            tasks: If given, only units of these tasks may be started.
        """
        found = self._sorter.get_ready()
        if found:
            self._ready += found
            self._ready.sort(key=lambda unit: (-self._chains.get(unit, 0.0), unit.sort_key))
        for place, unit in enumerate(self._ready):
            if tasks is None or unit.task in tasks:
                return self._ready.pop(place)
        return None

    def done(self, unit: Unit) -> None:
        """Say that the unit has ended, however it did."""
        self._sorter.done(unit)
