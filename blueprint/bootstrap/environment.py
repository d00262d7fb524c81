"""Task 2: a healthy `.venv` of a fitting Python; one that is not healthy is made anew."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from blueprint.bootstrap import lost_packages
from blueprint.bootstrap.failures import Cause, cause_of, no_room
from blueprint.core import child
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import private_folder, refused
from blueprint.core.task import Evidence, TaskControl, TaskStopped
from blueprint.core.venv import CONFIG, STAMP, dotted, problem, site_packages
from blueprint.core.workspace import Workspace

_IDENTIFY = (
    "import json, platform, sys;"
    "print(json.dumps(dict(prefix=sys.prefix, base=sys.base_prefix, version=platform.python_version())))"
)
_SECONDS_TO_ANSWER = 30


def base_python() -> str:
    """Return the interpreter that lies below this process, outside any virtual environment."""
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return base


def ask(argv: Sequence[str | Path], control: TaskControl, env: Mapping[str, str] | None = None) -> child.Finished:
    """Run a program that answers at once.

    Raises:
        OSError: It cannot be started, or it hangs.
    """
    try:
        return child.run(argv, control, env=env, seconds=_SECONDS_TO_ANSWER)
    except TaskStopped:
        if control.stopped.is_set() or control.remaining() <= 0:
            raise
        raise TimeoutError(f"it did not answer within {_SECONDS_TO_ANSWER} s") from None


def ensure_environment(workspace: Workspace, control: TaskControl) -> Evidence:
    """Make `.venv` healthy: made if it is missing, made anew if it is broken, too old or from elsewhere.

    Packages of the user's own that a broken one held are lost with it; they are listed first.

    Raises:
        EnvironmentRefused: The files at `.venv` are not ours to delete, or this machine cannot make one.
    """
    reason, found = _inspect(workspace, control)
    if reason:
        _require_ours(workspace.venv, reason)
        lost_packages.keep(workspace)
        _make(workspace, control)
        still, found = _inspect(workspace, control)
        if still:
            raise EnvironmentRefused(
                f"A new virtual environment was made in {workspace.venv}, but {still}.",
                f"Check the Python that it was made from: {base_python()}",
            )
    private_folder(workspace.venv)  # there are files in it by whose locks others could have the installer wait
    _stamp(workspace.venv)
    return Evidence(
        f".venv with Python {found['version']} of {found['base']}{lost_packages.told(workspace) if reason else ''}",
        {**found, "site_packages": str(site_packages(workspace.venv))},
        changed=bool(reason),
        reason=reason,
    )


def _stamp(venv: Path) -> None:
    path = venv / STAMP
    here = os.fsencode(os.path.realpath(venv))
    try:
        if not path.is_file() or path.read_bytes() != here:
            path.write_bytes(here)
    except OSError as error:
        raise refused(error, path) from error


def _inspect(workspace: Workspace, control: TaskControl) -> tuple[str, dict[str, str]]:
    """Return why `.venv` cannot be used, or else what its interpreter, really started (20 ms), says of itself."""
    reason = problem(workspace.venv)
    if reason:
        return reason, {}
    try:
        answer = ask([workspace.python, "-I", "-c", _IDENTIFY], control)
        if answer.returncode != 0:
            return f"its Python does not run ({answer.last_line()})", {}
        found: dict[str, str] = json.loads(answer.output)
    except OSError as error:
        return f"its Python does not run ({error.strerror})", {}
    except ValueError as error:
        return f"its Python does not run ({error})", {}
    if os.path.realpath(found["prefix"]) != os.path.realpath(workspace.venv):
        return f"its Python runs in another environment ({found['prefix']})", {}
    return "", found


def _require_ours(venv: Path, reason: str) -> None:
    """Refuse to delete what is not recognisably a virtual environment: it may be somebody's files."""
    if venv.is_symlink():
        raise EnvironmentRefused(
            f"{venv} is a link to {venv.readlink()}, which cannot be used: {reason}.",
            "Remove the link, then run the same command again.",
        )
    if not os.path.lexists(venv) or (venv.is_dir() and ((venv / CONFIG).is_file() or not any(venv.iterdir()))):
        return
    raise EnvironmentRefused(
        f"{venv} cannot be replaced by a virtual environment: {reason}, and it is not empty.",
        "Move it away, then run the same command again.",
    )


def _make(workspace: Workspace, control: TaskControl) -> None:
    """Empty `.venv` and make it anew; its configuration file stays, so that it is recognised after a kill."""
    venv = workspace.venv
    control.waiting("making .venv")
    try:
        venv.mkdir(exist_ok=True)
        (venv / CONFIG).write_text("")
        for entry in venv.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != CONFIG:
                entry.unlink()
    except OSError as error:
        raise refused(error, venv) from error
    # Without pip it takes 0.07 s (with pip 3 s, `uv venv` 0.15 s) and needs no ensurepip, which stock Debian lacks.
    ways = [[base_python(), "-m", "venv", "--without-pip", str(venv)]]
    if uv := shutil.which("uv"):
        ways += [[uv, "venv", "--allow-existing", "--no-python-downloads", "--python", base_python(), str(venv)]]
    tried = []
    for argv in ways:
        try:
            done = child.run(argv, control)
        except OSError as error:
            tried.append(f"{argv[0]}: {error}")
            continue
        if done.returncode == 0:
            return
        if cause_of(done.output + done.errors) is Cause.NO_ROOM:
            raise no_room(venv)
        tried.append(f"`{' '.join(argv[:3])}` says: {done.last_line()}")
    raise EnvironmentRefused(f"No virtual environment can be made in {venv}: {'; '.join(tried)}.", how_to_get_venv())


def how_to_get_venv() -> str:
    """Return the hint for machines whose Python came without `venv` or `ensurepip`."""
    return (
        f"On Debian and Ubuntu run `apt-get install python{dotted(sys.version_info[:2])}-venv` (or python3-venv); "
        "elsewhere install uv (https://docs.astral.sh/uv) or a whole Python. Then run the same command again."
    )
