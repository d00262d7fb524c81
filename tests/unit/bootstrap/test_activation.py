"""Task 3: the execution goes on inside `.venv`, and everything it starts does too."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.bootstrap.environment import base_python
from blueprint.core import child, venv
from blueprint.core.errors import SetupError
from blueprint.core.task import within
from blueprint.core.workspace import Workspace

REPO = Path(__file__).resolve().parents[3]

DOOR = f"""
import json, os, sys
from pathlib import Path
sys.path.insert(0, {str(REPO)!r})
from blueprint import bootstrap
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
workspace = Workspace(Path(__file__).parent)
given = bootstrap.handover()
if given is None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    os.write(writing, b"from the first stage")
    bootstrap.reexec(workspace, sys.argv[1:], {{"fd": str(reading), "pid": str(os.getpid())}})
evidence = bootstrap.verify_activation(workspace, within(30))
print(json.dumps({{
    "argv": sys.argv[1:], "read": os.read(int(given["fd"]), 100).decode(), "same pid": given["pid"] == str(os.getpid()),
    "left": [name for name in os.environ if "HANDOVER" in name], "child": evidence.details["child_prefix"],
    "path": os.environ["PATH"], "home": os.environ.get("PYTHONHOME"), "changed": evidence.changed,
}}))
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "a check-out"
    root.mkdir()
    workspace = Workspace(root)
    bootstrap.ensure_environment(workspace, within(60))
    (root / "run_blueprint.py").write_text(DOOR)
    return workspace


def test_a_python_path_of_the_shell_is_not_used_and_is_named(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "colorsys.py").write_text("raise RuntimeError('a foreign module')\n")
    shows = DOOR.replace("print(json.dumps({", "import colorsys\nprint(json.dumps({'summary': evidence.summary,")
    (workspace.root / "run_blueprint.py").write_text(shows)
    for python in (base_python(), str(workspace.python)):
        env = {**os.environ, "PYTHONPATH": str(tmp_path / "foreign")}
        done = child.run([python, workspace.root / "run_blueprint.py"], within(30), env=env)
        assert done.returncode == 0, done.errors
        assert f"PYTHONPATH ({tmp_path / 'foreign'}) is not used" in json.loads(done.output)["summary"]


def test_the_second_stage_is_the_same_process_with_what_the_first_handed_over(workspace: Workspace) -> None:
    done = child.run([base_python(), workspace.root / "run_blueprint.py", "--phase", "all ü"], within(30))
    assert done.returncode == 0, done.errors
    said = json.loads(done.output)
    assert said["argv"] == ["--phase", "all ü"]
    assert (said["read"], said["same pid"], said["left"]) == ("from the first stage", True, [])


def test_a_python_started_by_name_is_that_of_the_environment(workspace: Workspace, tmp_path: Path) -> None:
    impostor = tmp_path / "bin" / "python"
    impostor.parent.mkdir()
    impostor.write_text("#!/bin/sh\necho elsewhere\n")
    impostor.chmod(0o755)
    environment = {**os.environ, "PATH": f"{impostor.parent}:/usr/bin:/bin", "VIRTUAL_ENV": "/elsewhere"}
    done = child.run([base_python(), workspace.root / "run_blueprint.py"], within(30), env=environment)
    assert done.returncode == 0, done.errors
    said = json.loads(done.output)
    assert said["child"] == str(workspace.venv)
    assert said["path"].split(":") == [str(workspace.venv / "bin"), str(impostor.parent), "/usr/bin", "/bin"]
    assert said["changed"] is False


def test_an_execution_outside_the_environment_is_not_passed_off_as_inside(workspace: Workspace) -> None:
    assert not venv.inside(workspace.venv)
    with pytest.raises(SetupError, match=sys.prefix):
        bootstrap.verify_activation(workspace, within(30))


def test_children_that_would_run_elsewhere_fail_the_task(workspace: Workspace) -> None:
    (workspace.venv / "bin" / "python").unlink()
    impostor = workspace.venv / "bin" / "python"
    impostor.write_text("#!/bin/sh\necho /elsewhere\n")
    impostor.chmod(0o755)
    code = (
        f"import sys; sys.path.insert(0, {str(REPO)!r}); from pathlib import Path\n"
        "from blueprint import bootstrap; from blueprint.core.task import within\n"
        "from blueprint.core.workspace import Workspace\n"
        f"bootstrap.verify_activation(Workspace(Path({str(workspace.root)!r})), within(30))"
    )
    done = child.run([workspace.venv / "bin" / "python3", "-c", code], within(30))
    assert "SetupError: A `python` started by the execution runs in /elsewhere" in done.errors


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "null"])
def test_a_foreign_handover_is_no_handover(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_BLUEPRINT_HANDOVER", text)
    assert bootstrap.handover() is None
    assert "_BLUEPRINT_HANDOVER" not in os.environ


def test_a_bare_python_with_nothing_installed_can_start_the_bootstrap() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(REPO)!r}); import blueprint.bootstrap\n"
        "known = sys.stdlib_module_names | {'blueprint', '__main__', '__mp_main__'}\n"
        "print([name for name in sys.modules if name.partition('.')[0] not in known])"
    )
    done = child.run([base_python(), "-I", "-S", "-c", code], within(30))
    assert (done.errors, done.output.strip()) == ("", "[]")
