from __future__ import annotations

import io
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueprint.core.task import Status
from blueprint.execution.events import Entry, TaskFinished, TaskStarted, Unit, UnitsPlanned
from blueprint.execution.outcome import TaskOutcome
from blueprint.execution.plan import make_plan
from blueprint.reports.lines import Lines
from blueprint.tasks.registry import specs

AT = "2026-01-02T03:04:05.678901+00:00"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Screen:
    """A Lines with its terminal, log and clock."""

    def __init__(self, folder: Path, *, shown: int = 0, terminal: Any = None) -> None:
        self.terminal = terminal or io.StringIO()
        self.path = folder / "master.log"
        self.clock = Clock()
        self.lines = Lines(make_plan(specs()), self.path, self.terminal, clock=self.clock, shown=shown)

    def start(self, number: int) -> None:
        self.lines.observe(Entry(AT, "E1", TaskStarted(number, None, "run")))

    def finish(self, number: int, status: str = "ok", deployment: str | None = None, **fields: Any) -> None:
        outcome = TaskOutcome(Status(status), **({"summary": "done"} | fields))
        self.lines.observe(Entry(AT, "E1", TaskFinished(number, deployment, outcome, 1.0)))

    @property
    def shown(self) -> list[str]:
        return str(self.terminal.getvalue()).splitlines()

    @property
    def logged(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines()

    def numbers(self) -> list[int]:
        return [int(line[1:3]) for line in self.shown if line.startswith("[")]


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    return Screen(tmp_path)


def test_people_read_the_tasks_by_number_whatever_order_they_ended_in(screen: Screen) -> None:
    for number in (3, 2, 1, 5):
        screen.finish(number)
    assert screen.numbers() == [1, 2, 3]
    screen.finish(4)
    assert screen.numbers() == [1, 2, 3, 4, 5]
    assert screen.shown[:2] == [
        "Phase 1: Local setup",
        "[01/30] ok            1.0 s  Verify project directory: done",
    ]


def test_each_phase_is_announced_once(screen: Screen) -> None:
    for number in range(1, 31):
        screen.finish(number)
    assert [line[:7] for line in screen.shown if line.startswith("Phase")] == ["Phase 1", "Phase 2", "Phase 3"]
    assert screen.numbers() == list(range(1, 31))


def test_what_was_held_back_is_shown_when_the_execution_ends_early(screen: Screen) -> None:
    screen.finish(5)
    screen.finish(9, "failed")
    screen.lines.close()
    assert screen.numbers() == [5, 9]
    assert len(screen.logged) == 3


def test_a_second_stage_does_not_show_again_what_the_first_has_shown(tmp_path: Path) -> None:
    first = Screen(tmp_path)
    for number in (1, 2):
        first.finish(number)
    first.lines.close()
    second = Screen(tmp_path, shown=2)
    second.finish(3)
    assert second.shown == ["[03/30] ok            1.0 s  Activate virtual environment: done"]
    assert len(second.logged) == 4


def test_a_failure_says_where_to_look_and_what_to_do(screen: Screen) -> None:
    screen.finish(1, "failed", where_to_look="logs/server.log", hint="Run it again.", reason="not shown")
    text = "\n".join(screen.shown)
    assert "look at: logs/server.log" in text
    assert "to do: Run it again." in text
    assert "because" not in text


def test_a_task_that_had_to_act_says_why(screen: Screen) -> None:
    screen.finish(1, "changed", reason="the server was down")
    assert screen.shown[-1].strip() == "because: the server was down"


def test_each_line_of_the_log_has_its_own_time(screen: Screen) -> None:
    screen.finish(1, "failed", hint="x")
    screen.lines.line("now")
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", line) for line in screen.logged)
    assert [line[24:] for line in screen.logged] == screen.shown


def test_a_long_wait_is_told_after_two_seconds_and_then_every_five(screen: Screen) -> None:
    screen.start(8)
    told = []
    for _ in range(140):
        screen.clock.now += 0.1
        before = len(screen.shown)
        screen.lines.waiting(Unit(8), "the server to be ready")
        told += [round(screen.clock.now - 100)] * (len(screen.shown) - before)
    assert told == [2, 7, 12]
    assert screen.shown[0].endswith("Start Prefect server: waiting: the server to be ready")


def test_a_short_wait_is_not_told(screen: Screen) -> None:
    screen.start(8)
    screen.clock.now += 1.9
    screen.lines.waiting(Unit(8), "a moment")
    assert screen.shown == []


def test_the_log_is_private(screen: Screen) -> None:
    assert stat.S_IMODE(screen.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_show_a_character_goes_on_showing_the_rest(tmp_path: Path, encoding: str) -> None:
    raw = io.BytesIO()
    screen = Screen(tmp_path, terminal=io.TextIOWrapper(raw, encoding=encoding))
    screen.lines.line("waiting … \U0001f600")
    screen.lines.line("after")
    assert raw.getvalue().decode(encoding).splitlines() == ["waiting ? ?", "after"]
    assert screen.logged[0].endswith("waiting … \U0001f600")


def test_the_log_goes_on_when_the_terminal_is_gone(tmp_path: Path) -> None:
    terminal = io.StringIO()
    screen = Screen(tmp_path, terminal=terminal)
    terminal.close()
    screen.lines.line("one")
    screen.lines.line("two")
    assert [line[24:] for line in screen.logged] == ["one", "two"]


@given(text=st.text(st.characters(), max_size=40))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_others_wrote_can_neither_forge_a_line_of_the_log_nor_steer_the_terminal(
    tmp_path: Path, text: str
) -> None:
    screen = Screen(tmp_path)
    before = len(screen.logged)
    screen.lines.line(f"before{text}after")
    assert len(screen.logged) == before + 1
    assert len(screen.shown) == 1
    assert screen.shown[0].isprintable()
    screen.lines.close()


def test_a_task_of_several_deployments_has_one_line_once_all_have_ended(screen: Screen) -> None:
    screen.lines.observe(Entry(AT, "E1", UnitsPlanned((Unit(1), Unit(1, "a"), Unit(1, "b")))))
    screen.finish(1, summary="page served")
    screen.finish(1, deployment="b")
    assert screen.shown == []
    screen.finish(1, "failed", deployment="a", summary="no rows.", where_to_look="the log")
    assert screen.shown[1].endswith("Verify project directory: a: no rows. Passed: b.")
    assert screen.shown[2].strip() == "look at: the log"


def test_tasks_that_one_failure_blocks_are_one_line(screen: Screen) -> None:
    for number in range(1, 31):
        screen.finish(number, "ok" if number < 4 else "failed" if number == 4 else "blocked")
    screen.lines.close()
    assert screen.numbers() == [1, 2, 3, 4, 5]
    assert screen.shown[-1].endswith("26 tasks, 5 to 30, were not run: they need task 4, which failed")


def test_secrets_are_taken_out_of_lines_and_of_what_is_waited_for(tmp_path: Path) -> None:
    lines = Lines(make_plan(specs()), tmp_path / "log", io.StringIO(), redact=lambda text: text.replace("pw", "*"))
    lines.line("says pw")
    lines.close()
    assert (tmp_path / "log").read_text().endswith("says *\n")
