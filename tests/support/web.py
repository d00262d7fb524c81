"""A real HTTP server on a free port whose answers a test chooses: the badly behaved sources of the tests."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve until the block ends; gives the server's address, without a path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # one request a connection, and the client knows it

        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                answer(self)

        do_HEAD = do_GET  # with a body that nobody reads

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, body: bytes, *, status: int = 200, **headers: str) -> None:
    """Answer with a body; a header's underscores stand for hyphens."""
    handler.send_response(status)
    for name, value in ({"Content_Type": "application/json", "Content_Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def send_json(handler: BaseHTTPRequestHandler, value: object) -> None:
    """Answer 200 with a value as JSON."""
    send(handler, json.dumps(value).encode())


def record(number: int, **changes: Any) -> dict[str, Any]:
    """A good record, with the given fields changed."""
    return {
        "id": f"r-{number}",
        "observed_at": "2025-03-09T05:30:00+00:00",
        "host": "db1",
        "metric": "load.1m",
        "value": float(number),
        "unit": "processes",
    } | changes
