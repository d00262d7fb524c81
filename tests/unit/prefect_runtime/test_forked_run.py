"""When a flow run's process may be forked, and that it is executed as Prefect does it when it may not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blueprint.prefect_runtime import forked_run
from blueprint.prefect_runtime.fork_server import Command
from blueprint.prefect_runtime.forked_run import ForkedRuns

ENGINE = [sys.executable, "-m", "prefect.engine"]
HERE = {"PATH": "/bin", "TZ": "UTC", "PREFECT_API_URL": "http://127.0.0.1/api"}


@pytest.fixture
def runs() -> ForkedRuns:
    variables = {name: value for name, value in HERE.items() if name != "PATH"}
    return ForkedRuns(None, variables, [], {"yaml", "sitecustomize"}, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"PATH": "/other", "MY_OWN": "1", "PREFECT__FLOW_RUN_ID": "1"}, ""),
        ({"TZ": "Asia/Tokyo"}, "another TZ"),
        ({"TZ": None}, "another TZ"),
        ({"PYTHONHASHSEED": "1", "LD_PRELOAD": "x.so"}, "another LD_PRELOAD, PYTHONHASHSEED"),
        ({"PREFECT_LOGGING_LEVEL": "DEBUG"}, "another PREFECT_LOGGING_LEVEL"),
        ({"PYTHONPATH": "/somewhere"}, "another PYTHONPATH"),
    ],
)
def test_variables_that_are_read_early_forbid_forking(
    runs: ForkedRuns, tmp_path: Path, changes: dict[str, str | None], said: str
) -> None:
    environment = {name: value for name, value in {**HERE, **changes}.items() if value is not None}
    found = runs.difference(Command(["python"], environment, str(tmp_path)))
    assert found.endswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("own.py", ""),
        ("yaml.json", ""),
        ("yaml/data.txt", ""),  # no package
        ("yaml.py", "module named yaml"),
        ("yaml/__init__.py", "module named yaml"),
        ("sitecustomize.py", "module named sitecustomize"),
    ],
)
@pytest.mark.parametrize("on_path", [False, True])
def test_a_module_that_an_imported_one_would_be_forbids_forking(
    runs: ForkedRuns, tmp_path: Path, file: str, said: str, *, on_path: bool
) -> None:
    path = tmp_path / "flows" / file
    path.parent.mkdir(parents=True)
    path.touch()
    folder = tmp_path if on_path else tmp_path / "flows"
    environment = {**HERE, "PYTHONPATH": str(tmp_path / "flows") if on_path else ""}
    found = runs.difference(Command(ENGINE, environment, str(folder)), engine=True)
    assert found.endswith(said)
    assert bool(found) == bool(said)


def test_a_command_that_is_not_the_engine_is_executed(runs: ForkedRuns, tmp_path: Path) -> None:
    command = Command(["uv", "run", "python", "-m", "prefect.engine"], HERE, str(tmp_path))
    assert "its command is uv" in runs.difference(command, engine=True)


# A worker that starts two programs which are no flow runs: what is said of them, and what they are.
WORKER = """
import json, os, sys
import prefect.main
from blueprint.prefect_runtime.fork_server import Command, ForkServer
from blueprint.prefect_runtime.forked_run import ForkedRuns

server = ForkServer(ForkedRuns.of_this_process(None).run)
for _ in range(2):
    program = [sys.executable, "-c", "import os, time; print(os.getcwd(), time.tzname[0], os.getpid(), flush=True)"]
    pid = server.start(Command(program, {**os.environ, "TZ": "Asia/Tokyo"}, sys.argv[1]), [0, 1, 2])
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), pid, flush=True)
"""


def test_the_program_itself_is_executed_where_forking_is_forbidden_and_that_is_said_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        cwd=Path(forked_run.__file__).parents[2],
        env={**os.environ, "TZ": "UTC", "PREFECT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    for program, worker in (lines[:2], lines[2:]):
        assert program == [str(tmp_path), "JST", worker[1]]
        assert worker[0] == "0"
    assert done.stderr.count("without warm start: its environment has another") == 1
    assert done.stderr.rstrip().endswith("TZ.")
