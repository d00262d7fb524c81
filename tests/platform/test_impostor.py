"""Another user who takes the server's port while it is down gets no password from the worker that waits for it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from blueprint.config.settings import Settings
from blueprint.core.workspace import Workspace
from blueprint.platform import specs
from tests.support.ports import free_ports

_START_SECONDS, _SECONDS = 60, 3
_SOMEBODY = 12345


class Listener(HTTPServer):
    """Knows no pool, and tells the password that it is sent."""

    def __init__(self, port: int, tell: Callable[[Any], object]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tell(self.headers["Authorization"])
                self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        super().__init__(("127.0.0.1", port), Handler)


def _impostor(port: int, told: Connection) -> None:
    "localhost".encode("idna")  # imports what the other user may not read
    os.setgid(_SOMEBODY)
    os.setuid(_SOMEBODY)
    with Listener(port, told.send) as listener:
        told.send("listens")
        listener.serve_forever()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")
def test_a_worker_gives_its_password_to_no_listener_of_another_user(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.prepare()
    (tmp_path / "requirements.lock").touch()
    port, worker_port, source_port = free_ports(3)
    values = {"port": port, "worker_port": worker_port, "source_port": source_port}
    spec = specs.worker(
        Settings.model_validate(values | {"api_auth_string": "admin:planted-secret"}), workspace, "ours"
    )
    asked: queue.Queue[str] = queue.Queue()
    ours = Listener(port, asked.put)
    threading.Thread(target=ours.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    here, there = multiprocessing.Pipe()
    impostor = multiprocessing.get_context("fork").Process(target=_impostor, args=(port, there))
    with (tmp_path / "worker.log").open("wb") as log:
        env = {**spec.inherit, **spec.env}
        worker = subprocess.Popen(spec.argv, env=env, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        assert asked.get(timeout=_START_SECONDS).startswith("Basic "), "our own server is to have the password"
        ours.shutdown()
        ours.server_close()
        impostor.start()
        assert here.recv() == "listens"
        stolen = here.recv() if here.poll(_SECONDS) else None
        assert worker.poll() is None, (tmp_path / "worker.log").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        if impostor.pid:
            impostor.kill()
            impostor.join()
    assert stolen is None
