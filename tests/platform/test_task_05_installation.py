"""Task 5: an environment that installs and imports although the server in it is broken is told from a good one.

The environment is a real one: made from the lock by tasks 2 and 4, and then broken as a user breaks it, with pip.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from blueprint import bootstrap
from blueprint.core.task import Evidence, within
from blueprint.core.workspace import Workspace
from tests.support.checkout import install
from tests.support.live_platform import Outcome, Tasks, copy_checkout

# With it, Prefect 3.8.8 installs without a complaint (it asks for fastapi>=0.139,<1), and its server dies at import.
BROKEN = "fastapi==0.165.0"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    made = Workspace(copy_checkout(tmp_path_factory.mktemp("installation") / "project"))
    made.prepare()
    install(made)
    yield made
    shutil.rmtree(made.venv)


def _install_the_lock(workspace: Workspace) -> Evidence:
    return bootstrap.install(workspace, within(200))


def _pip(workspace: Workspace, *arguments: str) -> None:
    argv = [str(workspace.python), "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def _task5(workspace: Workspace) -> Outcome:
    tasks = Tasks(workspace.root, python=workspace.python)
    try:
        return tasks.call(5, origin="installation", seconds=100)
    finally:
        tasks.close()


def test_a_server_that_cannot_be_imported_is_found_and_the_lock_is_the_way_out(workspace: Workspace) -> None:
    _pip(workspace, BROKEN)
    broken = _task5(workspace)
    assert broken.failed_saying(
        "Prefect 3.8.8 is installed, but its server cannot be imported",
        "TypeError: Body() got an unexpected keyword argument 'min_items'",
    ), broken
    assert broken.details["versions"]["fastapi"] == BROKEN.partition("==")[2]
    assert "requirements.lock" in broken.where_to_look
    assert "--resume-from 4" in broken.hint

    assert _install_the_lock(workspace).changed  # what the message tells the user to do
    assert _task5(workspace).status == "ok"


def test_packages_that_do_not_fit_together_are_named(workspace: Workspace) -> None:
    _pip(workspace, "--no-deps", "starlette==1.0.0")
    try:
        outcome = _task5(workspace)
        assert outcome.failed_saying("do not fit together", "`prefect` requires `starlette", "`1.0.0` is installed"), (
            outcome
        )
    finally:
        _install_the_lock(workspace)


def test_a_package_that_is_missing_is_named(workspace: Workspace) -> None:
    argv = [str(workspace.python), "-m", "pip", "uninstall", "--quiet", "--yes", "cachetools"]
    assert subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0
    try:
        outcome = _task5(workspace)
        assert outcome.failed_saying("do not fit together", "requires `cachetools", "not installed"), outcome
    finally:
        _install_the_lock(workspace)


def test_without_uv_it_is_pip_that_checks(workspace: Workspace) -> None:
    _pip(workspace, "--no-deps", "starlette==1.0.0")
    (workspace.venv / "bin" / "uv").unlink()
    try:
        outcome = _task5(workspace)
        assert outcome.failed_saying("do not fit together", "requirement starlette", "you have starlette 1.0.0"), (
            outcome
        )
    finally:
        _install_the_lock(workspace)
