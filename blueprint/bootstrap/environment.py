"""Task 2: a healthy `.venv` of a fitting Python, made anew when it is not."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from blueprint import child
from blueprint.bootstrap.failures import Cause, cause_of, no_room
from blueprint.errors import EnvironmentRefused
from blueprint.files import refused
from blueprint.task import Evidence, Handle, TaskStopped
from blueprint.workspace import Workspace

MINIMUM_PYTHON = (3, 11)

_CONFIG = "pyvenv.cfg"
_STAMP = "made-for"  # holds the folder that the environment was made for: it cannot be copied or moved

_SAY_WHO_YOU_ARE = (
    "import json, platform, sys;print(json.dumps([sys.prefix, sys.base_prefix, platform.python_version()]))"
)
_SECONDS_TO_START = 30


def environment_problem(workspace: Workspace) -> str | None:
    """Why `.venv` cannot be used, None if it looks healthy. Reads a few files and starts nothing (about 1 ms)."""
    venv = workspace.venv
    if not venv.is_dir():
        return "something that is not a folder stands in its place" if os.path.lexists(venv) else "there is no .venv"
    config = _config(venv)
    if config is None:
        return f"it is not a virtual environment: it has no {_CONFIG}"
    version = _version(config)
    if "home" not in config or version is None:
        return "it was not made to its end"
    if version < MINIMUM_PYTHON:
        return f"its Python {_dotted(version)} is too old"
    if not Path(config["home"]).is_dir():
        return f"the Python that it was made from is gone ({config['home']})"
    return _interpreter_problem(workspace, version) or _place_problem(venv)


def site_packages(venv: Path) -> Path:
    """Where the packages of a healthy environment are."""
    version = _version(_config(venv) or {}) or sys.version_info[:2]
    return venv / "lib" / f"python{_dotted(version)}" / "site-packages"


def base_python() -> str:
    """The interpreter that lies below this process, outside any virtual environment."""
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return base


@dataclass(frozen=True)
class _Interpreter:
    """What `.venv/bin/python` says of itself."""

    prefix: str
    base: str
    version: str


class _Unfit(Exception):
    """Why `.venv` cannot be used."""


def ensure_environment(workspace: Workspace, handle: Handle) -> Evidence:
    """See that `.venv` is healthy; make it if it is missing, make it anew if it is broken, old or from elsewhere.

    Packages of the user's own that a broken one held are lost with it.

    Raises:
        EnvironmentRefused: What stands at `.venv` is not ours to delete, or this machine cannot make one.
    """
    why = ""
    try:
        found = _look(workspace, handle)
    except _Unfit as problem:
        why = str(problem)
        _see_that_it_is_ours(workspace.venv, why)
        _make(workspace, handle)
        try:
            found = _look(workspace, handle)
        except _Unfit as left:
            raise EnvironmentRefused(
                f"A new virtual environment was made in {workspace.venv}, but {left}.",
                f"Check the Python that it was made from: {base_python()}",
            ) from left
    _stamp(workspace.venv)
    return Evidence(
        f".venv with Python {found.version} of {found.base}",
        {**asdict(found), "site_packages": str(site_packages(workspace.venv))},
        changed=bool(why),
        why=why,
    )


def _config(venv: Path) -> dict[str, str] | None:
    try:
        lines = (venv / _CONFIG).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _version(config: dict[str, str]) -> tuple[int, int] | None:
    # `venv` writes version, uv and virtualenv write version_info
    match = re.match(r"(\d+)\.(\d+)", config.get("version") or config.get("version_info") or "")
    return (int(match[1]), int(match[2])) if match else None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _interpreter_problem(workspace: Workspace, version: tuple[int, int]) -> str | None:
    python = workspace.python
    if not os.access(python, os.X_OK):
        return "its bin/python leads nowhere" if python.is_symlink() else "its bin/python is missing"
    # The system's Python may have been upgraded below it, as /usr/bin/python3 is from release to release.
    real = re.fullmatch(r"python(\d+)\.(\d+)", python.resolve().name)
    if real and (int(real[1]), int(real[2])) != version:
        return f"it was made for Python {_dotted(version)}, but its bin/python is now {real[0]}"
    if not site_packages(workspace.venv).is_dir():
        return f"its {site_packages(workspace.venv).relative_to(workspace.venv)} is missing"
    return None


def _place_problem(venv: Path) -> str | None:
    """Scripts in an environment begin with its absolute path: copied or moved, they run what is at the old place."""
    here = os.path.realpath(venv)
    try:
        made_for = [os.fsdecode((venv / _STAMP).read_bytes())]
    except OSError:
        made_for = list(_places_in_activate(venv))
    if not made_for or any(os.path.realpath(place) == here for place in made_for):
        return None
    return f"it was made for another folder ({made_for[0]})"


def _places_in_activate(venv: Path) -> Iterator[str]:
    """What the activation script of an environment made by somebody else calls its place; nothing if it tells none."""
    try:
        text = (venv / "bin" / "activate").read_text("utf-8", "surrogateescape")
    except OSError:
        return
    for value in re.findall(r"""^\s*(?:export )?VIRTUAL_ENV=(['"/].*)$""", text, re.MULTILINE):
        try:
            words = shlex.split(value)
        except ValueError:
            continue
        if len(words) == 1 and words[0].startswith("/"):
            yield words[0]


def _stamp(venv: Path) -> None:
    path = venv / _STAMP
    here = os.fsencode(os.path.realpath(venv))
    try:
        if not path.is_file() or path.read_bytes() != here:
            path.write_bytes(here)
    except OSError as error:
        raise refused(error, path) from error


def _look(workspace: Workspace, handle: Handle) -> _Interpreter:
    """Read its files, then really start its interpreter (about 20 ms).

    Raises:
        _Unfit: It cannot be used.
    """
    problem = environment_problem(workspace)
    if problem:
        raise _Unfit(problem)
    try:
        answer = child.run([workspace.python, "-I", "-c", _SAY_WHO_YOU_ARE], handle, seconds=_SECONDS_TO_START)
        if answer.returncode != 0:
            raise _Unfit(f"its Python does not run ({answer.last_line()})")
        prefix, base, version = json.loads(answer.output)
    except (OSError, ValueError) as error:
        raise _Unfit(f"its Python does not run ({error})") from error
    except TaskStopped:
        if handle.stopped.is_set() or handle.remaining() <= 0:
            raise
        raise _Unfit(f"its Python did not start within {_SECONDS_TO_START} s") from None
    if os.path.realpath(prefix) != os.path.realpath(workspace.venv):
        raise _Unfit(f"its Python runs in another environment ({prefix})")
    return _Interpreter(prefix, base, version)


def _see_that_it_is_ours(venv: Path, problem: str) -> None:
    """Never delete what is not recognisably a virtual environment: it may be somebody's files."""
    if venv.is_symlink():
        raise EnvironmentRefused(
            f"{venv} is a link to {venv.readlink()}, and what is there cannot be used: {problem}.",
            "Remove the link, then run the same command again.",
        )
    if not os.path.lexists(venv) or (venv.is_dir() and ((venv / _CONFIG).is_file() or not any(venv.iterdir()))):
        return
    raise EnvironmentRefused(
        f"{venv} is in the way: {problem}, and it is not empty.", "Move it away, then run the same command again."
    )


def _make(workspace: Workspace, handle: Handle) -> None:
    """Empty `.venv` and make it anew. Killed at any moment it stays recognisable: the configuration never goes away."""
    venv = workspace.venv
    handle.waiting("making .venv")
    try:
        venv.mkdir(exist_ok=True)
        (venv / _CONFIG).write_text("")
        for entry in venv.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != _CONFIG:
                entry.unlink()
    except OSError as error:
        raise refused(error, venv) from error
    tried = []
    for argv in _ways_to_make(venv):
        try:
            done = child.run(argv, handle)
        except OSError as error:
            tried.append(f"{argv[0]}: {error}")
            continue
        if done.returncode == 0:
            return
        if cause_of(done.output + done.errors) is Cause.NO_ROOM:
            raise no_room(venv)
        tried.append(f"`{' '.join(argv[:3])}` says: {done.last_line()}")
    raise EnvironmentRefused(f"No virtual environment can be made in {venv}: {'; '.join(tried)}.", how_to_get_venv())


def _ways_to_make(venv: Path) -> Iterator[list[str]]:
    # Without pip it takes 0.07 s (with pip 3 s, `uv venv` 0.15 s) and needs no ensurepip, which stock Debian lacks.
    yield [base_python(), "-m", "venv", "--without-pip", str(venv)]
    uv = shutil.which("uv")
    if uv:
        yield [uv, "venv", "--allow-existing", "--no-python-downloads", "--python", base_python(), str(venv)]


def how_to_get_venv() -> str:
    """What to install where Python came without `venv` or `ensurepip`."""
    return (
        f"On Debian and Ubuntu run `apt-get install python{_dotted(sys.version_info[:2])}-venv` (or python3-venv); "
        "elsewhere install uv (https://docs.astral.sh/uv) or a whole Python. Then run the same command again."
    )
