"""`verify` and `stop` as a user runs them: in a process, in a checkout with an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.bootstrap.environment import base_python
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
from tests.support.live_platform import copy_checkout
from tests.support.wheels import lock_line, make_wheel
from tests.unit.processes.helpers import House, kill_all, make_house, runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with an environment in which nothing is installed."""
    root = copy_checkout(tmp_path_factory.mktemp("made") / "project")
    workspace = Workspace(root)
    workspace.prepare()
    bootstrap.ensure_environment(workspace, within(60))
    return root


def _run(root: Path, *arguments: str, python: str | Path = "", **environment: str) -> tuple[int, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    argv = [python or base_python(), "run_blueprint.py", *arguments]
    answer = subprocess.run(
        argv, cwd=root, env=kept | environment, capture_output=True, text=True, timeout=60, check=False
    )
    return answer.returncode, answer.stdout + answer.stderr


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if "__pycache__" not in path.parts}


def test_verify_after_an_installation_that_failed_says_so_and_changes_nothing(made: Path) -> None:
    before = _files(made)
    code, output = _run(made, "verify")
    assert (code, output.splitlines()[0]) == (1, "down environment: not installed")
    assert "bug" not in output
    assert _files(made) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "its Python does not run (Exec format error)"),
        ("#!/bin/sh\necho 'cannot load libpython' >&2\nexit 127\n", "its Python does not run (cannot load libpython)"),
    ],
)
def test_an_environment_whose_python_does_not_start_is_told_and_made_anew(
    made: Path, tmp_path: Path, content: str, reason: str
) -> None:
    python = made / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text(content)
    python.chmod(0o755)
    code, output = _run(made, "verify")
    assert (code, output.splitlines()[0]) == (1, f"down environment: {reason}")
    code, output = _run(made, "plan")
    assert (code, f"would run ({reason})" in output) == (0, True)
    code, output = _run(made, "--phase", "1", UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path), PIP_NO_INDEX="1")
    assert code in (1, 4)  # there is nothing to install the packages from
    assert f"because: {reason}" in output
    assert subprocess.run([python, "-c", ""], check=False).returncode == 0


@pytest.fixture
def installed(made: Path, tmp_path: Path) -> Path:
    """A checkout whose environment has the packages of this one."""
    root = tmp_path / "project"
    shutil.copytree(made, root, symlinks=True)
    shutil.rmtree(root / ".venv")
    workspace = Workspace(root)
    bootstrap.ensure_environment(workspace, within(60))
    site = next(workspace.venv.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return root


def test_verify_and_plan_of_an_installed_checkout_change_nothing_and_use_no_python_path(
    installed: Path, tmp_path: Path
) -> None:
    root, workspace = installed, Workspace(installed)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "pydantic.py").write_text("raise RuntimeError('a foreign package')\n")
    before = _files(root)
    for python in (base_python(), workspace.python):
        code, output = _run(root, "verify", "--port", "1", python=python, PYTHONPATH=str(foreign))
        assert code == 1
        lines = output.splitlines()
        assert [line.split()[:2] for line in lines[:4]] == [
            ["down", "server:"],
            ["down", "worker:"],
            ["unknown", "UI:"],
            ["unknown", "deployment:"],
        ]
        assert _run(root, "plan", "--port", "1", python=python, PYTHONPATH=str(foreign))[0] == 0
    assert _files(root) == before


def test_verify_deep_reads_what_looks_unchanged(installed: Path) -> None:
    site = next(Workspace(installed).venv.glob("lib/python*/site-packages"))
    wheel = make_wheel(installed / "wheels", "alpha", "1")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    Workspace(installed).requirements.write_text(lock_line(wheel))
    code, output = _run(installed, "verify", "--deep", "--port", "1")
    assert output.splitlines()[0] == (
        "up      environment: 1 packages, every file as it was installed; "
        "at every start code runs from borrowed.pth, which no package has brought"
    )
    (site / "alpha" / "part.py").write_text("PART = 2\n")
    for arguments, expected in (
        (("verify", "--deep"), "down    environment: alpha is damaged"),
        (("verify",), "down    server"),
    ):
        code, output = _run(installed, *arguments, "--port", "1")
        assert (code, output.splitlines()[0].startswith(expected)) == (1, True), output
    assert "alpha/part.py is not what was installed" in _run(installed, "verify", "--deep", "--port", "1")[1]


