"""Runs a plan: order, concurrency, deadlines, interruption. Knows nothing of what the tasks do.

Every task has a thread of its own. The main thread decides and records, and so it is always there for a signal.
The threads are daemons: one that hangs is abandoned and does not keep the program from ending.
Standard library only.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from blueprint.core.errors import ExitCode
from blueprint.core.task import Evidence, Status, TaskControl, TaskSkipped, TaskStopped
from blueprint.execution import outcome as verdict
from blueprint.execution.outcome import TaskOutcome
from blueprint.execution.plan import Order, Plan, longest_chains

TaskFunction = Callable[[TaskControl], Evidence]

GRACE_SECONDS = 5.0  # what a task may need after its deadline to end what it began
_NOTICE_SECONDS = 0.1  # a signal handler sets an event, and that does not wake a thread that waits on a queue
_WIND_DOWN_SECONDS = 0.5  # after an interruption; the answer to Ctrl-C stays well within a second


@dataclass
class _Running:
    """A task at work; its thread writes `waiting_for`, the main thread all else."""

    control: TaskControl
    started: float
    seconds: float
    waiting_for: str = ""


@dataclass(frozen=True)
class _Outcome:
    """How a task's function ended: what it returned, or what it raised."""

    number: int
    ended: float
    value: object = None
    error: BaseException | None = None


