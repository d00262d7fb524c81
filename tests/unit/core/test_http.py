"""One look over HTTP, whatever the other side does."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from blueprint.core.http import NotReady, get, get_ok
from tests.support.ports import free_port
from tests.unit.processes.helpers import needs_ipv6

Talk = Callable[[socket.socket, bytes], None]


@pytest.fixture
def server() -> Iterator[Callable[..., str]]:
    """Starts a real server that reads the request's head, then does what the test says; gives its address."""
    listening: list[socket.socket] = []
    ended = threading.Event()

    def start(talk: Talk, host: str = "127.0.0.1") -> str:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, 0), family=family)
        listening.append(listener)

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        request += connection.recv(65536)
                    talk(connection, request)
            except OSError:
                return  # the probe hung up, as it should

        threading.Thread(target=serve, daemon=True).start()
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{listener.getsockname()[1]}"

    yield start
    ended.set()
    for listener in listening:
        listener.close()


def _says(*parts: bytes, every: float = 0.0) -> Talk:
    def talk(connection: socket.socket, _request: bytes) -> None:
        for part in parts:
            connection.sendall(part)
            threading.Event().wait(every)

    return talk


def _drips(text: bytes) -> Talk:
    return _says(*(text[i : i + 1] for i in range(len(text))), every=0.1)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_status_body_and_headers_are_given_whatever_the_status(server: Callable[..., str]) -> None:
    url = server(_says(b'HTTP/1.1 503 Busy\r\nContent-Type: a/b\r\nContent-Length: 8\r\n\r\n{"a": 1}'))
    response = get(url, timeout=5)
    assert (response.status, response.json(), response.headers["content-type"]) == (503, {"a": 1}, "a/b")


def test_path_query_accept_and_authorization_arrive_as_given(server: Callable[..., str]) -> None:
    heard: list[bytes] = []

    def talk(connection: socket.socket, request: bytes) -> None:
        heard.append(request)
        connection.sendall(OK)

    basic = "Basic " + base64.b64encode(b"admin:s3cret").decode()
    get(server(talk) + "/a/b?c=d", timeout=5, accept="text/html", auth=basic)
    head = heard[0].decode()
    assert head.startswith("GET /a/b?c=d HTTP/1.1\r\n")
    assert "\r\nAccept: text/html\r\n" in head
    assert f"\r\nAuthorization: {basic}\r\n" in head


def test_a_password_in_the_address_is_sent_as_browsers_send_it(server: Callable[..., str]) -> None:
    asked: list[bytes] = []

    def talk(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    get(server(talk).replace("http://", "http://me:top%2Fsecret@") + "/a", timeout=5)
    expected = b"Authorization: Basic " + base64.b64encode(b"me:top/secret")
    assert expected in asked[0].splitlines()


@needs_ipv6
def test_an_ipv6_address_can_be_asked(server: Callable[..., str]) -> None:
    assert get(server(_says(OK), host="::1"), timeout=5).text == "hello"


def test_a_chunked_answer_is_whole(server: Callable[..., str]) -> None:
    url = server(_says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"))
    assert get(url, timeout=5).text == "hello"


def test_a_redirect_is_told_and_not_followed(server: Callable[..., str]) -> None:
    url = server(_says(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"))
    assert get(url, timeout=5).status == 302


@pytest.mark.parametrize(
    "drip",
    [
        OK[:40] * 10,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100,
    ],
    ids=["from the start", "in the headers", "in the body"],
)
def test_a_server_that_sends_byte_by_byte_cannot_hold_the_probe_beyond_its_timeout(
    server: Callable[..., str], drip: bytes
) -> None:
    began = time.monotonic()
    with pytest.raises(NotReady, match=r"no whole answer within 0\.5 s"):
        get(server(_drips(drip)), timeout=0.5)
    assert time.monotonic() - began < 1.5


def test_a_server_that_never_answers_is_a_timeout(server: Callable[..., str]) -> None:
    began = time.monotonic()
    with pytest.raises(NotReady, match="no whole answer"):
        get(server(lambda *_: threading.Event().wait(20) and None), timeout=0.3)
    assert time.monotonic() - began < 1.5


def test_a_full_backlog_is_a_timeout_and_not_a_hang() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        began = time.monotonic()
        with pytest.raises(NotReady, match="no whole answer"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.3)
        assert time.monotonic() - began < 1.5
        for filler in fillers:
            filler.close()


def test_a_body_without_end_is_cut_off(server: Callable[..., str]) -> None:
    def talk(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with pytest.raises(NotReady, match="longer than 100000 bytes"):
        get(server(talk), timeout=10, most_bytes=100_000)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "closed without an answer"),
        (b"\x00\x01garbage\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhell", "too early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "not HTTP"),
    ],
)
def test_a_broken_answer_is_not_ready_and_never_a_traceback(
    server: Callable[..., str], said: bytes, reason: str
) -> None:
    with pytest.raises(NotReady, match=reason):
        get(server(_says(said)), timeout=5)


def test_nobody_there_is_told_as_refused() -> None:
    with pytest.raises(NotReady, match="refused"):
        get(f"http://127.0.0.1:{free_port()}/", timeout=5)


def test_html_where_json_was_expected_is_not_ready(server: Callable[..., str]) -> None:
    with pytest.raises(NotReady, match="not JSON"):
        get(server(_says(OK)), timeout=5).json()


def test_a_proxy_of_the_users_shell_is_not_asked(server: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert get(server(_says(OK)), timeout=5).text == "hello"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80", "http:///path", "file:///etc/passwd"])
def test_other_addresses_are_a_mistake_of_the_caller(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        get(url, timeout=1)


def test_get_ok_gives_what_was_answered_with_200(server: Callable[..., str]) -> None:
    assert get_ok(server(_says(OK)), timeout=5).text == "hello"


@pytest.mark.parametrize("status", [b"204 Nothing", b"302 Found", b"401 No", b"500 Broken"])
def test_get_ok_names_the_address_and_the_status_of_any_other_answer(server: Callable[..., str], status: bytes) -> None:
    url = server(_says(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(NotReady, match=rf"^{url}/x answers HTTP {status[:3].decode()}$"):
        get_ok(f"{url}/x", timeout=5)


def test_get_ok_names_the_address_that_does_not_answer() -> None:
    url = f"http://127.0.0.1:{free_port()}/y"
    with pytest.raises(NotReady, match=rf"^{url} does not answer: connection refused$"):
        get_ok(url, timeout=5)


@pytest.mark.parametrize("address", ["http://a..b/x", f"http://{'a' * 64}.example/"])
def test_an_address_that_cannot_be_sent_is_no_bug(address: str) -> None:
    with pytest.raises(NotReady, match="cannot be sent"):
        get(address, timeout=1)


def test_a_path_with_letters_beyond_ascii_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(NotReady, match="escape it as %XX"):
        get(f"http://127.0.0.1:{server.getsockname()[1]}/é", timeout=1)
