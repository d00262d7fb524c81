"""A flow run in a process that was forked for it: what Prefect's own start does, without importing Prefect again.

Prefect starts `prefect.runner._workspace_supervisor`, which runs the deployment's pull steps and then becomes
`python -m prefect.engine`. Here the supervisor is a child, because it leaves threads and settings behind, and this
process, in which nothing has happened yet, becomes the engine. User code is never imported before, so each run loads
it as it is then.

Where a new interpreter would be another than this one, the program is executed as Prefect would do it. What remains
different: the runs of one worker have the same hash seed, more modules are imported than a run needs, tracebacks begin
some frames further out, and `ps` shows the worker's command.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import logging
import mmap
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from multiprocessing import process as multiprocessing_process
from pathlib import Path
from typing import Any, NoReturn

from blueprint.prefect_runtime import NO_RUN, RUN_VARIABLE
from blueprint.prefect_runtime.fork_server import Command, die_with_parent

SUPERVISOR = "prefect.runner._workspace_supervisor"
_ENGINE = [sys.executable, "-m", "prefect.engine"]
_OF_THE_RUN = "PREFECT__"
# Variables that are read when the interpreter starts, or when Prefect and what comes with it are imported.
_READ_EARLY = (
    *("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL"),
    *("PREFECT_", "COOLNAME_", "DISABLE_SQLALCHEMY_", "FSSPEC_", "OTEL_", "PENDULUM_", "PROMETHEUS_", "PYDANTIC_"),
    *("SQLALCHEMY_", "WEBSOCKETS_", "COLUMNS", "LINES", "TERM", "TTY_", "NO_COLOR", "FORCE_COLOR"),
)
_NOT_IMPORTED = {"__main__", "blueprint"}
_IMPORTED_BY_SITE = {"sitecustomize", "usercustomize"}


def take_place_of_run_id() -> int | None:
    """Take the placeholder for a run's id out of the environment; return its address, None if it was not given."""
    get = ctypes.CDLL(None).getenv
    get.restype = ctypes.c_void_p
    address: int | None = get(RUN_VARIABLE.encode())
    return address if os.environ.pop(RUN_VARIABLE, None) == NO_RUN else None


@dataclass
class ForkedRuns:
    """The state of the process that is forked from, with which a run's is compared.

    Attributes:
        settings: Prefect's, as it imported itself with them.
        variables: Those of the environment that were read then.
        path: Folders in which modules are found, without the program's own folder and `PYTHONPATH`.
        place_of_run_id: Address of a text of 36 bytes that the system shows as the run's id; None if there is none.
        modules: Top-level modules that are imported, or that an interpreter would import at its start if it had them.
    """

    settings: Any
    variables: Mapping[str, str]
    path: list[str]
    modules: set[str]
    place_of_run_id: int | None
    _told: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 1))  # shared by all runs

    @classmethod
    def of_this_process(cls, place_of_run_id: int | None) -> ForkedRuns:
        """Take down the state of this process; Prefect must have been imported."""
        from prefect.settings import get_current_settings

        settings = get_current_settings()
        given = settings.to_environment_variables(exclude_unset=True)  # as Prefect gives them to a run's process
        return cls(
            settings=settings,
            variables=_read_early({**os.environ, **given}),
            path=[entry for entry in sys.path if entry not in ("", *_python_path(os.environ))],
            modules={name.partition(".")[0] for name in sys.modules} - _NOT_IMPORTED | _IMPORTED_BY_SITE,
            place_of_run_id=place_of_run_id,
        )

    def run(self, command: Command) -> NoReturn:
        """Run a flow by Prefect's supervisor; this process is a new one, with the worker's environment."""
        if self.place_of_run_id:
            ctypes.memmove(self.place_of_run_id, command.environment[RUN_VARIABLE].encode(), len(NO_RUN))
        _open_streams()
        multiprocessing_process.current_process().authkey = os.urandom(32)
        main = threading.main_thread()
        main._set_native_id()  # type: ignore[attr-defined]  # Python 3.11 leaves that of the process forked from
        self._execute_instead(command, self.difference(command))
        prepared = _prepare(command)
        self._execute_instead(prepared, self.difference(prepared, engine=True))
        _become_engine()

    def _execute_instead(self, command: Command, difference: str) -> None:
        """Take on a program's environment and folder; become the program itself if this process is not like it."""
        os.environ.clear()
        os.environ.update(command.environment)
        os.chdir(command.folder)
        sys.path[:] = [command.folder, *dict.fromkeys([*_python_path(os.environ), *self.path])]
        importlib.invalidate_caches()
        multiprocessing_process.ORIGINAL_DIR = command.folder  # type: ignore[attr-defined]
        tempfile.tempdir = None
        if not difference and self._settings_differ():
            difference = "Prefect's settings are others there"
        if difference:
            if not self._told[0]:
                self._told[0] = 1
                print(f"A flow run starts as Prefect starts it, without warm start: {difference}.", file=sys.stderr)
                sys.stderr.flush()
            os.execvpe(command.argv[0], list(command.argv), dict(os.environ))  # noqa: S606 - no shell is wanted

    def difference(self, command: Command, *, engine: bool = False) -> str:
        """Return what a new interpreter for that program would have other than this one; "" if nothing."""
        wanted, here = _read_early(command.environment), dict(self.variables)
        if engine:
            wanted.pop("PYTHONPATH", None)
            here.pop("PYTHONPATH", None)
            if list(command.argv) != _ENGINE:
                return f"its command is {command.argv[0]}"
            folders = [command.folder, *_python_path(command.environment)]
            if shadowed := [name for name in sorted(self.modules) if _has_module(folders, name)]:
                return f"its folder has a module named {shadowed[0]}"
        other = sorted(name for name in {*wanted, *here} if wanted.get(name) != here.get(name))
        return f"its environment has another {', '.join(other)}" if other else ""

    def _settings_differ(self) -> bool:
        """Read Prefect's settings anew, as they are in this environment and folder; return whether that matters."""
        from prefect.context import refresh_global_settings_context
        from prefect.settings import get_current_settings

        refresh_global_settings_context()
        return bool(get_current_settings() != self.settings)


