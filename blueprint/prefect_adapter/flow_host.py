"""Asks the user's code, which runs in processes of its own.

Nothing of it is imported here; it may hang, or end its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from blueprint.config.settings import Settings
from blueprint.core import errors
from blueprint.core.errors import FlowError
from blueprint.core.files import PRIVATE_UMASK, private_folder, write_whole
from blueprint.core.task import TaskControl, TaskStopped, within
from blueprint.core.workspace import Workspace
from blueprint.prefect_adapter.flow_definition import DEFINITION, FlowDefinition, folder_of
from blueprint.prefect_adapter.models import Run
from blueprint.processes.ownership import OwnershipTag

_PROGRAM = Path(__file__).parents[2]  # where the package can be imported; user code gets a folder of its own
_SECONDS = 60.0  # for a request that comes with no deadline of its own
_NOTICE_SECONDS = 0.1  # within which an interruption or a process's death is seen


class FlowHost:
    """Runs the user's flows and checks, a process for each of their files; safe to use from several threads.

    A process is started when it is first needed, and again after it hung or died. Requests to it wait for each other.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Prepare; no process is started yet. Their environment is this process's own, with an ownership tag."""
        self._root = workspace.root
        self._log = workspace.logs / "flow_code.log"
        self._tag = OwnershipTag(workspace.identity(), "flow-code").environment("")
        self._processes: dict[tuple[Path, str], _FlowProcess] = {}
        self._definitions: dict[tuple[Path, str], FlowDefinition] = {}
        self._lock = threading.Lock()

    def start(self, settings: Settings) -> None:
        """Start the process of a flow ahead: it imports Prefect while others have work to do."""
        self._process_of(settings).start()

    def close(self) -> None:
        """End all processes, with what they have started."""
        with self._lock:
            while self._processes:
                self._processes.popitem()[1].close()

    def describe(self, settings: Settings, control: TaskControl | None = None) -> FlowDefinition:
        """Load the configured flow and return what its code says; loaded once, even if its file is changed later.

        Raises:
            FlowError: It cannot be loaded, or is not a flow.
            TaskStopped: Interrupted, or out of time; its process has been killed.
        """
        key = folder_of(settings, self._root), settings.entrypoint
        if key not in self._definitions:
            values = self._ask("describe", settings, control, f"{settings.entrypoint} to load")
            self._definitions[key] = DEFINITION.validate_python(values)
        return self._definitions[key]

    def parameter_problems(
        self, settings: Settings, parameters: Mapping[str, Any], control: TaskControl | None = None
    ) -> list[str]:
        """Return what the flow's own validation has against these parameters; raises as `describe` does."""
        waiting = f"{settings.entrypoint} to judge its parameters"
        problems: list[str] = self._ask("parameter_problems", settings, control, waiting, parameters=dict(parameters))
        return problems

    def refused_parameters(
        self, settings: Settings, candidates: list[Mapping[str, Any]], control: TaskControl | None = None
    ) -> list[bool]:
        """Tell of each whether the server, which knows the flow's schema only, would refuse it."""
        waiting = f"{settings.entrypoint} to judge its parameters"
        refusals: list[bool] = self._ask("refused_parameters", settings, control, waiting, candidates=candidates)
        return refusals

    def deploy(self, settings: Settings, control: TaskControl | None = None, *, scheduled: bool = True) -> str:
        """Deploy the flow with `flow.deploy` and return its id; raises as `describe` does, or `ApiError`."""
        return str(self._ask("deploy", settings, control, f"{settings.entrypoint} to be deployed", scheduled=scheduled))

    def check(self, settings: Settings, run: Run, control: TaskControl | None = None) -> Mapping[str, Any]:
        """Call the configured check with a run's id and parameters, and return the details that it found.

        The check may be asynchronous. It says that the effect is not there by raising, or by returning False, which is
        a `FlowError` here; what else it returns is evidence, a mapping by its own keys. Raises as `describe` does.
        """
        waiting = f"the check {settings.check} of the run {run.name}"
        answer = self._ask("check", settings, control, waiting, run_id=run.id, parameters=dict(run.parameters))
        if "refused" in answer:
            raise FlowError(
                f"The check {settings.check} refused the run {run.name}: {answer['refused']}",
                "See the run's logs there, then run `python run_blueprint.py --resume`.",
                f"{settings.server_url}/runs/flow-run/{run.id}",
            )
        details: Mapping[str, Any] = answer["details"]
        return details

    def flows_in(self, file: Path, folder: Path, control: TaskControl | None = None) -> list[str]:
        """Return the names of the flow functions that a file defines, in their order; raises as `describe` does."""
        request = {"call": "flows_in", "settings": None, "root": str(folder), "file": str(file)}
        names: list[str] = self._process(folder, str(file)).ask(request, control or within(_SECONDS), f"{file} to load")
        return names

    def _ask(self, call: str, settings: Settings, control: TaskControl | None, waiting: str, **arguments: Any) -> Any:
        request = {"call": call, "settings": settings.without_secrets(), "root": str(self._root), **arguments}
        return self._process_of(settings).ask(request, control or within(_SECONDS), waiting)

    def _process_of(self, settings: Settings) -> _FlowProcess:
        folder = folder_of(settings, self._root)
        file, _, _ = settings.entrypoint.rpartition(":")
        return self._process(folder, str(folder / file) if file else settings.entrypoint.rpartition(".")[0])

    def _process(self, folder: Path, code: str) -> _FlowProcess:
        with self._lock:
            if not self._processes:
                private_folder(self._log.parent)
                write_whole(self._log, "")
            if (folder, code) not in self._processes:
                self._processes[folder, code] = _FlowProcess(self._log, self._tag)
            return self._processes[folder, code]


