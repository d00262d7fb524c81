"""The other end of `flow_process`: starts it, asks it with a deadline, and kills it when it hangs."""

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

from blueprint.core import errors
from blueprint.core.errors import FlowError
from blueprint.core.files import PRIVATE_UMASK
from blueprint.core.task import TaskControl, TaskStopped

_PROGRAM = Path(__file__).parents[2]  # where the package can be imported; user code gets a folder of its own
_NOTICE_SECONDS = 0.1  # within which an interruption or a process's death is seen


class FlowClient:
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
        """Have a request answered.

        Args:
            request: JSON values; `call` says which.
            control: Gives the deadline and the wish to stop.
            waiting: The awaited condition, in words for people.

        Raises:
            BlueprintError: What the request's function raised in the other process, or its process died.
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
