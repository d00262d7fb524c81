"""The refusal of web pages that are not the server's own; programs are answered.

A browser sends what a page of any site asks for, and reaches this machine's loopback. Prefect answers all of it. Its
setting of allowed origins keeps foreign pages from reading answers, and from sending what browsers ask for beforehand;
a body without a type and a websocket they send without asking. So what names a foreign site as its `Origin` is refused.

A site may also point its name at this machine (DNS rebinding): its pages are then of the same origin as the server,
and only `Host` tells the difference. So an unknown name is refused there; an address of numbers is nobody's to point.

What Prefect's server asks itself does not come through here.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_UNKNOWN = "The server is not known by this name."
_FOREIGN = "Pages of this site may not use the server."
_HINT = "If it is yours, open public_url or add its address to allowed_origins in [tool.blueprint].\n"


class ClosedDoors:
    """An ASGI application that passes on what may be asked, and refuses the rest with HTTP 403."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._names = {"localhost", *(urlsplit(origin).hostname for origin in origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a websocket's handshake."""
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] in ("http", "websocket") else ""
        answer = PlainTextResponse(f"{refusal} {_HINT}", 403) if refusal else self._app
        await answer(scope, receive, send)

    def _refusal(self, headers: Headers) -> str:
        host, origin = headers.get("host"), headers.get("origin")  # a browser always sends the first
        if host is not None and not self._is_known(host):
            return _UNKNOWN
        if origin is not None and origin not in self._origins and origin.partition("//")[2] != host:
            return _FOREIGN
        return ""

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or bool(ip_address(name))
        except ValueError:
            return False


def close(origins: Collection[str]) -> None:
    """Have what uvicorn serves in this process asked by pages of these origins only."""
    run: Any = uvicorn.run
    uvicorn.run = lambda app, **options: run(ClosedDoors(app, origins), **options)
