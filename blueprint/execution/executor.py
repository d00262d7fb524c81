"""The scheduler: runs the units of a plan concurrently, in the order of their needs, each with a deadline.

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
    waiting_for: str = ""


class Executor:
    """Runs the units of a plan, all at once or stage by stage.

    Attributes:
        unit_statuses: The status of each unit that has ended.
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
            jobs: As the attribute.
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
        self._ends: queue.SimpleQueue[tuple[Unit, TaskOutcome]] = queue.SimpleQueue()
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
        passed = all(status.passed for status in self.unit_statuses.values())
        own = ExitCode.INTERRUPTED if self.interrupted else ExitCode.PROVEN if passed else ExitCode.TASK_FAILED
        return outcome.worst({own, *self._exit_codes})

    def run(self, functions: Mapping[Unit, UnitFunction]) -> bool:
        """Run the planned units that have a function here, each once its needs have passed; tell whether all passed.

        If more are ready than may run, the one with the longest chain behind it comes first, by the deadlines.
        A unit that fails blocks those that need it; the others go on. Returns when all have ended, or have been
        recorded as interrupted; units that were not reached then have no status.

        Raises:
            ValueError: A task here needs one that is planned, has not ended, and has no function here either.
            BaseException: The error of `record`, for example because the disk is full. The running units are told
                to stop and are given a moment; nothing more is recorded.
        """
        if self._stop.is_set():
            return False
        needs = self._needs(functions)
        if needs:
            self._record(UnitsPlanned(tuple(unit for unit in functions if unit in needs)))
            self._run(needs, functions)
        ended = (self.unit_statuses.get(unit) for unit in functions if unit.task in self._plan.planned)
        return not self._stop.is_set() and all(status is not None and status.passed for status in ended)

    def _run(self, needs: Mapping[Unit, list[Unit]], functions: Mapping[Unit, UnitFunction]) -> None:
        inside = {unit: [need for need in found if need in needs] for unit, found in needs.items()}
        chains = longest_chains(inside, {unit: self._timeout(unit) for unit in needs}) if self.jobs > 1 else {}
        sorter = TopologicalSorter(inside)
        sorter.prepare()
        ready: list[Unit] = []
        try:
            while sorter.is_active() and not self._stop.is_set():
                if found := sorter.get_ready():
                    ready = sorted((*ready, *found), key=lambda unit: (-chains.get(unit, 0.0), unit.sort_key))
                unit = self._next(ready)
                if unit is None:
                    for unit, ended in self._ended():
                        self._finish(unit, ended)
                        sorter.done(unit)
                elif blocked := self._blocked(unit, needs[unit]):
                    self._finish(unit, blocked)
                    sorter.done(unit)
                else:
                    self._start(unit, functions[unit])
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

    def _next(self, ready: list[Unit]) -> Unit | None:
        """Take the first unit that may be started now: while all jobs are busy, one of a task at work."""
        tasks = {unit.task for unit in self._running}
        for place, unit in enumerate(ready):
            if len(tasks) < self.jobs or unit.task in tasks:
                return ready.pop(place)
        return None

    def _timeout(self, unit: Unit) -> float:
        return self._plan.by_number[unit.task].spec.timeout + self.extra_seconds.get(unit.task, 0.0)

    def _blocked(self, unit: Unit, needs: list[Unit]) -> TaskOutcome | None:
        for need in needs:
            status = self.unit_statuses[need]
            if not status.passed:
                which = "its own shared part" if need.task == unit.task else f"task {need.task}"
                return outcome.blocked(which, status)
        return None

    def _start(self, unit: Unit, function: UnitFunction) -> None:
        self._record(TaskStarted(unit.task, unit.deployment, self._plan.by_number[unit.task].mode.value))
        started = self._clock()
        control = TaskControl(unit.task, started + self._timeout(unit), clock=self._clock)
        running = _Running(control, started)

        def tell(text: str) -> None:
            running.waiting_for = text
            self._tell(unit, text)

        def work() -> None:
            try:
                ended = outcome.returned(function(control))
            except BaseException as error:  # noqa: BLE001 - a SystemExit too: whatever it is, the execution hears of it
                ended = self._judge(error, unit, running)
            self._ends.put((unit, ended))

        control.tell = tell
        self._running[unit] = running
        name = f"task-{unit.task}" + (f"-{unit.deployment}" if unit.deployment else "")
        threading.Thread(target=work, name=name, daemon=True).start()

    def _judge(self, error: BaseException, unit: Unit, running: _Running) -> TaskOutcome:
        if (self._stop.is_set() or running.control.stopped.is_set()) and not isinstance(error, TaskSkipped):
            return outcome.interrupted(running.waiting_for)  # whatever else it says: it was told to stop
        if isinstance(error, TaskStopped) and running.control.remaining() <= 0:
            return outcome.timed_out(self._timeout(unit), running.waiting_for)
        return outcome.raised(error)

    def _ended(self) -> Iterator[tuple[Unit, TaskOutcome]]:
        """Wait a moment for a unit to end, and yield it and the units whose time is over."""
        end = self._next_end(_NOTICE_SECONDS)
        if end is not None:
            yield end
        now = self._clock()
        for unit, running in list(self._running.items()):
            if now >= running.control.deadline + self._grace:
                running.control.stopped.set()
                yield unit, outcome.timed_out(self._timeout(unit), running.waiting_for)

    def _wound_down(self) -> Iterator[tuple[Unit, TaskOutcome]]:
        """Tell the running units to stop, give them a moment, and abandon the rest."""
        for running in self._running.values():
            running.control.stopped.set()
        end_of_patience = self._clock() + _WIND_DOWN_SECONDS
        while self._running:
            end = self._next_end(max(0.0, end_of_patience - self._clock()))
            if end is None:
                break
            yield end
            self._running.pop(end[0], None)
        for unit, running in sorted(self._running.items(), key=lambda item: item[0].sort_key):
            yield unit, outcome.interrupted(running.waiting_for)

    def _next_end(self, seconds: float) -> tuple[Unit, TaskOutcome] | None:
        """Return the next end of a unit that is still waited for; None if there is none in time."""
        try:
            while True:
                end = self._ends.get(timeout=seconds)
                if end[0] in self._running:
                    return end
        except queue.Empty:
            return None

    def _finish(self, unit: Unit, ended: TaskOutcome) -> None:
        running = self._running.pop(unit, None)
        seconds = 0.0 if running is None else self._clock() - running.started
        self.unit_statuses[unit] = ended.status
        self._exit_codes.add(ended.exit_code)
        self._record(TaskFinished(unit.task, unit.deployment, ended, round(seconds, 6)))
