"""The door as a process: what a user who makes a mistake sees."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.bootstrap.environment import base_python
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
from blueprint.execution.lock import ExecutionLock
from tests.support.live_platform import copy_checkout

PLANTED = "planted-secret"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a healthy environment that borrows the packages of the one that runs this test."""
    root = copy_checkout(tmp_path_factory.mktemp("checkout") / "project")
    workspace = Workspace(root)
    workspace.prepare()
    bootstrap.ensure_environment(workspace, within(60))
    site = next(workspace.venv.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (root / "broken.py").write_text("def flow(:\n")
    return root


def ran(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [base_python(), "run_blueprint.py", *arguments],
        cwd=root,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def contents(root: Path) -> dict[Path, int]:
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize(
    ("arguments", "environment", "names"),
    [
        ("--resume-from 31", {}, ("--resume-from", "31", "1 to 30")),
        ("--resume-from 14 --phase 1", {}, ("--resume-from", "--phase")),
        ("--phase 4", {}, ("--phase", "'all', '1', '2', '3'")),
        ("--port 70000", {}, ("--port", "1 to 65535")),
        ("--port 65535", {}, ("worker_port", "1 to 65535")),
        ("--set unknown=1", {}, ("unknown", "timezone")),
        ("", {"BLUEPRINT_UNKNOWN": "1"}, ("BLUEPRINT_UNKNOWN", "timezone")),
        ("", {"BLUEPRINT_PORT": "70000"}, ("port", "1 to 65535")),
        ("--set cron=nonsense", {}, ("cron", "0 9 * * *")),
        ("--set timezone=Mars/Olympus", {}, ("timezone", "America/Chicago")),
        ("--set entrypoint=nothing", {}, ("entrypoint", "path/to/file.py:flow_function")),
        ("--set entrypoint=missing.py:flow", {}, ("entrypoint", "missing.py")),
        ("--set entrypoint=broken.py:flow", {}, ("entrypoint", "broken.py, line 1")),
        ("--set entrypoint=run_blueprint.py:flow", {}, ("entrypoint", "nothing named flow")),
        (f"--set api_auth_string=user:{PLANTED}", {}, ("api_auth_string", "BLUEPRINT_API_AUTH_STRING")),
        (f"--set data_source=http://user:{PLANTED}@host/x", {}, ("data_source", "BLUEPRINT_DATA_SOURCE")),
        (f"--set data_source=http://host/x?api_key={PLANTED}", {}, ("data_source", "BLUEPRINT_DATA_SOURCE")),
        ("", {"BLUEPRINT_API_AUTH_STRING": PLANTED}, ("api_auth_string", "user:password")),
        ("", {"BLUEPRINT_WAREHOUSE_URL": PLANTED}, ("warehouse_url", "postgresql://")),
        ("verify --set jobs=99", {}, ("jobs", "1 to 30")),
        ("--set \x1b]0;title\x07=1", {}, ("\\x1b]0;title\\x07",)),
        ("", {"BLUEPRINT_\x9b2J": "1"}, ("timezone",)),
        ("--set pool=\x1b[31mred", {}, ("pool", "line break or another character that cannot be printed")),
    ],
)
def test_a_mistake_costs_a_sentence_and_starts_nothing(
    checkout: Path, arguments: str, environment: dict[str, str], names: tuple[str, ...]
) -> None:
    before = contents(checkout)
    answer = ran(checkout, *arguments.split(), **environment)
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    assert answer.stderr.startswith("Error: ")
    assert len(answer.stderr.splitlines()) == 1
    assert [name for name in names if name not in answer.stderr] == [], answer.stderr
    assert PLANTED not in answer.stderr
    assert answer.stderr[:-1].isprintable()
    assert contents(checkout) == before, "no lock, no journal, no log, no record of a service"


def test_a_pyproject_that_is_not_utf8_is_named(checkout: Path) -> None:
    path = checkout / "pyproject.toml"
    whole = path.read_bytes()
    path.write_bytes(whole + b"\n# \xff\n")
    try:
        answer = ran(checkout)
    finally:
        path.write_bytes(whole)
    assert answer.returncode == 2, answer.stderr
    assert "pyproject.toml is not valid TOML" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_misspelt_key_is_refused_even_with_nothing_installed(tmp_path: Path) -> None:
    root = copy_checkout(tmp_path / "project")
    answer = ran(root, BLUEPRINT_PROT="5200")
    assert answer.returncode == 2, answer.stderr
    assert "BLUEPRINT_PROT" in answer.stderr
    assert not (root / ".venv").exists()
    assert not (root / ".blueprint").exists()


def test_help_that_nobody_reads_to_its_end_is_no_error(checkout: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        answer = subprocess.run(
            [sys.executable, "run_blueprint.py", "plan"], cwd=checkout, stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert b"Traceback" not in answer.stderr


@pytest.mark.parametrize("command", ["plan", "--help", "verify"])
def test_output_that_cannot_be_written_is_no_bug(checkout: Path, command: str) -> None:
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "run_blueprint.py", command],
            cwd=checkout,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert answer.returncode in ((0, 4) if command == "--help" else (4,)), answer.stderr  # argparse keeps it to itself
    assert b"Traceback" not in answer.stderr
    assert b"bug" not in answer.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_with_its_output_closed_a_command_does_what_it_does(checkout: Path, closed: str) -> None:
    command = f"exec {shlex.quote(sys.executable)} run_blueprint.py plan {closed}"
    answer = subprocess.run(["sh", "-c", command], cwd=checkout, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert b"Traceback" not in answer.stderr


def test_a_bug_is_kept_whole_to_be_reported(tmp_path: Path) -> None:
    root = copy_checkout(tmp_path / "project")
    (root / "logs").mkdir()
    stop = root / "blueprint" / "cli" / "commands" / "stop.py"
    stop.write_text("def run(options, workspace):\n    raise ZeroDivisionError('caf\\udce9 \\x1b[31m')\n")
    answer = ran(root, "stop")
    assert answer.returncode == 3
    assert "This is a bug in Blueprint: ZeroDivisionError" in answer.stderr
    kept = (root / "logs" / "bug.log").read_text()
    assert "Traceback" in kept
    assert "arguments: stop" in kept
    assert r"\x1b[31m" in kept
    assert (root / "logs" / "bug.log").stat().st_mode & 0o077 == 0


def test_secrets_are_masked_in_the_report_of_a_bug(tmp_path: Path) -> None:
    root = copy_checkout(tmp_path / "project")
    (root / "logs").mkdir()
    stop = root / "blueprint" / "cli" / "commands" / "stop.py"
    stop.write_text(
        "import os\n\ndef run(options, workspace):\n    raise KeyError(os.environ['BLUEPRINT_PARAMETERS'])\n"
    )
    secret = {"BLUEPRINT_PARAMETERS": json.dumps({"password": "planted-secret"})}
    answer = ran(root, "stop", **secret)
    assert answer.returncode == 3
    assert "KeyError" in answer.stderr
    kept = (root / "logs" / "bug.log").read_text()
    assert "Traceback" in kept
    assert "planted-secret" not in answer.stderr + answer.stdout + kept


@pytest.mark.parametrize("arguments", [("init", "flow.py:nightly"), ("test",), ("stop",), ("--phase", "1")])
def test_every_command_that_changes_something_waits_for_no_other_but_is_told_who_is_at_work(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    root = copy_checkout(tmp_path / "project")
    (root / "flow.py").write_text("from prefect import flow\n\n\n@flow\ndef nightly():\n    pass\n")
    (root / "pyproject.toml").write_text((root / "pyproject.toml").read_text().replace("[tool.blueprint]", ""))
    workspace = Workspace(root)
    workspace.prepare()
    lock = ExecutionLock.acquire(workspace, "run_blueprint.py --phase all")
    try:
        answer = ran(root, *arguments)
    finally:
        lock.release()
    assert answer.returncode == 4, answer.stdout + answer.stderr
    assert f"pid {os.getpid()}" in answer.stderr
    assert not (root / ".venv").exists()