class Execution:
    """One run of a plan, in one part or in several.

    Attributes:
        statuses: How each task ended that was finished, blocked or interrupted; it grows while `run` is at work.
        extra_seconds: By how much the deadlines of single tasks are raised.
    """

    def __init__(
        self,
        plan: Plan,
        record: Callable[..., object],
        *,
        tell: Callable[[int, str], None],
        jobs: int = 8,
        clock: Callable[[], float] = time.monotonic,
        stop: threading.Event | None = None,
        done: Mapping[int, Status] | None = None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            plan: What to run and what to check first.
            record: Called in the thread of `run` as `record(kind, **fields)` with `task started`, `task finished`.
            tell: Called in a task's thread with its number and what it waits for.
            jobs: How many tasks may run at the same time; 1 means strictly one after the other, by number.
            clock: Monotonic seconds.
            stop: When it is set, for example by a signal handler, the execution ends within a second.
            done: What was finished before, in another process of the same execution.
            grace: Seconds after its deadline within which a task may still return.
        """
        self.statuses: dict[int, Status] = dict(done or {})
        self._plan = plan
        self._record = record
        self._tell = tell
        self.jobs = jobs
        self.extra_seconds: Mapping[int, float] = {}
        self._clock = clock
        self._stop = stop or threading.Event()
        self._grace = grace
        self._running: dict[int, _Running] = {}
        self._outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        self._exit_codes: set[ExitCode] = set()

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before all that was planned had ended."""
        unfinished = (None, Status.INTERRUPTED)
        return self._stop.is_set() and any(self.statuses.get(n) in unfinished for n in self._plan.planned)

    @property
    def exit_code(self) -> ExitCode:
        """The worst so far: a bug, an interruption, the environment or settings refusing, a failed task, or none."""
        if ExitCode.BUG in self._exit_codes:
            return ExitCode.BUG
        if self.interrupted:
            return ExitCode.INTERRUPTED
        for code in (ExitCode.ENVIRONMENT, ExitCode.USAGE):
            if code in self._exit_codes:
                return code
        passed = all(status.passed for status in self.statuses.values())
        return ExitCode.PROVEN if passed else ExitCode.TASK_FAILED

    def run(self, functions: Mapping[int, TaskFunction]) -> None:
        """Run those planned tasks that have a function here, each as soon as what it needs has passed.

        If more are ready than may run, the one with the longest chain behind it comes first, by the deadlines.

        A failed task blocks those that need it; the others go on. Returns when all have ended, or have been
        recorded as interrupted; then tasks that were not reached have no status.

        Raises:
            ValueError: A task here needs one that is planned, has not ended, and has no function here either.
            BaseException: What `record` raised, for example because the disk is full. The running tasks are told
                to stop and are given a moment; nothing more is recorded.
        """
        if self._stop.is_set():
            return
        needs = self._needs(functions)
        seconds = {number: self._seconds(number) for number in needs}
        order = Order(needs, longest_chains(needs, seconds) if self.jobs > 1 else None)
        try:
            while order.is_active() and not self._stop.is_set():
                self._start_what_is_ready(order, functions)
                for number, judged in self._ended():
                    self._finish(number, judged)
                    order.done(number)
            for number, judged in self._wound_down():
                self._finish(number, judged)
        except BaseException:
            for _ in self._wound_down():
                pass
            raise

    def _needs(self, functions: Mapping[int, TaskFunction]) -> dict[int, list[int]]:
        """For each task to run here, those it needs that run here too."""
        planned = set(self._plan.planned)
        here = {number for number in functions if number in planned and number not in self.statuses}
        needs = {}
        for number in sorted(here):
            all_needs = self._plan.by_number[number].spec.needs
            for need in all_needs:
                if need in planned and need not in here and need not in self.statuses:
                    raise ValueError(f"task {number} needs task {need}, which has neither run nor a function here")
            needs[number] = [need for need in all_needs if need in here]
        return needs

    def _start_what_is_ready(self, order: Order, functions: Mapping[int, TaskFunction]) -> None:
        while len(self._running) < self.jobs and not self._stop.is_set():
            number = order.next()
            if number is None:
                return
            blocked = self._blocked(number)
            if blocked is None:
                self._start(number, functions[number])
            else:
                self._finish(number, blocked)
                order.done(number)

    def _seconds(self, number: int) -> float:
        return self._plan.by_number[number].spec.timeout + self.extra_seconds.get(number, 0.0)

    def _blocked(self, number: int) -> TaskOutcome | None:
        for need in self._plan.by_number[number].spec.needs:
            status = self.statuses.get(need, Status.OK)  # no status: not part of the plan, so it counts as there
            if not status.passed:
                return verdict.blocked(need, status)
        return None

    def _start(self, number: int, function: TaskFunction) -> None:
        task = self._plan.by_number[number]
        self._record("task started", task=number, mode=task.mode.value)
        started = self._clock()
        seconds = self._seconds(number)
        running = _Running(TaskControl(number, started + seconds, clock=self._clock), started, seconds)

        def tell(text: str) -> None:
            running.waiting_for = text
            self._tell(number, text)

        def work() -> None:
            try:
                value = function(running.control)
            except BaseException as error:  # noqa: BLE001 - a SystemExit too: whatever it is, the execution hears of it
                self._outcomes.put(_Outcome(number, self._clock(), error=error))
            else:
                self._outcomes.put(_Outcome(number, self._clock(), value=value))

        running.control.tell = tell
        self._running[number] = running
        threading.Thread(target=work, name=f"task-{number}", daemon=True).start()

    def _ended(self) -> Iterator[tuple[int, TaskOutcome]]:
        """Wait until a task ends, but only for a moment; then also those that have had all their time."""
        if not self._running:
            return
        outcome = self._next_outcome(_NOTICE_SECONDS)
        if outcome is not None:
            yield outcome.number, self._judge(outcome)
        now = self._clock()
        for number, running in list(self._running.items()):
            if now >= running.control.deadline + self._grace:
                running.control.stopped.set()
                yield number, verdict.too_long(running.seconds, running.waiting_for)

    def _wound_down(self) -> Iterator[tuple[int, TaskOutcome]]:
        """Tell what still runs to stop, give it a moment, and abandon the rest."""
        for running in self._running.values():
            running.control.stopped.set()
        end = self._clock() + _WIND_DOWN_SECONDS
        while self._running:
            outcome = self._next_outcome(max(0.0, end - self._clock()))
            if outcome is None:
                break
            judged = self._judge(outcome)
            yield outcome.number, judged
            self._running.pop(outcome.number, None)
        for number, running in sorted(self._running.items()):
            yield number, verdict.interrupted(running.waiting_for)

    def _next_outcome(self, seconds: float) -> _Outcome | None:
        """The next end of a task that is still waited for; None if there is none in time."""
        try:
            while True:
                outcome = self._outcomes.get(timeout=seconds)
                if outcome.number in self._running:
                    return outcome
        except queue.Empty:
            return None

    def _judge(self, outcome: _Outcome) -> TaskOutcome:
        running = self._running[outcome.number]
        error = outcome.error
        if error is None:
            return verdict.returned(outcome.value)
        if running.control.stopped.is_set() and not isinstance(error, TaskSkipped):
            return verdict.interrupted(running.waiting_for)  # whatever else it says: it was told to stop
        if isinstance(error, TaskStopped) and outcome.ended >= running.control.deadline:
            return verdict.too_long(running.seconds, running.waiting_for)
        return verdict.raised(error)

    def _finish(self, number: int, judged: TaskOutcome) -> None:
        running = self._running.pop(number, None)
        seconds = 0.0 if running is None else self._clock() - running.started
        self.statuses[number] = judged.status
        self._exit_codes.add(judged.exit_code)
        self._record("task finished", task=number, seconds=round(seconds, 6), **judged.as_record())
