from __future__ import annotations

from pathlib import Path

from blueprint.core.task import Status
from blueprint.execution.plan import make_plan
from blueprint.reports.summary import Ending, lines
from blueprint.tasks.registry import specs

ROOT = Path("/project")
LOG = ROOT / "logs" / "master.log"
ALL = dict.fromkeys(range(1, 31), Status.OK)


def ending(statuses: dict[int, Status], *, interrupted: bool = False, phase: int | None = None) -> Ending:
    return Ending(make_plan(specs(), phase=phase), statuses, 12.34, interrupted)


def test_all_proven_says_so_and_how_to_use_the_platform() -> None:
    found = ending(ALL | {3: Status.CHANGED})
    assert found.passed
    text = lines(found, LOG, ROOT, url="http://127.0.0.1:4200")
    assert text[1] == "30 tasks proven in 12.3 s: 29 ok, 1 changed."
    assert "http://127.0.0.1:4200" in text[-1]
    assert "--resume" not in "".join(text)
    assert "Log: logs/master.log " in text[2]


def test_skipped_tasks_are_not_called_proven() -> None:
    text = lines(ending(ALL | {23: Status.SKIPPED, 24: Status.SKIPPED}), LOG, ROOT)
    assert text[1].startswith("28 of 30 tasks proven")


def test_a_failure_names_the_tasks_that_failed_and_how_to_go_on() -> None:
    found = ending(ALL | {8: Status.FAILED, 9: Status.BLOCKED})
    assert not found.passed
    text = lines(found, LOG, ROOT, url="http://127.0.0.1:4200")
    assert text[1] == "30 tasks FAILED in 12.3 s: 28 ok, 1 failed, 1 blocked."
    assert text[2] == "Failed: 8 Start Prefect server."
    assert text[-1] == "To go on: python run_blueprint.py --resume"


def test_an_interruption_is_not_passed_even_if_all_that_ran_was_fine() -> None:
    found = ending({1: Status.OK, 2: Status.INTERRUPTED}, interrupted=True)
    assert not found.passed
    text = lines(found, LOG, ROOT)
    assert text[1] == "30 tasks interrupted in 12.3 s: 1 ok, 1 interrupted, 28 not reached."
    assert text[-1] == "To go on: python run_blueprint.py --resume"
    assert not ending(ALL, interrupted=True).passed


def test_a_planned_task_that_has_no_result_is_not_passed() -> None:
    assert not ending({number: status for number, status in ALL.items() if number != 30}).passed
    assert ending({}).counts == {"not reached": 30}
    assert lines(ending({}), LOG, ROOT)[1] == "30 tasks FAILED in 12.3 s: 30 not reached."


def test_tasks_that_were_not_planned_are_not_missed() -> None:
    planned = make_plan(specs(), phase=1).planned
    assert set(planned) == set(range(1, 11))
    assert ending(dict.fromkeys(planned, Status.OK), phase=1).passed


def test_a_log_outside_the_project_is_shown_by_its_whole_path() -> None:
    assert "Log: /elsewhere/a.log " in lines(ending(ALL), Path("/elsewhere/a.log"), ROOT)[2]
