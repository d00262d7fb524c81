"""The other end of `flow_process`: starts it, asks it with a deadline, and kills it when it hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueprint.core import errors
from blueprint.core.errors import FlowError
from blueprint.core.files import PRIVATE_FILE, PRIVATE_UMASK, write_all
from blueprint.core.task import TaskControl, TaskStopped

_PROGRAM = Path(__file__).parents[2]  # where the package can be imported; user code gets a folder of its own
_NOTICE_SECONDS = 0.1  # within which an interruption or a process's death is seen
_READ_BYTES = 1 << 16


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
        with self._alone(control):
            process = self._running()
            try:
                answer = self._exchange(process, json.dumps(request).encode() + b"\n", control, waiting)
            except BaseException:
                self._kill()
                raise
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
        if process is None:
            return
        _kill_group(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    @contextlib.contextmanager
    def _alone(self, control: TaskControl) -> Iterator[None]:
        while not self._lock.acquire(timeout=_NOTICE_SECONDS):
            control.pause(0)
        try:
            yield
        finally:
            self._lock.release()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # and what it has left
        if self._process is None:
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "blueprint.prefect_adapter.flow_process"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    env={**os.environ, **self._tag},
                    cwd=_PROGRAM,
                    start_new_session=True,
                    umask=PRIVATE_UMASK,
                )
            finally:
                os.close(log)
        return self._process

    def _exchange(
        self, process: subprocess.Popen[bytes], request: bytes, control: TaskControl, waiting: str
    ) -> dict[str, Any]:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # its death is told below
            write_all(process.stdin.fileno(), request)
        news = select.poll()
        news.register(process.stdout, select.POLLIN)
        answer, told = bytearray(), False
        while not answer.endswith(b"\n"):
            if control.stopped.is_set():
                raise TaskStopped("interrupted")
            if control.remaining() <= 0:
                raise TaskStopped(f"{waiting} took too long")
            if news.poll(_NOTICE_SECONDS * 1000):
                part = os.read(process.stdout.fileno(), _READ_BYTES)
            elif process.poll() is None:
                if not told:
                    control.waiting(waiting)
                told = True
                continue
            else:  # a process of its own may hold the other end of the pipe open
                part = b""
            if not part:
                raise FlowError(
                    f"The user's code ended its process ({_end_of(process)}) while this waited for {waiting}.",
                    "Correct the code that ends it, then run again.",
                    str(self._log),
                )
            answer += part
        found: dict[str, Any] = json.loads(answer)
        return found


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # at once after its death was seen: nobody else has the number yet
    process.wait()


def _end_of(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
