"""Who may import whom: what is written in pyproject.toml, and what is really loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.bootstrap.environment import base_python
from blueprint.cli.options import COMMANDS
from blueprint.core.task import within
from blueprint.core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
BARE = (base_python(), "-I", "-S")  # no environment variables, no site-packages: as with nothing installed
STAGE_ONE = (
    *("bootstrap", "cli.main", "cli.options", "cli.planning", "cli.session", "cli.setup"),
    *(f"cli.commands.{name}" for name in COMMANDS),
    *("config.keys", "config.cron", "config.entrypoint", "config.redaction", "config.sources"),
    *("core.child", "core.errors", "core.files", "core.task", "core.venv", "core.workspace"),
    *("execution.executor", "execution.history", "execution.interruption", "execution.journal", "execution.lock"),
    *("execution.outcome", "execution.plan", "reports.lines", "reports.summary", "tasks.registry"),
)
_IMPORT = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
importlib.import_module(sys.argv[2])
ours = {"blueprint", "__main__", "__mp_main__"}
foreign = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - ours
assert not foreign, foreign
"""


def checkout(folder: Path) -> Path:
    for name in ("run_blueprint.py", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "blueprint", folder / "blueprint", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "logs").mkdir()
    return folder


def ran(*argv: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        argv, cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("module", STAGE_ONE)
def test_a_fresh_machine_can_import_all_that_runs_before_anything_is_installed(module: str) -> None:
    answer = ran(*BARE, "-c", _IMPORT, str(ROOT), f"blueprint.{module}", cwd=ROOT)
    assert answer.returncode == 0, answer.stderr


_LIST = """
import sys
sys.path.insert(0, sys.argv[1])
from blueprint.tasks.registry import registry
for number, task in registry().items():
    print(number, task.spec.title, task.function.__module__.rpartition(".")[2])
own = {"blueprint", "__main__"}
foreign = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - own
assert not {name for name in foreign if not name.startswith("_sysconfigdata")}, foreign
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("blueprint.")}
assert rooms == {"core", "tasks"}, rooms
"""


def test_the_registry_of_all_30_is_readable_with_nothing_installed() -> None:
    answer = ran(*BARE, "-c", _LIST, str(ROOT), cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    listed = answer.stdout.splitlines()
    assert [int(line.split()[0]) for line in listed] == list(range(1, 31))
    assert listed[16] == "17 Check deployment in UI t17_check_deployment_in_ui"
    assert all(line.split()[-1].startswith(f"t{number:02}_") for number, line in enumerate(listed, 1))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--help",), 0, "exit codes:"),
        (("--version",), 0, "Blueprint "),
        (("plan",), 0, "30 tasks"),
        (("verify",), 1, "environment"),
        (("stop",), 0, "Nothing to stop"),
        (("--phase", "4"), 2, "'all', '1', '2', '3'"),
    ],
)
def test_the_door_answers_with_nothing_installed(
    tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    answer = ran(*BARE, "run_blueprint.py", *arguments, cwd=checkout(tmp_path))
    assert answer.returncode == code, answer.stderr
    assert says in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / ".blueprint").exists()
    assert not (tmp_path / ".venv").exists()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a healthy environment that borrows the packages of the one that runs this test."""
    root = checkout(tmp_path_factory.mktemp("installed"))
    workspace = Workspace(root)
    workspace.prepare()
    bootstrap.ensure_environment(workspace, within(60))
    site = next(workspace.venv.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return root


@pytest.mark.parametrize(
    ("arguments", "got_to"),
    [
        (("--help",), "blueprint.cli.options"),
        (("plan",), "blueprint.bootstrap.installed"),
        (("verify", "--port", "1"), "blueprint.platform.status"),
        (("stop",), "blueprint.processes.manager"),
    ],
)
def test_what_must_answer_at_once_never_imports_prefect_nor_what_only_a_run_needs(
    installed: Path, arguments: tuple[str, ...], got_to: str
) -> None:
    answer = ran(base_python(), "run_blueprint.py", *arguments, cwd=installed, PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines() if line.startswith("import time:")}
    assert got_to in loaded, answer.stderr[-2000:]
    slow = {"prefect", "tenacity", "httpx", "sqlalchemy", "blueprint.execution.executor", "blueprint.tasks.functions"}
    assert {name for name in loaded if name in slow or name.partition(".")[0] in slow} == set()


@pytest.mark.parametrize("command", ["plan", "verify", "stop"])
def test_a_quick_command_is_not_kept_waiting_by_the_python_that_it_only_passes_through(
    installed: Path, command: str
) -> None:
    """What is imported before the change of Python is imported again after it."""
    workspace = Workspace(installed)
    workspace.prepare()
    own_only = (base_python(), "-S")  # without what this machine's Python imports for itself
    answer = ran(*own_only, "run_blueprint.py", command, cwd=installed, PYTHONPROFILEIMPORTTIME="1")
    _, first, second = answer.stderr.split("import time: self [us]")
    before, after = ({line.rpartition("|")[2].strip() for line in part.splitlines()} for part in (first, second))
    assert {"blueprint.core.venv", "pathlib"} <= before
    assert "blueprint.cli.options" in after
    slow = {"argparse", "dataclasses", "json", "subprocess", "tomllib", "typing"}
    assert {one for one in before if one in slow or (one.startswith("blueprint.") and one in after)} <= {
        *("blueprint.cli", "blueprint.cli.main", "blueprint.core", "blueprint.core.errors", "blueprint.core.venv")
    }


def test_what_plan_and_verify_look_at_is_read_without_prefect(installed: Path) -> None:
    script = """
