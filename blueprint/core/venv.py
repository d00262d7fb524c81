"""The health of `.venv`, read from a few of its files, and the way into it.

Standard library only, and little of it: `plan`, `verify` and `stop` pass here before anything else is imported.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

MINIMUM_PYTHON = (3, 11)
STAMP = "made-for"  # holds the folder that the environment was made for: it cannot be copied or moved
CONFIG = "pyvenv.cfg"

IGNORED_PATH = "_BLUEPRINT_PYTHONPATH"  # the user's PYTHONPATH, which is not used: another Prefect may be on it

_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")
_HANDOVER = "_BLUEPRINT_HANDOVER"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def problem(venv: Path, *, start: bool = False) -> str | None:
    """Return the reason why the environment cannot be used; None if it looks healthy, by a few of its files.

    With `start` its Python is started too (20 ms), unless it is the one that runs here.
    """
    if not venv.is_dir():
        return "it is not a folder" if os.path.lexists(venv) else "there is no .venv"
    if not os.access(venv, os.R_OK | os.X_OK):
        return "this user may not look into it"
    config = _config(venv)
    if config is None:
        return f"it is not a virtual environment: it has no {CONFIG}"
    version = _version(config)
    if "home" not in config or version is None:
        return "it is incomplete"
    if version < MINIMUM_PYTHON:
        return f"its Python {dotted(version)} is too old"
    if not os.path.isdir(config["home"]):  # noqa: PTH112 - where this user may not look, a Path raises
        return f"the Python that it was made from is gone, or this user may not reach it ({config['home']})"
    return _interpreter_problem(venv, version) or _place_problem(venv) or (_start_problem(venv) if start else None)


def site_packages(venv: Path) -> Path:
    """Return the folder that holds the packages of a healthy environment."""
    version = _version(_config(venv) or {}) or sys.version_info[:2]
    return venv / "lib" / f"python{dotted(version)}" / "site-packages"


def dotted(version: tuple[int, int]) -> str:
    """Return a version as people write it, such as `3.11`."""
    return f"{version[0]}.{version[1]}"


def inside(venv: Path) -> bool:
    """Tell whether this process runs in the environment, and imports nothing from a PYTHONPATH."""
    return os.path.realpath(sys.prefix) == os.path.realpath(venv) and not os.environ.get("PYTHONPATH")


def reexec_in_venv(venv: Path, script: Path, argv: Sequence[str]) -> None:
    """Continue in the environment; return if this process already runs in it, or if it cannot be used."""
    if not inside(venv) and not problem(venv, start=True):
        reexec(venv / "bin" / "python", script, argv)


def reexec(python: Path, script: Path, argv: Sequence[str], handover: str | None = None) -> None:
    """Continue as `python script argv…` in this very process (same pid, inheritable files stay open).

    Never returns. The next stage gets `handover` from `handed_over`.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    if os.environ.get("PYTHONPATH"):
        environment[IGNORED_PATH] = os.environ["PYTHONPATH"]
    if handover is not None:
        environment[_HANDOVER] = handover
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that comes while there is no Python to handle it waits until `handed_over`.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        os.execve(python, [str(python), str(script), *argv], environment)  # noqa: S606
    except OSError as error:
        from blueprint.core.files import refused

        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        raise refused(error, python) from error


def handed_over() -> str | None:
    """Take the previous stage's text, if there is one, out of the environment, so that no child sees it."""
    text = os.environ.pop(_HANDOVER, None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    return text


def _config(venv: Path) -> dict[str, str] | None:
    try:
        lines = (venv / CONFIG).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _version(config: dict[str, str]) -> tuple[int, int] | None:
    # `venv` writes version, uv and virtualenv write version_info
    match = re.match(r"(\d+)\.(\d+)", config.get("version") or config.get("version_info") or "")
    return (int(match[1]), int(match[2])) if match else None


def _interpreter_problem(venv: Path, version: tuple[int, int]) -> str | None:
    python = venv / "bin" / "python"
    if not os.access(python, os.X_OK):
        return "its bin/python is a dangling link" if python.is_symlink() else "its bin/python is missing"
    # The system's Python may have been upgraded below it, as /usr/bin/python3 is from release to release.
    real = re.fullmatch(r"python(\d+)\.(\d+)", python.resolve().name)
    if real and (int(real[1]), int(real[2])) != version:
        return f"it was made for Python {dotted(version)}, but its bin/python is now {real[0]}"
    if not site_packages(venv).is_dir():
        return f"its {site_packages(venv).relative_to(venv)} is missing"
    return None


def _start_problem(venv: Path) -> str | None:
    """Tell whether its Python does not start: an empty file, another machine's, or one that lacks a library."""
    if inside(venv):
        return None
    python = str(venv / "bin" / "python")
    reading, writing = os.pipe()
    try:  # not by `subprocess`, whose import takes as long as this start
        actions = [(os.POSIX_SPAWN_DUP2, writing, 2)]
        pid = os.posix_spawn(python, [python, "-I", "-S", "-c", ""], os.environ, file_actions=actions)
    except OSError as error:
        os.close(reading)
        return f"its Python does not run ({error.strerror})"
    finally:
        os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as errors:  # noqa: PTH123 - a descriptor
        said = errors.read().strip().splitlines()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"its Python does not run ({said[-1] if said else f'exit code {code}'})" if code else None


def _place_problem(venv: Path) -> str | None:
    """Tell whether the environment was copied or moved: its scripts still name the old place."""
    here = os.path.realpath(venv)
    try:
        made_for = [os.fsdecode((venv / STAMP).read_bytes())]
    except OSError:
        made_for = _places_in_activate(venv)
    if not made_for or any(os.path.realpath(place) == here for place in made_for):
        return None
    return f"it was made for another folder ({made_for[0]})"


def _places_in_activate(venv: Path) -> list[str]:
    """Return the folders that the activation script names; environments made by others have no stamp of ours."""
    import shlex

    try:
        text = (venv / "bin" / "activate").read_text("utf-8", "surrogateescape")
        values = re.findall(r"""^\s*(?:export )?VIRTUAL_ENV=(['"/].*)$""", text, re.MULTILINE)
        return [word for value in values for word in shlex.split(value) if word.startswith("/")]
    except (OSError, ValueError):
        return []
