"""Plain lines for the terminal and the execution log: a view of the records, in the order of the task numbers.

Tasks run side by side, but people read by number: a task's line is held back until those before it have theirs.
Standard library only.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from blueprint.core.files import PRIVATE_FILE
from blueprint.core.task import PHASES, TaskSpec
from blueprint.execution.plan import Plan

_WAITING_FIRST_SECONDS = 2.0
_WAITING_AGAIN_SECONDS = 5.0


class Lines:
    """Writes what happens to a terminal and to the log; the log's lines carry the time."""

    def __init__(
        self, plan: Plan, log: Path, terminal: TextIO, *, clock: Callable[[], float] = time.monotonic, shown: int = 0
    ) -> None:
        """Go on with a log.

        Args:
            plan: Tells which tasks there will be lines for.
            log: The execution's log; appended to.
            terminal: Where a person reads.
            clock: Monotonic seconds.
            shown: The last task whose line an earlier stage of this execution has written.
        """
        self._expected = [number for number in plan.planned if number > shown]
        self._plan = plan
        self._log = open(log, "a", encoding="utf-8", errors="backslashreplace", opener=_private)  # noqa: SIM115  Path.open takes no opener
        self._terminal = terminal
        self._clock = clock
        self._held: dict[int, tuple[str, list[str]]] = {}
        self._started: dict[int, float] = {}
        self._told: dict[int, tuple[float, str]] = {}
        self._phase = plan.by_number[shown].spec.phase if shown else 0
        self._guard = threading.Lock()

    def line(self, text: str = "", at: str | None = None) -> None:
        """Write one line to both."""
        moment = datetime.now().astimezone() if at is None else datetime.fromisoformat(at).astimezone()
        text = _one_line(text)
        try:
            print(text, file=self._terminal, flush=True)
        except UnicodeEncodeError:  # first: it is a ValueError too
            print(text.encode("ascii", "replace").decode(), file=self._terminal, flush=True)
        except (OSError, ValueError):  # the terminal is gone (closed, or a pipe without a reader): the log goes on
            self._terminal = Path(os.devnull).open("w")  # noqa: SIM115  it stays open as long as this object
        self._log.write(f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {text}\n")
        self._log.flush()

    def record(self, record: Mapping[str, Any]) -> None:
        """Take note of a journal record."""
        with self._guard:
            if record["kind"] == "task started":
                self._started[record["task"]] = self._clock()
            elif record["kind"] == "task finished":
                self._held[record["task"]] = (
                    record["at"],
                    _result(record, self._spec(record["task"]), len(self._plan.tasks)),
                )
                self._release()

    def waiting(self, number: int, text: str) -> None:
        """Say what a task waits for, but not before it has lasted a moment, and not too often."""
        with self._guard:
            now = self._clock()
            last, told = self._told.get(number, (self._started.get(number, now) - 3 * _WAITING_FIRST_SECONDS / 2, ""))
            spent = now - self._started.get(number, now)
            patience = _WAITING_FIRST_SECONDS if text != told else _WAITING_AGAIN_SECONDS
            if spent >= _WAITING_FIRST_SECONDS and now - last >= patience:
                self._told[number] = (now, text)
                lead = f"[{number:02}/{len(self._plan.tasks)}] …         {spent:5.1f} s"
                self.line(f"{lead}  {self._spec(number).title}: waiting: {text}")

    def _spec(self, number: int) -> TaskSpec:
        return self._plan.by_number[number].spec

    def flush(self) -> None:
        """Write what is held back: nothing more is coming before it."""
        with self._guard:
            for number in sorted(self._held):
                self._write(number)
            self._expected.clear()

    def _release(self) -> None:
        while self._expected and self._expected[0] in self._held:
            self._write(self._expected.pop(0))

    def _write(self, number: int) -> None:
        at, lines = self._held.pop(number)
        if self._spec(number).phase != self._phase:
            self._phase = self._spec(number).phase
            self.line(f"Phase {self._phase}: {PHASES[self._phase]}", at)
        for text in lines:
            self.line(text, at)

    def close(self) -> None:
        """Write what is held back and close the log."""
        self.flush()
        self._log.close()


def _one_line(text: str) -> str:
    """What others wrote (an exception, a server, a folder's name) can neither begin a line of its own nor steer the
    terminal.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else " " if one.isspace() else ascii(one)[1:-1] for one in text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)


def _result(record: Mapping[str, Any], spec: TaskSpec, tasks: int) -> list[str]:
    lead = f"[{spec.number:02}/{tasks}] {record['status']:<11} {record.get('seconds') or 0:5.1f} s  {spec.title}"
    lines = [f"{lead}: {record['summary']}"]
    if record.get("reason") and record["status"] == "changed":
        lines.append(f"{'':28}because: {record['reason']}")
    for key, name in (("where_to_look", "look at"), ("hint", "to do")):
        if record.get(key):
            lines.append(f"{'':28}{name}: {record[key]}")
    return lines
