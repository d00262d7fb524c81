"""The project's own lock, installed once by uv and once by pip."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blueprint import bootstrap
from blueprint.bootstrap import installers
from blueprint.bootstrap.environment import base_python
from blueprint.bootstrap.installed import compare, scan
from blueprint.bootstrap.lockfile import read_lock, select
from blueprint.core import child
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
from tests.support.environments import REPO, SECONDS, a_workspace, install, packages_in, run_in, the_path

DOOR_OF_TWO_STAGES = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from blueprint import bootstrap
from blueprint.core import venv
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
workspace = Workspace(Path(__file__).parent)
given = bootstrap.handover()
if not venv.inside(workspace.venv):
    made = bootstrap.ensure_environment(workspace, within(60))
    bootstrap.reexec(workspace, sys.argv[1:], {"pid": str(os.getpid()), "reason": made.reason})
bootstrap.verify_activation(workspace, within(10))
evidence = bootstrap.install(workspace, within(280))
print(json.dumps({"given": given, "pid": os.getpid(), "summary": evidence.summary, "reason": evidence.reason,
                  "details": evidence.details}))
"""


@dataclass(frozen=True)
class FirstRun:
    """What the two stages said."""

    workspace: Workspace
    given: dict[str, str]
    pid: int
    summary: str
    reason: str
    details: dict[str, Any]


class TestTheProjectsOwnLock:
    @pytest.fixture(scope="class")
    @classmethod
    def fetched(cls, tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
        """The real lock, from the Python below, in two stages, with no uv on PATH: it is fetched by its hash first."""
        workspace = a_workspace(tmp_path_factory.mktemp("own"), (REPO / "requirements.lock").read_text())
        door = workspace.root / "run_blueprint.py"
        door.write_text(DOOR_OF_TWO_STAGES)
        environment = {**os.environ, "PATH": the_path()}
        for name in ("VIRTUAL_ENV", "PYTHONPATH"):
            environment.pop(name, None)
        done = child.run([base_python(), door, REPO], within(SECONDS), env=environment)
        assert done.returncode == 0, done.errors
        return FirstRun(workspace=workspace, **json.loads(done.output))

    def test_the_execution_goes_on_in_the_environment_as_the_same_process(self, fetched: FirstRun) -> None:
        assert fetched.given == {"pid": str(fetched.pid), "reason": "there is no .venv"}

    def test_uv_is_fetched_and_the_whole_set_installed(self, fetched: FirstRun) -> None:
        workspace = fetched.workspace
        assert (fetched.details["notes"], fetched.reason[:8]) == ([], "missing:")
        assert fetched.summary.startswith(f"{fetched.details['packages']} packages as locked, Prefect ")
        assert fetched.details["installer"].endswith(f"({workspace.venv / 'bin' / 'uv'})")
        assert fetched.details["beyond_the_lock"] == []
        pins = select(read_lock(workspace.root / "requirements.lock"))
        assert {pin.name for pin in pins} == scan(packages_in(workspace)).keys()
        assert run_in(workspace, "import prefect; print(prefect.__version__)") == fetched.details["versions"]["prefect"]

    def test_nothing_is_missing_that_a_package_asks_for(self, fetched: FirstRun) -> None:
        workspace = fetched.workspace
        done = child.run([workspace.python, "-m", "pip", "check"], within(100))
        assert (done.returncode, done.output.strip()) == (0, "No broken requirements found.")

    def test_every_module_has_its_bytecode(self, fetched: FirstRun) -> None:
        workspace = fetched.workspace
        without = [
            path
            for path in packages_in(workspace).rglob("*.py")
            if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
        ]
        assert without == []
        assert fetched.details["modules_with_bytecode"] > 4000

    def test_a_second_look_changes_nothing_and_starts_no_installer(
        self, fetched: FirstRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace = fetched.workspace
        before = installers.log_file(workspace).read_text()
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
        assert not install(workspace).changed
        assert installers.log_file(workspace).read_text() == before

    def test_plain_pip_of_the_systems_age_installs_the_same_set(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The pip that comes with Python 3.11 is years older than the lock's: it must read the lock and its hashes."""
        monkeypatch.setattr(installers, "compile_bytecode", lambda *_: None)  # it takes long; TestInstall looks at it
        workspace = a_workspace(tmp_path / "work", (REPO / "requirements.lock").read_text())
        bootstrap.ensure_environment(workspace, within(60))
        assert child.run([workspace.python, "-m", "ensurepip"], within(60)).returncode == 0
        name = installers.install_with_pip(workspace, within(SECONDS), workspace.requirements)
        assert int(re.match(r"pip (\d+)", name)[1]) < 26  # type: ignore[index]
        pins = select(read_lock(workspace.root / "requirements.lock"))
        assert compare(pins, packages_in(workspace)).packages == frozenset()
