"""One HTTP request, bounded in time and size whatever the other side does. Standard library only."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import time
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import unquote, urlsplit

MOST_BYTES = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024


class NotReady(Exception):
    """Something is not there yet, or no longer; `reason` tells in a few words what a probe found."""

    def __init__(self, reason: str) -> None:
        """Say what was found."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Response:
    """An answer of whatever status.

    Attributes:
        status: The HTTP status; a redirect is not followed.
        body: The whole body.
        headers: The headers; names in any case.
    """

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
    accept: str | None = None,
    auth: str | None = None,
    query: Any = None,
    most_bytes: int = MOST_BYTES,
) -> Response:
    """Ask for `url` once; no proxy is used and no redirect followed.

    Args:
        url: An http or https address. A user and a password in it are sent as `Authorization`.
        timeout: Seconds for all of it, from connecting to the last byte, also when the bytes drip in one by one.
            Only the look-up of a host name is not bounded by it; use numeric addresses.
        accept: The `Accept` header.
        auth: The whole `Authorization` header, such as `Basic …`.
        query: JSON values to send as the body; the request is a POST then, as Prefect's queries are.
        most_bytes: The longest body to accept.

    Raises:
        NotReady: No whole answer: refused, too slow, too long, or not HTTP.
        ValueError: `url` is not an http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http or https address: {url}")
    end = time.monotonic() + timeout
    connection = _Connection(parts.hostname, parts.port, end, secure=parts.scheme == "https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": accept or "*/*", "Connection": "close", "User-Agent": "blueprint"}
    if auth is None and parts.username is not None:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        auth = f"Basic {base64.b64encode(who.encode()).decode()}"
    if auth is not None:
        headers["Authorization"] = auth
    try:
        if query is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, body=json.dumps(query).encode(), headers=headers)
        with connection.getresponse() as response:
            return Response(response.status, _body(response, most_bytes), response.headers)
    except TimeoutError:
        raise NotReady(f"no whole answer within {timeout:g} s") from None
    except http.client.RemoteDisconnected:
        raise NotReady("the connection was closed without an answer") from None
    except http.client.HTTPException as error:
        raise NotReady(f"the answer is not HTTP ({type(error).__name__})") from error
    except OSError as error:
        raise NotReady((error.strerror or str(error)).lower()) from error
    finally:
        connection.close()


def get_ok(
    url: str, *, timeout: float, accept: str | None = None, auth: str | None = None, query: Any = None
) -> Response:
    """Ask for `url` once and require HTTP 200; the arguments are those of `get`.

    Raises:
        NotReady: There was no whole answer, or one of another status; names the address.
        ValueError: `url` is not an http or https address.
    """
    try:
        answer = get(url, timeout=timeout, accept=accept, auth=auth, query=query)
    except NotReady as error:
        raise NotReady(f"{url} does not answer: {error.reason}") from None
    if answer.status != 200:
        raise NotReady(f"{url} answers HTTP {answer.status}")
    return answer


def _body(response: http.client.HTTPResponse, most_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read(_READ_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            raise NotReady(f"the answer is longer than {most_bytes} bytes")
    if response.length:  # `read(n)` does not complain about a body that ends early
        raise NotReady(f"the answer ended {response.length} bytes too early")
    return b"".join(chunks)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Connection(http.client.HTTPConnection):
    """A connection with one deadline for all that it does; http.client's timeout is for each packet."""

    def __init__(self, host: str, port: int | None, end: float, *, secure: bool) -> None:
        super().__init__(host, port or (443 if secure else 80))
        self.default_port = 443 if secure else 80
        self._end = end
        self._secure = secure

    def connect(self) -> None:
        """Try each address of the host until one takes the connection."""
        failure: OSError = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            plain = socket.socket(family, kind, protocol)
            try:
                plain.settimeout(_left(self._end))
                plain.connect(address)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sock = _Bounded(self._encrypted(plain) if self._secure else plain, self._end)
            except OSError as error:
                plain.close()
                failure = error
            else:
                return
        raise failure

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        import ssl  # here, because a platform on loopback never pays for it

        plain.settimeout(_left(self._end))  # bounds the handshake as a whole
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


class _Bounded:
    """The part of a socket that http.client uses, each step bounded by the deadline."""

    def __init__(self, connected: socket.socket, end: float) -> None:
        self._socket = connected
        self._end = end

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left(self._end))
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._socket, self._end))

    def close(self) -> None:
        self._socket.close()  # http.client does so while the body is being read; the reader keeps it open until then


class _Reader(io.RawIOBase):
    def __init__(self, connected: socket.socket, end: float) -> None:
        self._socket = connected
        self._raw = connected.makefile("rb", buffering=0)
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(_left(self._end))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