import os, sys
from pathlib import Path
sys.modules["prefect"] = None  # any import of it fails
from blueprint.config import sources as configuration
from blueprint.platform import status as health
from blueprint.platform import environment as prefect_env
from blueprint.core.workspace import Workspace
workspace = Workspace(Path.cwd())
settings = configuration.load(workspace.root, {}, ("port=1",))
assert prefect_env.prefect_toml(settings, workspace)
assert [check.name for check in health.look(settings, workspace) if check.name == "server" and check.state == "down"]
"""
    answer = ran(Workspace(installed).python, "-c", script, cwd=installed)
    assert answer.returncode == 0, answer.stderr


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return ran(Path(sysconfig.get_path("scripts")) / "lint-imports", "--no-cache", cwd=folder)


def test_the_rules_of_who_may_import_whom_are_kept() -> None:
    answer = lint_imports(ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("pipeline/records.py", "import blueprint.core.errors"),
        ("platform/status.py", "import blueprint.tasks"),
        ("platform/specs.py", "import prefect"),
        ("processes/ports.py", "import blueprint.config.settings"),
        ("execution/executor.py", "import blueprint.processes"),
        ("tasks/proofs.py", "import blueprint.cli.commands.verify"),
        ("a_new_room.py", "import os"),
    ],
)
def test_a_rule_that_is_broken_is_seen(tmp_path: Path, file: str, line: str) -> None:
    broken = checkout(tmp_path) / "blueprint" / file
    broken.write_text((broken.read_text() if broken.exists() else "") + f"\n{line}\n")
    answer = lint_imports(tmp_path)
    assert answer.returncode == 1, answer.stdout + answer.stderr


_AS_AN_OLD_PYTHON = """
import sys
sys.version_info = (3, 9, 18, "final", 0)
source = open(sys.argv[1]).read()
exec(compile(source, sys.argv[1], "exec"), {"__name__": "__main__", "__file__": sys.argv[1]})
"""


def test_an_old_python_is_told_so_in_one_sentence() -> None:
    """The door must be readable for an old Python: it is compiled with the grammar of 3.7."""
    import ast

    ast.parse((ROOT / "run_blueprint.py").read_text(), feature_version=(3, 7))
    answer = ran(*BARE, "-c", _AS_AN_OLD_PYTHON, ROOT / "run_blueprint.py", cwd=ROOT)
    assert (answer.returncode, answer.stdout) == (4, "")
    assert answer.stderr == "Blueprint needs Python 3.11 or newer, and this is 3.9. Run it with a newer one.\n"
