"""The bundled metrics API in a thread of this process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn

from blueprint.pipeline.metrics_api import METRICS_PATH, application


@contextlib.contextmanager
def serve_metrics() -> Iterator[str]:
    """Serve on a free loopback port and yield the address to fetch from.

    The port is taken before the server starts, so nobody can take it in between, and requests wait until it is ready.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(application(), lifespan="off", log_config=None, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],), name="metrics-api", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}{METRICS_PATH}"
        finally:
            server.should_exit = True
            thread.join(timeout=5)