@pytest.mark.parametrize("damage", ["missing", "unreadable"])
def test_without_its_lock_file_every_command_says_so_in_one_sentence(installed: Path, damage: str) -> None:
    root, workspace = installed, Workspace(installed)
    workspace.requirements.unlink()
    if damage == "unreadable":
        workspace.requirements.mkdir()
    for arguments, expected in ((("verify",), 4), (("plan",), 4), (("--phase", "all"), 1)):
        code, output = _run(root, *arguments, "--port", "1")
        assert code == expected, output
        assert "requirements.lock" in output
        assert "bug" not in output


IMPOSTOR = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        print(self.command, self.path, self.headers["Authorization"], flush=True)
        body = b'<script type="module" src="/a.js">' if self.path == "/deployments" else b'"OK"'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *_): ...

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def test_verify_and_plan_send_no_password_to_whoever_has_taken_our_port(installed: Path) -> None:
    impostor = subprocess.Popen([sys.executable, "-c", IMPOSTOR], stdout=subprocess.PIPE, text=True)
    assert impostor.stdout is not None
    try:
        port = impostor.stdout.readline().strip()
        secret = {"BLUEPRINT_API_AUTH_STRING": "admin:planted-secret"}
        code, output = _run(installed, "verify", "--port", port, **secret)
        planned = _run(installed, "plan", "--port", port, **secret)
        Workspace(installed).prepare()
        Workspace(installed).password.write_text("blueprint:generated-secret\n")
        _, shown = _run(installed, "verify", "--port", port, "--password", BLUEPRINT_AUTH="generated")
    finally:
        impostor.kill()
    asked = impostor.stdout.read()
    impostor.wait()
    assert (code, planned[0]) == (1, 0)
    assert [line.split()[0] for line in output.splitlines()[:4]] == ["down", "down", "unknown", "unknown"], output
    assert "up " not in output + shown
    assert "password: blueprint:generated-secret (as set)" in shown.splitlines()
    assert "secret" not in output + planned[1]
    assert [line for line in asked.splitlines() if "None" not in line] == []


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A checkout in which a service runs, and its pid."""
    root = copy_checkout(tmp_path / "project")
    workspace = Workspace(root)
    workspace.prepare()
    house = make_house(tmp_path / "program")
    ours = House(house.folder, workspace.identity(), house.manager, [])
    manager = type(house.manager)(workspace.services, workspace.identity())
    yield root, manager.ensure(house.service(cwd=root), within(20)).identity.pid
    kill_all(ours.carriers())


def test_a_checkout_that_was_moved_while_its_services_run_stops_them(busy: tuple[Path, int], tmp_path: Path) -> None:
    root, pid = busy
    moved = root.rename(tmp_path / "moved")
    code, output = _run(moved, "stop")
    assert code == 0
    assert f"pid {pid}" in output
    assert output.splitlines()[-1] == "Stopped."
    assert not runs(pid)


@pytest.mark.parametrize("moved", [False, True])
def test_a_copy_stops_nothing_of_the_original_wherever_that_is(
    busy: tuple[Path, int], tmp_path: Path, moved: bool
) -> None:
    root, pid = busy
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    if moved:
        root.rename(tmp_path / "moved")
    code, output = _run(copy, "stop")
    assert (code, output) == (0, "Nothing to stop: nothing of ours is running.\n")
    assert runs(pid)


def test_what_a_checkout_that_is_gone_has_left_is_named_by_its_copy(busy: tuple[Path, int], tmp_path: Path) -> None:
    root, pid = busy
    copy = tmp_path / "on another disk"
    shutil.copytree(root, copy)
    shutil.rmtree(root)
    code, output = _run(copy, "stop")
    assert code == 0
    assert f"python (pid {pid})" in output
    assert str(root) in output
    assert f"kill {pid}" in output
    assert runs(pid)
