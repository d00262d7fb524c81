"""One HTTP request, bounded in time and size whatever the other side does. Standard library only."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

MOST_BYTES = 4 * 1024 * 1024
_HEADERS = {"Connection": "close", "User-Agent": "blueprint"}


class NotReady(Exception):
    """Something is not there yet, or no longer; `reason` tells in a few words what a probe found."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Response:
    """An answer of whatever status; a redirect is not followed."""

    status: int
    body: bytes
    headers: Message

    @property
    def text(self) -> str:
        """Decode the body; bytes that are no UTF-8 become replacement characters."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Parse the body as JSON.

        Raises:
            NotReady: It is no JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise NotReady(f"the answer (HTTP {self.status}) is not JSON") from None


def get(
    url: str,
    *,
    timeout: float,
    accept: str = "*/*",
    auth: str | None = None,
    query: Any = None,
    origin: str | None = None,
    most_bytes: int = MOST_BYTES,
) -> Response:
    """Ask for `url` once; no proxy is used.

    Args:
        url: An http or https address. A user and a password in it are sent as `Authorization`.
        timeout: Seconds for all of it, also when the bytes drip in one by one. A host's address that takes no
            connection may use it up before the next one is tried; the look-up of a host name is not bounded.
        accept: The `Accept` header.
        auth: The whole `Authorization` header, such as `Basic …`.
        query: JSON values to send as the body; the request is a POST then, as Prefect's queries are.
        origin: The site that a browser would name if a page of it asked.
        most_bytes: The longest body to accept.

    Raises:
        NotReady: No whole answer: refused, too slow, too long, or not HTTP.
        ValueError: `url` is not an http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http or https address: {url}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent: dict[str, str | None] = {"Accept": accept, "Authorization": auth or _authorization(parts), "Origin": origin}
    method, body = "GET", None
    if query is not None:
        sent["Content-Type"] = "application/json"
        method, body = "POST", json.dumps(query).encode()
    headers = {name: value for name, value in {**_HEADERS, **sent}.items() if value is not None}
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port or kind.default_port, timeout=timeout)
    try:
        with _hung_up_after(timeout, connection):
            connection.request(method, path, body, headers)
            with connection.getresponse() as response:
                return Response(response.status, _body(response, most_bytes), response.headers)
    except TimeoutError:
        raise NotReady(f"no whole answer within {timeout:g} s") from None
    except http.client.RemoteDisconnected:
        raise NotReady("the connection was closed without an answer") from None
    except http.client.HTTPException as error:
        raise NotReady(f"the answer is not HTTP ({type(error).__name__})") from error
    except UnicodeError:
        raise NotReady("the address has a character that cannot be sent; escape it as %XX") from None
    except OSError as error:
        raise NotReady((error.strerror or str(error)).lower()) from error
    finally:
        connection.close()


def _authorization(url: SplitResult) -> str | None:
    """Return the header for the user and password in an address, if there are any."""
    if url.username is None:
        return None
    who = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return f"Basic {base64.b64encode(who.encode()).decode()}"


def get_ok(url: str, *, timeout: float, accept: str = "*/*", auth: str | None = None, query: Any = None) -> Response:
    """Ask for `url` once as `get` does, and require HTTP 200; the reason of `NotReady` names the address."""
    try:
        answer = get(url, timeout=timeout, accept=accept, auth=auth, query=query)
    except NotReady as error:
        raise NotReady(f"{url} does not answer: {error.reason}") from None
    if answer.status != 200:
        raise NotReady(f"{url} answers HTTP {answer.status}")
    return answer


@contextlib.contextmanager
def _hung_up_after(seconds: float, connection: http.client.HTTPConnection) -> Iterator[None]:
    """Connect, and end the connection when time is over; http.client's own timeout is for each packet.

    What was read by then may look like a whole answer, so the clock is what tells.
    """
    end = time.monotonic() + seconds
    connection.connect()
    watchdog = threading.Timer(max(end - time.monotonic(), 0), _hang_up, [connection.sock])
    watchdog.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if time.monotonic() < end:
            raise
    finally:
        watchdog.cancel()
    if time.monotonic() >= end:
        raise TimeoutError


def _hang_up(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not the encrypted socket's own `shutdown`, which takes the encryption from under the thread that reads.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _body(response: http.client.HTTPResponse, most_bytes: int) -> bytes:
    body = response.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise NotReady(f"the answer is longer than {most_bytes} bytes")
    if response.length:  # `read(n)` does not complain about a body that ends early
        raise ConnectionError(f"the answer ended {response.length} bytes too early")
    return body
