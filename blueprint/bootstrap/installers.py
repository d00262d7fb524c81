"""The two installers, uv and pip: finding them, running them, and telling why one failed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from blueprint.bootstrap.environment import ask, base_python
from blueprint.bootstrap.failures import Cause, InstallerFailed, cause_of, telling_line, without_secrets
from blueprint.bootstrap.lockfile import Pin
from blueprint.bootstrap.progress import Progress
from blueprint.bootstrap.second_look import broken_off, skipped_page
from blueprint.bootstrap.sources import only_for_pip, pip_environment, uv_environment, uv_is_configured
from blueprint.core import child
from blueprint.core.errors import SetupError
from blueprint.core.files import PRIVATE_FILE
from blueprint.core.task import TaskControl
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace
from blueprint.prefect_runtime.visible import visible

_PIP_THAT_REACHES_OTHERS = (22, 3)  # the first that has --python
_UNMET = re.compile(r"\brequire(?:s|ment)\b")
# Of a source package only the package itself is locked by its hash: not what builds it, which runs here.
_AS_LOCKED = ("--require-hashes", "--only-binary", ":all:")
_ANEW = "Remove the folder .venv, then run the same command again."
_PIP_VERSION = "import pip; print('pip', pip.__version__)"  # a quarter of the time of `pip --version`


def log_file(workspace: Workspace) -> Path:
    """Return the file that keeps the whole output of the installers."""
    return workspace.logs / "install.log"


def install_with_uv(
    workspace: Workspace, control: TaskControl, pins: Sequence[Pin], requirements: Path, constraints: Path | None = None
) -> str:
    """Install by uv: the environment's own, else the one on PATH, else the locked one, fetched by pip.

    Args:
        workspace: Its `.venv` is healthy.
        control: Of the task.
        pins: All packages of the lock; uv may be among them.
        requirements: A requirements file, with hashes if there are no constraints.
        constraints: A file of versions that must not be moved.

    Returns:
        The installer's name with its version and place.
    """
    environment = uv_environment(os.environ, workspace.state / "uv-cache")
    own = str(workspace.venv / "bin" / "uv")
    for program in filter(None, (own, shutil.which("uv"))):
        version = _version([program, "--version"], environment, control)
        if version:
            break
    else:
        pin = next((pin for pin in pins if pin.name == "uv"), None)
        if pin is None:
            raise InstallerFailed(Cause.OTHER, "uv is neither on PATH nor in the lock")
        control.waiting(f"fetching uv {pin.version}")
        with requirements_file([pin.text]) as path:
            install_with_pip(workspace, control, path)
        program, version = own, _version([own, "--version"], environment, control)
        if not version:
            raise InstallerFailed(Cause.OTHER, "the uv that was just installed does not run")
    argv = [program, "pip", "install", "--python", str(workspace.python), "--compile-bytecode"]
    argv += _AS_LOCKED if constraints is None else ["--constraint", str(constraints)]
    _run(workspace, control, [*argv, "--requirement", str(requirements)], environment)
    return f"{version} ({program})"


def install_with_pip(
    workspace: Workspace,
    control: TaskControl,
    requirements: Path,
    constraints: Path | None = None,
    *,
    patient: bool = True,
) -> str:
    """Install by pip: the environment's own, else that of the Python below it, else the one from ensurepip.

    Arguments, result and errors as for uv; `patient` is False where another installer has tried an index in vain.
    """
    environment = pip_environment(os.environ)
    program, version = _find_pip(workspace, control, environment)
    environment = pip_environment(os.environ, _output([*program, "config", "list"], environment, control))
    if not patient:
        environment.setdefault("PIP_RETRIES", "1")
    argv = [*program, "install", "--no-compile"]
    # No dependencies: the lock names them all, and old pip takes `sqlalchemy[asyncio]==…` for unpinned otherwise.
    argv += [*_AS_LOCKED, "--no-deps"] if constraints is None else ["--constraint", str(constraints)]
    argv += ["--requirement", str(requirements)]
    try:
        _run(workspace, control, argv, environment)
    except InstallerFailed as failure:
        if failure.cause is Cause.HASH and (broken := broken_off(failure.output, control)):
            raise InstallerFailed(Cause.NETWORK, broken, failure.output) from failure
        if failure.cause is Cause.UNKNOWN_PACKAGE:
            try:
                _run(workspace, control, [*argv, "-vv"], environment)
            except InstallerFailed as again:
                if skipped := skipped_page(again.output)[:300]:
                    raise InstallerFailed(cause_of(skipped), skipped, failure.output) from failure
        raise
    compile_bytecode(workspace, control)
    return f"{version} ({program[0]})"


def reasons_for_pip(workspace: Workspace, control: TaskControl, *, hashed: bool) -> list[str]:
    """Return the settings for which pip must do the work: the user has told only pip where packages come from."""
    if uv_is_configured(os.environ, workspace.root):
        return []
    return _told_to_pip(workspace, control, hashed=hashed)


def pip_asks_no_other(workspace: Workspace, control: TaskControl) -> bool:
    """Tell whether pip may follow uv for what no hash locks: not if only uv is told of an index.

    pip would ask the public index, where anybody can offer a package of the same name.
    """
    if os.environ.get("UV_INDEX_STRATEGY"):
        return False  # pip always takes the newest from all of its indexes
    if not uv_is_configured(os.environ, workspace.root):
        return True
    return bool({"index-url", "no-index"}.intersection(_told_to_pip(workspace, control, hashed=False)))


def _told_to_pip(workspace: Workspace, control: TaskControl, *, hashed: bool) -> list[str]:
    python = str(workspace.python) if _has_pip(workspace) else base_python()
    listing = _output([python, "-m", "pip", "config", "list"], pip_environment(os.environ), control)
    return only_for_pip(listing, os.environ, hashed=hashed)


def conflicts(python: Path, workspace: Workspace, control: TaskControl) -> list[str]:
    """Return a sentence for each requirement of an installed package that is not met, by `uv pip check` (50 ms).

    Raises:
        SetupError: Neither uv nor pip can tell.
    """
    uv_check = [str(python.with_name("uv")), "pip", "check", "--python", str(python)]
    pip_check = [str(python), "-m", "pip", "check"]
    said = ""
    for argv, environment in (
        (uv_check, uv_environment(os.environ, workspace.state / "uv-cache")),
        (pip_check, pip_environment(os.environ)),
    ):
        with contextlib.suppress(OSError):
            done = child.run(argv, control, env=environment)
            if done.returncode == 0:
                return []
            found = [line for line in (done.output + done.errors).splitlines() if _UNMET.search(line)]
            if found:
                return found
            said = done.last_line()
    raise SetupError(f"Neither uv nor pip can check the installed packages: {said or 'neither can be started'}.", _ANEW)


def compile_bytecode(workspace: Workspace, control: TaskControl, cut_off: Iterable[str] = ()) -> None:
    """Compile what has no bytecode yet, on all processors, and what has been cut off.

    Sources that are no valid Python are passed over.
    """
    control.waiting("compiling bytecode")
    for path in cut_off:
        Path(path).unlink(missing_ok=True)  # else it counts as compiled
    argv = [str(workspace.python), "-m", "compileall", "-q", "-q", str(site_packages(workspace.venv))]
    done = child.run([*argv, "-j", "0"], control)
    if "Traceback" in done.errors:  # no semaphores for a process pool, as in some containers
        child.run(argv, control)


@contextlib.contextmanager
def requirements_file(lines: Sequence[str]) -> Iterator[Path]:
    """Keep the lines in a private file for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="blueprint-") as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        yield path


