"""Prefect's process worker, with the processes of its flow runs made by a fork server.

All that it changes is how one process is made: the supervisor, with which Prefect starts a run, is forked instead of
executed. Its streams, its signals, its end and all that Prefect does with them are those of any child process.
"""

from __future__ import annotations

import inspect
import subprocess
import warnings
from contextvars import ContextVar
from typing import Any

from prefect.workers.process import ProcessWorker, ProcessWorkerResult

from blueprint.prefect_runtime.fork_server import Command, ForkServer
from blueprint.prefect_runtime.forked_run import SUPERVISOR

_fork_server: ContextVar[ForkServer | None] = ContextVar("fork_server", default=None)
_PARAMETERS = tuple(inspect.signature(subprocess.Popen._execute_child).parameters)[1:]  # type: ignore[attr-defined]


class _Popen(subprocess.Popen[bytes]):
    """A process that the fork server makes if it is a flow run's."""

    def _execute_child(self, *arguments: Any) -> None:
        wanted = dict(zip(_PARAMETERS, arguments, strict=True))
        server = _fork_server.get()
        if server is None or list(wanted["args"][1:3]) != ["-m", SUPERVISOR]:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        pipes = [wanted[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [own if pipe == -1 else pipe for own, pipe in enumerate(pipes)]
        pid = server.start(Command(wanted["args"], wanted["env"], str(wanted["cwd"])), streams)
        if pid is None:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        self.pid = pid
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(wanted[name] for name in ends))  # type: ignore[attr-defined]


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Type 'WarmStartWorker'")  # that it takes the place of Prefect's

    class WarmStartWorker(ProcessWorker):
        """The worker of type `process`, in this process only."""

        fork_server: ForkServer

        async def run(self, *args: Any, **kwargs: Any) -> ProcessWorkerResult:
            """Run a flow as Prefect does, in a process that is forked."""
            token = _fork_server.set(self.fork_server)
            try:
                return await super().run(*args, **kwargs)
            finally:
                _fork_server.reset(token)


def use(server: ForkServer) -> None:
    """Have the process workers of this process start their runs by that fork server."""
    WarmStartWorker.fork_server = server
    subprocess.Popen = _Popen  # type: ignore[misc,assignment]  # asyncio makes its processes with it
