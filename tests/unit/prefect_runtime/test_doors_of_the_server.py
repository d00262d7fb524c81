"""Which requests reach the server: those of programs and of its own pages, and none that a foreign page makes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from blueprint.config.settings import Settings
from blueprint.prefect_runtime import closed_doors
from blueprint.prefect_runtime.closed_doors import ClosedDoors


async def _welcome(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("welcome")(scope, receive, send)


def _asked(kind: str, origins: Iterable[str], **headers: str) -> int:
    """Ask an application behind doors that are closed; return the status of its answer."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    named = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {
        "type": kind,
        "method": "POST",
        "path": "/",
        "headers": named,
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(ClosedDoors(_welcome, tuple(origins))(scope, receive, send))
    return int(sent[0]["status"])


OWN = Settings.model_validate(
    {"public_url": "https://prefect.example/ui", "allowed_origins": ["http://prefect.lan:4200"]}
)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program that sends nothing of the kind, such as a proxy's health check
        ({"host": "127.0.0.1:4200"}, 200),
        ({"host": "localhost:4200"}, 200),
        ({"host": "LOCALHOST"}, 200),
        ({"host": "[::1]:4200"}, 200),
        ({"host": "10.1.2.3:4200"}, 200),  # a worker on another machine
        ({"host": "prefect.example"}, 200),
        ({"host": "prefect.lan:4200"}, 200),
        ({"host": "rebinding.example:4200"}, 403),
        ({"host": "127.0.0.1.rebinding.example:4200"}, 403),
        ({"host": "localhost.rebinding.example"}, 403),
        ({"host": "rebinding.example#localhost"}, 403),
        ({"host": ""}, 403),
        ({"host": "[::1"}, 403),
        ({"host": "127.0.0.1:4200", "origin": "http://127.0.0.1:4200"}, 200),
        ({"host": "127.0.0.1:4200", "origin": "http://localhost:4200"}, 200),
        ({"host": "10.1.2.3:4200", "origin": "http://10.1.2.3:4200"}, 200),
        ({"host": "127.0.0.1:4200", "origin": "https://prefect.example"}, 200),
        ({"host": "127.0.0.1:4200", "origin": "http://prefect.lan:4200"}, 200),
        ({"host": "127.0.0.1:4200", "origin": "http://127.0.0.1:8000"}, 403),  # another program's page on this machine
        ({"host": "127.0.0.1:4200", "origin": "https://foreign.example"}, 403),
        ({"host": "127.0.0.1:4200", "origin": "null"}, 403),  # a page in a sandbox, or of a file
        ({"host": "127.0.0.1:4200", "origin": ""}, 403),
        ({"host": "127.0.0.1:4200", "origin": "http://["}, 403),
        ({"origin": "https://foreign.example"}, 403),
    ],
)
def test_programs_and_own_pages_are_answered_and_foreign_ones_are_not(
    kind: str, headers: dict[str, str], status: int
) -> None:
    assert _asked(kind, OWN.origins, **headers) == status


def test_all_that_uvicorn_serves_goes_through_the_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[object] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.extend((app, options)))
    closed_doors.close(["http://127.0.0.1:4200"])
    uvicorn.run(_welcome, port=4200)
    assert isinstance(served[0], ClosedDoors)
    assert served[1] == {"port": 4200}


def test_a_page_that_browsers_name_otherwise_is_known_all_the_same() -> None:
    """A browser leaves the usual port out, and writes names in small letters."""
    found = Settings.model_validate({"port": 80, "public_url": "HTTPS://Prefect.Example:443/ui"}).origins
    assert found == ("http://127.0.0.1", "http://localhost", "http://[::1]", "https://prefect.example")


def test_who_wants_every_page_to_use_the_server_gets_that() -> None:
    assert Settings.model_validate({"allowed_origins": ["http://a.example", "*"]}).origins == ("*",)