def _has_pip(workspace: Workspace) -> bool:
    return (site_packages(workspace.venv) / "pip" / "__main__.py").is_file()


def _find_pip(workspace: Workspace, control: TaskControl, environment: Mapping[str, str]) -> tuple[list[str], str]:
    own = [str(workspace.python), "-m", "pip"]
    version = _version([*own, "--version"], environment, control) if _has_pip(workspace) else ""
    if version:
        return own, version
    # Faster than ensurepip (2 s instead of 4), and stock Debian has no ensurepip.
    version = _version([base_python(), "-P", "-c", _PIP_VERSION], environment, control)
    numbers = re.match(r"pip (\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) >= _PIP_THAT_REACHES_OTHERS:
        return [base_python(), "-m", "pip", "--python", str(workspace.python)], version
    with contextlib.suppress(OSError):
        child.run([workspace.python, "-m", "ensurepip"], control, env=environment)
    version = _version([*own, "--version"], environment, control)
    if version:
        return own, version
    raise InstallerFailed(Cause.NO_INSTALLER, "there is no pip and no ensurepip")


def _version(argv: Sequence[str], environment: Mapping[str, str], control: TaskControl) -> str:
    """Return name and version from what a program prints; empty if it does not run, or hangs."""
    return " ".join(_output(argv, environment, control).split()[:2])


def _output(argv: Sequence[str], environment: Mapping[str, str], control: TaskControl) -> str:
    try:
        done = ask(argv, control, environment)
    except OSError:
        return ""
    return done.output if done.returncode == 0 else ""


def _run(workspace: Workspace, control: TaskControl, argv: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        done = child.run(argv, control, env=environment, cwd=workspace.root, watch=Progress(control, argv, environment))
    except OSError as error:
        raise InstallerFailed(Cause.OTHER, f"{argv[0]} cannot be started: {error}") from error
    except InstallerFailed as stall:
        _log(workspace, argv, visible(without_secrets(f"{stall.output}\n{stall.line}")))
        raise
    output = visible(without_secrets(done.output + done.errors))
    _log(workspace, argv, output)
    if done.returncode != 0:
        raise InstallerFailed(cause_of(output), telling_line(output), output)


def _log(workspace: Workspace, argv: Sequence[str], output: str) -> None:
    # On a disk that ran full it cannot be kept; what the installer itself met there is what the user must hear.
    with contextlib.suppress(OSError):
        fd = os.open(log_file(workspace), os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        with os.fdopen(fd, "w", encoding="utf-8") as log:
            log.write(f"$ {without_secrets(' '.join(argv))}\n{output}\n")
