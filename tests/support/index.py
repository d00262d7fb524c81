"""A package index on the loopback that serves a folder of wheels, as badly as a test asks for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.web import send, serving

LOGIN = ("somebody", "pass-word")
_LOGIN = base64.b64encode(":".join(LOGIN).encode()).decode()


@contextlib.contextmanager
def index(folder: Path, fault: str = "") -> Iterator[str]:
    """Serve the simple API (PEP 503) of the wheels in `folder`; gives its address.

    Args:
        folder: It holds the wheels.
        fault: What goes wrong: the wheels are `cut`, `stalled`, `slow`, `another` or `missing`, the pages `garbage`,
            `page-stalled` or an HTTP status. A `private` index asks for the `LOGIN`.
    """
    end = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.strip("/").rpartition("/")[2]
        locked = fault == "private" and handler.headers.get("Authorization") != f"Basic {_LOGIN}"
        if fault.isdigit() or locked:
            send(handler, b"no", status=401 if locked else int(fault), WWW_Authenticate='Basic realm="index"')
        elif name.endswith(".metadata"):
            send(handler, _metadata(folder / name.removesuffix(".metadata")))
        elif not name.endswith(".whl"):
            _page(handler, name, folder, fault, end)
        else:
            _wheel(handler, folder / name, fault, end)

    with serving(answer) as url:
        try:
            yield f"{url}/simple"
        finally:
            end.set()


def _page(handler: BaseHTTPRequestHandler, name: str, folder: Path, fault: str, end: threading.Event) -> None:
    if fault == "page-stalled":
        end.wait()
    wheels = sorted(folder.glob(f"{name.replace('-', '_')}-*.whl"))
    link = '<a href="/files/{0}#sha256={1}" data-core-metadata="true">{0}</a>'
    links = [link.format(each.name, _sha256(each)) for each in wheels]
    html = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
    if fault == "garbage":
        html = "<!DOCTYPE html><html><body>Please log in to the guest network.</body></html>"
    send(handler, html.encode(), status=200 if wheels else 404, Content_Type="text/html")


def _wheel(handler: BaseHTTPRequestHandler, wheel: Path, fault: str, end: threading.Event) -> None:
    body = wheel.read_bytes()
    if fault == "missing":
        send(handler, b"gone", status=404)
    elif fault == "another":
        changed = io.BytesIO(body)
        with zipfile.ZipFile(changed, "a") as archive:
            archive.writestr("planted.py", "")
        send(handler, changed.getvalue())
    elif fault in ("cut", "stalled", "slow"):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        half = len(body) // 2
        handler.wfile.write(body[:half])
        handler.wfile.flush()
        if fault == "stalled":
            end.wait()
        for start in range(half, len(body), half // 20) if fault == "slow" else ():
            handler.wfile.write(body[start : start + half // 20])
            end.wait(0.1)
    else:
        send(handler, body, Content_Type="application/octet-stream")


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA")))


def _sha256(wheel: Path) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()
