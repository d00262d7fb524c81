"""Task 3: the execution continues in `.venv`, as the same process, and its children inherit it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from blueprint.core import child, venv
from blueprint.core.errors import SetupError
from blueprint.core.task import Evidence, TaskControl
from blueprint.core.workspace import Workspace


def reexec(workspace: Workspace, argv: Sequence[str], handover: Mapping[str, str]) -> NoReturn:
    """Continue as `.venv/bin/python run_blueprint.py argv…` in this very process; inheritable files stay open.

    The next stage gets the texts of `handover` from its `handover()`.
    """
    venv.reexec(workspace.python, workspace.script, argv, json.dumps(dict(handover)))
    raise AssertionError("execve came back")


def handover() -> dict[str, str] | None:
    """Take the texts of the previous stage out of the environment; None if there was no previous stage."""
    try:
        value = json.loads(venv.handed_over() or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def verify_activation(workspace: Workspace, control: TaskControl) -> Evidence:
    """Prove that this process runs in `.venv`, and that a `python` started by it does too.

    Sets PATH and VIRTUAL_ENV of this process and drops PYTHONHOME, as the activation script would.
    """
    if not venv.inside(workspace.venv):
        raise SetupError(
            f"The execution runs in {sys.prefix}, not in {workspace.venv}.",
            f"Run the same command with {workspace.python}.",
            where_to_look=sys.executable,
        )
    scripts = str(workspace.python.parent)
    others = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part and part != scripts]
    os.environ["PATH"] = os.pathsep.join([scripts, *others])
    os.environ["VIRTUAL_ENV"] = str(workspace.venv)
    os.environ.pop("PYTHONHOME", None)
    try:
        answer = child.run(["python", "-c", "import sys; print(sys.prefix)"], control)
    except OSError as error:
        raise SetupError(f"No `python` can be started: {error}.", where_to_look=str(workspace.python)) from error
    prefix = answer.output.strip()
    if answer.returncode != 0 or os.path.realpath(prefix) != os.path.realpath(workspace.venv):
        found = f"runs in {prefix}" if answer.returncode == 0 else f"fails: {answer.last_line()}"
        raise SetupError(
            f"A `python` started by the execution {found}; it should run in {workspace.venv}.",
            "Check what your shell sets in PATH and in variables that begin with PYTHON.",
            where_to_look=os.environ["PATH"],
        )
    details = {"prefix": sys.prefix, "interpreter": sys.executable, "child_prefix": prefix, "pid": os.getpid()}
    ignored = os.environ.get(venv.IGNORED_PATH, "")
    if ignored:
        details["ignored_pythonpath"] = ignored
    note = f"; PYTHONPATH ({ignored}) is not used here nor by the platform" if ignored else ""
    return Evidence(f"this process and a `python` that it started run in {workspace.venv}{note}", details)