class _FlowProcess:
    """Talks to one `flow_process`, and starts another when that has hung or ended."""

    def __init__(self, log: Path, tag: Mapping[str, str]) -> None:
        self._log = log
        self._tag = tag
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it without waiting for it."""
        with self._lock:
            self._running()

    def ask(self, request: Mapping[str, Any], control: TaskControl, waiting: str) -> Any:
        """Have a request answered; `waiting` is the awaited condition, in words for people.

        Raises:
            BlueprintError: Raised by the request's function in the other process, or that process died.
            TaskStopped: Interrupted, or out of time; the process has been killed.
        """
        while not self._lock.acquire(timeout=_NOTICE_SECONDS):
            control.pause(0)
        try:
            answer = self._exchange(self._running(), request, control, waiting)
        except BaseException:
            self._kill()
            raise
        finally:
            self._lock.release()
        if "bug" in answer:
            raise RuntimeError(f"the process that runs user code failed:\n{answer['bug']}")
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["what"], answer["hint"], answer["where_to_look"])
        return answer["value"]

    def close(self) -> None:
        """End the process, also under a request that waits for it."""
        process = self._process
        if process is not None:
            _kill_group(process)
        with self._lock:
            self._kill()

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _kill_group(process)
            self._connection.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # and what it has left
        if self._process is None:
            self._connection, theirs = Pipe()
            with theirs, self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "blueprint.prefect_adapter.flow_process", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **self._tag},
                    cwd=_PROGRAM,
                    start_new_session=True,
                    umask=PRIVATE_UMASK,
                )
        return self._process

    def _exchange(
        self, process: subprocess.Popen[bytes], request: Mapping[str, Any], control: TaskControl, waiting: str
    ) -> dict[str, Any]:
        told = False
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            while not self._connection.poll(_NOTICE_SECONDS):
                if control.stopped.is_set():
                    raise TaskStopped("interrupted")
                if control.remaining() <= 0:
                    raise TaskStopped(f"{waiting} took too long")
                # A process that the dead one has left may hold the other end of the connection open.
                if process.poll() is not None and not self._connection.poll():
                    raise EOFError
                if not told:
                    control.waiting(waiting)
                told = True
            found: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise FlowError(
                f"The user's code ended its process ({_end_of(process)}) while this waited for {waiting}.",
                "Correct the code that ends it, then run again.",
                str(self._log),
            ) from error
        return found


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # at once after its death was seen: nobody else has the number yet
    process.wait()


def _end_of(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
