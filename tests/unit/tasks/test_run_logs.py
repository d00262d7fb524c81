"""The worker's log of several runs at once: each line must be laid to the run that wrote it, or to none."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from blueprint.prefect_runtime.visible import visible, without_controls
from blueprint.processes.log import ServiceLog
from blueprint.tasks.t26_check_logs_accessibility import _told, written

LOG = """\
04:00:00.000 | INFO    | Task run 'load-task-1a5' - Loading 9 rows
04:00:01.000 | INFO    | Flow run 'brave-ant' - Beginning flow run 'brave-ant' for flow 'F'
04:00:01.100 | INFO    | Flow run 'brave-ant' - View at http://127.0.0.1:4200/runs/flow-run/1
04:00:01.200 | INFO    | Flow run 'calm-bee' - Beginning flow run 'calm-bee' for flow 'F'
04:00:01.300 | INFO    | Task run 'load-task-1a5' - Loading 50 rows
04:00:01.400 | INFO    | Task run 'load-task-2b6' - Loading 70 rows
04:00:02.000 | INFO    | Flow run 'brave-ant' - Finished in state Completed()
04:00:03.000 | INFO    | Task run 'load-task-1a5' - Loading 11 rows
"""


def log(tmp_path: Path) -> Path:
    path = tmp_path / "worker.log"
    path.write_text(LOG, encoding="utf-8")
    return path


def test_a_run_is_given_its_own_lines_between_its_beginning_and_its_end(tmp_path: Path) -> None:
    assert written(ServiceLog(log(tmp_path)).lines(), "brave-ant", {"load-task-1a5"}) == [
        "Beginning flow run 'brave-ant' for flow 'F'",
        "Loading 50 rows",
        "Finished in state Completed()",
    ]


def test_a_line_under_a_task_name_that_two_runs_share_is_given_to_neither(tmp_path: Path) -> None:
    assert "Loading 50 rows" not in written(ServiceLog(log(tmp_path)).lines(), "brave-ant", set())


def test_the_lines_of_a_run_are_found_also_when_the_worker_was_restarted_and_its_log_rotated(tmp_path: Path) -> None:
    rotated = log(tmp_path).rename(tmp_path / "worker.log.1")
    (tmp_path / "worker.log").write_text("Worker started\n")
    assert rotated.exists()
    assert len(written(ServiceLog(tmp_path / "worker.log").lines(), "brave-ant", {"load-task-1a5"})) == 3


def test_a_run_that_wrote_nothing_has_no_lines(tmp_path: Path) -> None:
    assert written(ServiceLog(log(tmp_path)).lines(), "lost-cow", {"load-task-1a5"}) == []


def test_lines_from_before_the_execution_are_not_taken_for_its_own(tmp_path: Path) -> None:
    path = log(tmp_path)
    began = ServiceLog(path).position()
    assert written(ServiceLog(path).lines(began), "brave-ant", {"load-task-1a5"}) == []
    with path.open("ab") as file:
        file.write(path.read_bytes())
    assert len(written(ServiceLog(path).lines(began), "brave-ant", {"load-task-1a5"})) == 3


@pytest.mark.parametrize(
    "message",
    [
        *(
            "\x1b[31mred\x1b[0m",
            "bell\x07",
            "a\ttab\tor two",
            "back\rover",
            "form\x0c\x0b\x85\u2028feed",
            "\x9b2J clear",
        ),
        *(
            ":warning: at 12:30:45",
            "two\nlines",
            "\nthe second only",
            "\r\n",
            "",
            "ends in blanks  ",
            r"C:\x1b\results",
        ),
        "planted\n04:00:02.000 | INFO    | Flow run 'brave-ant' - told by the flow",
        "planted\n04:00:02.000 | INFO    | Flow run 'brave-ant' - Finished in state Completed()",
    ],
)
def test_whatever_a_run_logs_its_line_in_the_log_is_known_as_the_apis(tmp_path: Path, message: str) -> None:
    printed = io.StringIO()  # as Prefect's handler and then the worker print it
    for text in (message, "Finished in state Completed()"):
        line = f"04:00:01.500 | INFO    | Flow run 'brave-ant' - {text}"
        Console(file=printed, markup=False, highlight=False).print(line, soft_wrap=True)
    begun, rest = LOG.split("04:00:02", 1)
    log(tmp_path).write_text(f"{begun}{visible(printed.getvalue())}04:00:02{rest}")
    found = written(ServiceLog(tmp_path / "worker.log").lines(), "brave-ant", set())
    known = [without_controls(line) for line in _told(message)]
    assert [without_controls(line) for line in found[1 : 1 + len(known)]] == known
