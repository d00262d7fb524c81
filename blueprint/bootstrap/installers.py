"""The two installers, uv and pip: finding them, running them, and saying why one failed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blueprint.bootstrap.environment import base_python
from blueprint.bootstrap.failures import Cause, cause_of, telling_line, without_secrets
from blueprint.bootstrap.lockfile import Pin
from blueprint.bootstrap.sources import pip_environment, uv_arguments, uv_environment
from blueprint.core import child
from blueprint.core.files import PRIVATE_FILE, write_all
from blueprint.core.task import TaskControl, TaskStopped
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace

_PIP_THAT_REACHES_OTHERS = (22, 3)  # the first that has --python
_SECONDS_FOR_A_VERSION = 30


class InstallerFailed(Exception):
    """An installer could not do it.

    Attributes:
        cause: Why, as far as its words are known.
        line: The line of its output that tells.
        output: All of its output, without secrets.
    """

    def __init__(self, cause: Cause, line: str, output: str = "") -> None:
        super().__init__(line)
        self.cause = cause
        self.line = line
        self.output = output


@dataclass(frozen=True)
class Installer:
    """An installer at work on one environment.

    Attributes:
        name: With its version and where it came from, for the evidence.
        install: Installs from a requirements file; with hashes if `constraints` is None, else bound by that file.
    """

    name: str
    install: Callable[[Path, Path | None], None]


def log_file(workspace: Workspace) -> Path:
    """Where the whole output of the installers is kept."""
    return workspace.logs / "install.log"


def uv(workspace: Workspace, control: TaskControl, pins: Sequence[Pin]) -> Installer:
    """The fast installer: the environment's own, else the one on PATH, else the lock's own, fetched first by pip.

    Raises:
        InstallerFailed: There is none to be had.
    """
    environment = uv_environment(os.environ, workspace.venv, workspace.state / "uv-cache")
    arguments = uv_arguments(os.environ, workspace.venv)
    own = workspace.venv / "bin" / "uv"
    for program in filter(None, (str(own), shutil.which("uv"))):
        version = _version_of([program], environment, control)
        if version:
            break
    else:
        _fetch_uv(workspace, control, pins)
        program, version = str(own), _version_of([own], environment, control)
        if not version:
            raise InstallerFailed(Cause.OTHER, "the uv that was just installed does not run")

    def install(requirements: Path, constraints: Path | None) -> None:
        argv = [program, "pip", "install", "--python", str(workspace.python), "--compile-bytecode", *arguments]
        argv += ["--require-hashes"] if constraints is None else ["--constraint", str(constraints)]
        _run(workspace, control, [*argv, "--requirement", str(requirements)], environment)

    return Installer(f"{version} ({program})", install)


def pip(workspace: Workspace, control: TaskControl, *, patient: bool = True) -> Installer:
    """The plain installer: the environment's own pip, else that of the Python below it, else one from ensurepip.

    Args:
        workspace: Its `.venv` is healthy.
        control: Of the task.
        patient: Whether it may try an index as often as pip does by default; False where uv has tried in vain.

    Raises:
        InstallerFailed: There is none to be had; `line` says what to install.
    """
    environment = pip_environment(os.environ)
    if not patient:
        environment.setdefault("PIP_RETRIES", "1")
    program, version = _find_pip(workspace, control, environment)

    def install(requirements: Path, constraints: Path | None) -> None:
        argv = [*program, "install", "--no-compile"]
        # No dependencies: the lock names them all, and old pip takes `sqlalchemy[asyncio]==…` for unpinned otherwise.
        argv += ["--require-hashes", "--no-deps"] if constraints is None else ["--constraint", str(constraints)]
        _run(workspace, control, [*argv, "--requirement", str(requirements)], environment)
        compile_bytecode(workspace, control)

    return Installer(f"{version} ({program[0]})", install)


def compile_bytecode(workspace: Workspace, control: TaskControl) -> None:
    """Compile what has no bytecode yet, on all processors. Sources that are no valid Python are passed over."""
    control.waiting("compiling bytecode")
    argv = [str(workspace.python), "-m", "compileall", "-q", "-q", str(site_packages(workspace.venv))]
    done = child.run([*argv, "-j", "0"], control)
    if "Traceback" in done.errors:  # no semaphores for a process pool, as in some containers
        child.run(argv, control)


@contextlib.contextmanager
def requirements_file(lines: Sequence[str]) -> Iterator[Path]:
    """A private file that holds these lines for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="blueprint-") as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        yield path


def _fetch_uv(workspace: Workspace, control: TaskControl, pins: Sequence[Pin]) -> None:
    pin = next((pin for pin in pins if pin.name == "uv"), None)
    if pin is None:
        raise InstallerFailed(Cause.OTHER, "uv is neither on PATH nor in the lock")
    control.waiting(f"fetching uv {pin.version}")
    environment = pip_environment(os.environ)
    program, _ = _find_pip(workspace, control, environment)
    with requirements_file([pin.text]) as path:
        argv = [*program, "install", "--no-compile", "--require-hashes", "--no-deps", "--requirement", str(path)]
        _run(workspace, control, argv, environment)


def _find_pip(workspace: Workspace, control: TaskControl, environment: Mapping[str, str]) -> tuple[list[str], str]:
    own = [str(workspace.python), "-m", "pip"]
    version = _version_of(own, environment, control)
    if version:
        return own, version
    # Faster than ensurepip (2 s instead of 4), and stock Debian has no ensurepip.
    below = [base_python(), "-m", "pip"]
    version = _version_of(below, environment, control)
    numbers = re.match(r"pip (\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) >= _PIP_THAT_REACHES_OTHERS:
        return [*below, "--python", str(workspace.python)], version
    with contextlib.suppress(OSError):
        child.run([workspace.python, "-m", "ensurepip"], control, env=environment)
    version = _version_of(own, environment, control)
    if version:
        return own, version
    raise InstallerFailed(Cause.NO_INSTALLER, "there is no pip and no ensurepip")


def _version_of(program: Sequence[str | Path], environment: Mapping[str, str], control: TaskControl) -> str:
    """What it says to `--version`, without the place; empty if it does not run."""
    try:
        answer = child.run([*program, "--version"], control, env=environment, seconds=_SECONDS_FOR_A_VERSION)
    except OSError:
        return ""
    except TaskStopped:
        if control.stopped.is_set() or control.remaining() <= 0:
            raise
        return ""  # it hangs: as good as not there
    return " ".join(answer.output.split()[:2]) if answer.returncode == 0 else ""


def _run(workspace: Workspace, control: TaskControl, argv: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        done = child.run(argv, control, env=environment, cwd=workspace.root)
    except OSError as error:
        raise InstallerFailed(Cause.OTHER, f"{argv[0]} cannot be started: {error}") from error
    output = without_secrets(done.output + done.errors)
    _log(workspace, without_secrets(" ".join(argv)), output)
    if done.returncode != 0:
        raise InstallerFailed(cause_of(output), telling_line(output), output)


def _log(workspace: Workspace, command: str, output: str) -> None:
    # On a disk that ran full it cannot be kept; what the installer itself met there is what the user must hear.
    with contextlib.suppress(OSError):
        fd = os.open(log_file(workspace), os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        try:
            write_all(fd, f"$ {command}\n{output}\n".encode())
        finally:
            os.close(fd)
