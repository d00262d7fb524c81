"""Lines for the terminal and the execution log, in the order of the task numbers.

Tasks run side by side, but people read by number: a task's line is held back until those before it have theirs, and
until it has ended for every deployment. Standard library only.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from blueprint.core.files import PRIVATE_FILE
from blueprint.core.task import PHASES, Status, TaskSpec
from blueprint.execution.events import Entry, TaskFinished, TaskStarted, Unit, UnitsPlanned
from blueprint.execution.outcome import TaskOutcome, combine
from blueprint.execution.plan import Plan

_WAITING_FIRST_SECONDS = 2.0
_WAITING_AGAIN_SECONDS = 5.0


@dataclass
class _Task:
    """A task that has begun or ended in part.

    Attributes:
        planned: The deployments of its units, in the order of the settings.
        ended: The outcomes of those that have ended, by deployment.
        began: The time at which its first unit began, in seconds of the clock; None if none did.
        seconds: From its first beginning to its last end.
        at: The time at which its last unit ended: UTC, ISO 8601.
    """

    planned: list[str | None] = field(default_factory=list)
    ended: dict[str | None, TaskOutcome] = field(default_factory=dict)
    began: float | None = None
    seconds: float = 0.0
    at: str = ""

    @property
    def outcome(self) -> TaskOutcome:
        """The outcome as a whole."""
        order = {deployment: self.ended[deployment] for deployment in self.planned if deployment in self.ended}
        return combine(order | self.ended)


class Lines:
    """Writes events to a terminal and to the log; the log's lines carry the time."""

    def __init__(
        self,
        plan: Plan,
        log: Path,
        terminal: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        shown: int = 0,
        redact: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        """Open the log for appending.

        Args:
            plan: Tells which tasks there will be lines for.
            log: The execution's log.
            terminal: The terminal, or any other text stream.
            clock: Monotonic seconds.
            shown: The last task whose line an earlier stage of this execution has written.
            redact: Takes the secrets out of a text.
        """
        self._plan = plan
        self._log = open(log, "a", encoding="utf-8", errors="backslashreplace", opener=_private)  # noqa: SIM115  Path.open takes no opener
        self._terminal = terminal
        self._clock = clock
        self._redact = redact
        self._expected = [number for number in plan.planned if number > shown]
        self._tasks: defaultdict[int, _Task] = defaultdict(_Task)
        self._blocked: list[int] = []  # ended, and folded into one line with those that follow
        self._failed: list[int] = []
        self._told: dict[Unit, tuple[float, str]] = {}
        self._several = False  # deployments
        self._phase = self._spec(shown).phase if shown else 0
        self._guard = threading.Lock()

    def line(self, text: str = "", at: str | None = None) -> None:
        """Write one line to both."""
        moment = datetime.now().astimezone() if at is None else datetime.fromisoformat(at).astimezone()
        text = _one_line(self._redact(text))
        try:
            print(text, file=self._terminal, flush=True)
        except UnicodeEncodeError:  # first: it is a ValueError too
            print(text.encode("ascii", "replace").decode(), file=self._terminal, flush=True)
        except (OSError, ValueError):  # the terminal is gone (closed, or a pipe without a reader): the log goes on
            self._terminal = Path(os.devnull).open("w")  # noqa: SIM115  it stays open as long as this object
        self._log.write(f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {text}\n")
        self._log.flush()

    def observe(self, entry: Entry) -> None:
        """Take note of an event."""
        event = entry.event
        with self._guard:
            if isinstance(event, UnitsPlanned):
                for unit in event.units:
                    self._tasks[unit.task].planned.append(unit.deployment)
                self._several = len({unit.deployment for unit in event.units} - {None}) > 1
            elif isinstance(event, TaskStarted):
                task = self._tasks[event.task]
                task.began = self._clock() if task.began is None else task.began
            elif isinstance(event, TaskFinished):
                self._finished(event, entry.at)

    def waiting(self, unit: Unit, text: str) -> None:
        """Write what a unit waits for, but only after a moment and not too often."""
        with self._guard:
            now = self._clock()
            began = self._tasks[unit.task].began or now
            last, told = self._told.get(unit, (began - 1.5 * _WAITING_FIRST_SECONDS, ""))
            patience = _WAITING_FIRST_SECONDS if text != told else _WAITING_AGAIN_SECONDS
            if now - began >= _WAITING_FIRST_SECONDS and now - last >= patience:
                self._told[unit] = (now, text)
                whose = f"{unit.deployment}: " if self._several and unit.deployment else ""
                lead = self._lead(unit.task, "…", now - began)
                self.line(f"{lead}{self._spec(unit.task).title}: waiting: {whose}{text}")

    def flush(self) -> None:
        """Write the lines that are held back; none can come before them any more."""
        with self._guard:
            for number in self._expected:
                if self._tasks[number].ended:
                    self._write(number)
            self._expected.clear()
            self._write_blocked()

    def close(self) -> None:
        """Write the lines that are held back and close the log."""
        self.flush()
        self._log.close()

    def _spec(self, number: int) -> TaskSpec:
        return self._plan.by_number[number].spec

    def _finished(self, event: TaskFinished, at: str) -> None:
        task = self._tasks[event.task]
        task.ended[event.deployment] = event.outcome
        task.seconds = event.seconds or 0.0 if len(task.ended) == 1 else self._clock() - (task.began or self._clock())
        task.at = at
        while self._expected:
            following = self._tasks[self._expected[0]]
            if not following.ended or any(deployment not in following.ended for deployment in following.planned):
                return
            self._write(self._expected.pop(0))

    def _write(self, number: int) -> None:
        task = self._tasks[number]
        outcome = task.outcome
        if outcome.status is Status.BLOCKED:
            self._blocked.append(number)
            return
        self._write_blocked()
        if outcome.status is Status.FAILED:
            self._failed.append(number)
        self._announce_phase(number, task.at)
        lead = self._lead(number, outcome.status.value, task.seconds)
        self.line(f"{lead}{self._spec(number).title}: {outcome.summary}", task.at)
        because = outcome.reason if outcome.status is Status.CHANGED else ""  # a failure has none to look at or to do
        for name, text in (("because", because), ("look at", outcome.where_to_look), ("to do", outcome.hint)):
            if text:
                self.line(f"{'':28}{name}: {text}", task.at)

    def _write_blocked(self) -> None:
        """Write blocked tasks that follow one another as one line."""
        blocked, self._blocked = self._blocked, []
        if not blocked:
            return
        first, at = blocked[0], self._tasks[blocked[-1]].at
        self._announce_phase(first, at)
        text = f"{self._spec(first).title}: {self._tasks[first].outcome.summary}"
        if len(blocked) > 1:
            need = f"they need task {' and '.join(map(str, self._failed)) or 'another'}, which failed"
            text = f"{len(blocked)} tasks, {first} to {blocked[-1]}, were not run: {need}"
        self.line(f"{self._lead(first, Status.BLOCKED.value, 0.0)}{text}", at)
        self._phase = self._spec(blocked[-1]).phase

    def _announce_phase(self, number: int, at: str) -> None:
        phase = self._spec(number).phase
        if phase != self._phase:
            self._phase = phase
            self.line(f"Phase {phase}: {PHASES[phase]}", at)

    def _lead(self, number: int, status: str, seconds: float) -> str:
        return f"[{number:02}/{len(self._plan.tasks)}] {status:<11} {seconds:5.1f} s  "


def _one_line(text: str) -> str:
    """Escape line breaks and control characters in texts of others, such as exceptions and servers."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else ascii(char)[1:-1] for char in text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