def _read_early(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_EARLY) and not name.startswith(_OF_THE_RUN)
    }


def _python_path(environment: Mapping[str, str]) -> list[str]:
    entries = environment.get("PYTHONPATH", "")
    return [str(Path(entry).absolute()) for entry in entries.split(os.pathsep)] if entries else []


def _has_module(folders: list[str], name: str) -> bool:
    spec = PathFinder.find_spec(name, folders)
    return spec is not None and spec.loader is not None  # a folder without __init__.py comes last


def _open_streams() -> None:
    """Open the standard streams as an interpreter does at its start: what they are decides how they behave."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before, mode = getattr(sys, name), "w" if number else "r"
        unbuffered = isinstance(before.buffer, io.RawIOBase)  # by PYTHONUNBUFFERED
        buffer: Any = open(number, f"{mode}b", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115
        raw = buffer if unbuffered else buffer.raw
        raw.name = f"<{name}>"
        stream: Any = io.TextIOWrapper(
            buffer,
            encoding=before.encoding,
            errors=before.errors,
            newline="\n" if number else None,
            line_buffering=not unbuffered and (number == 2 or raw.isatty()),
            write_through=before.write_through,
        )
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _prepare(command: Command) -> Command:
    """Run Prefect's supervisor in a child; return the command it would become, or end as it did if it failed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        die_with_parent()
        os.close(reading)
        _supervise(list(command.argv[3:]), writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        prepared = pipe.readline()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if prepared.endswith("\n"):
        return Command(**json.loads(prepared))
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _supervise(arguments: list[str], pipe: int) -> NoReturn:
    from prefect.runner import _workspace_supervisor as supervisor

    async def hand_over(command: list[str], *, cwd: Path, environment: dict[str, str]) -> NoReturn:
        with os.fdopen(pipe, "w") as file:
            file.write(json.dumps({"argv": command, "environment": environment, "folder": str(cwd)}) + "\n")
        os._exit(0)  # as an exec would leave it

    supervisor._launch_engine = hand_over
    sys.argv = [str(supervisor.__file__), *arguments]
    sys.exit(supervisor.main(arguments))


def _become_engine() -> NoReturn:
    """Be `python -m prefect.engine`."""
    from prefect.logging.configuration import PROCESS_LOGGING_CONFIG, setup_logging
    from prefect.settings import PREFECT_LOGGING_EXTRA_LOGGERS

    for name in [name for name in sys.modules if name.partition(".")[0] == "blueprint"]:
        del sys.modules[name]  # the user may have a package of that name
    for name in PREFECT_LOGGING_EXTRA_LOGGERS.value():
        logging.getLogger(name).handlers.clear()
    PROCESS_LOGGING_CONFIG.clear()
    setup_logging()  # for handlers that write to the streams of this process
    spec: Any = find_spec("prefect.engine")
    main = module_from_spec(spec)
    main.__name__ = "__main__"
    sys.modules["__main__"] = main
    sys.argv, sys.orig_argv = [spec.origin], list(_ENGINE)
    exec(spec.loader.get_code(spec.name), vars(main))  # noqa: S102 - as `python -m` does it
    sys.exit()
