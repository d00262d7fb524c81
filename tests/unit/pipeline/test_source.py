"""Fetching from good, broken and hostile sources, over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from types import FrameType
from urllib.parse import parse_qs, urlsplit

import pytest

from blueprint.pipeline.config import ExtractConfig, without_secrets
from blueprint.pipeline.errors import SourceError
from blueprint.pipeline.source import MAX_PAGE_BYTES, Readings, fetch
from tests.support.metrics import serve_metrics
from tests.support.web import Answer, record, send, send_json, serving

SECONDS = 1.0


def _fetch(url: str, batch_size: int = 10, timeout_seconds: float = SECONDS) -> Readings:
    return fetch(ExtractConfig(source_url=url, batch_size=batch_size, timeout_seconds=timeout_seconds))


def _refusal(answer: Answer, batch_size: int = 10) -> str:
    """What the user reads when the source answers like this; always one short line, always in time."""
    with serving(answer) as url:
        started = time.monotonic()
        with pytest.raises(SourceError) as refused:
            _fetch(url + "/metrics", batch_size)
        assert time.monotonic() - started < SECONDS + 1
    text = str(refused.value)
    assert "\n" not in text
    assert len(text) < 500
    assert refused.value.__cause__ is None, "the state message would show a chain of tracebacks"
    return text


@pytest.fixture(scope="module")
def metrics_url() -> Iterator[str]:
    with serve_metrics() as url:
        yield url


@pytest.mark.parametrize("batch_size", [1, 999, 1000, 1001, 2500])
def test_exactly_the_records_asked_for_are_fetched_over_all_pages(metrics_url: str, batch_size: int) -> None:
    readings = _fetch(metrics_url, batch_size, 20)
    assert len({reading.id for reading in readings.items}) == batch_size
    assert readings.pages == -(-batch_size // 1000)
    assert not readings.exhausted


def test_a_source_that_has_less_gives_all_that_it_has() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        first = "cursor" not in request.path
        send_json(request, {"records": [record(1 if first else 2)], "next_cursor": "next" if first else None})

    with serving(answer) as url:
        readings = _fetch(url)
    assert [reading.id for reading in readings.items] == ["r-1", "r-2"]
    assert readings.exhausted


def test_a_source_that_ignores_the_limit_gives_no_more_than_asked_for() -> None:
    with serving(
        lambda request: send_json(request, {"records": list(map(record, range(50))), "next_cursor": "x"})
    ) as url:
        assert len(_fetch(url, 10).items) == 10


def test_the_query_of_the_address_is_kept_beside_limit_and_cursor() -> None:
    queries: list[dict[str, list[str]]] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        queries.append(parse_qs(urlsplit(request.path).query))
        send_json(request, {"records": [record(len(queries))], "next_cursor": "a&b="})

    with serving(answer) as url:
        _fetch(url + "/metrics?key=k%20k&limit=7", 2)
    assert queries == [
        {"key": ["k k"], "limit": ["2"]},
        {"key": ["k k"], "limit": ["1"], "cursor": ["a&b="]},
    ]


def _html(request: BaseHTTPRequestHandler) -> None:
    send(request, b"<html><body>Log in</body></html>", Content_Type="text/html; charset=utf-8")


def _html_called_json(request: BaseHTTPRequestHandler) -> None:
    send(request, b"<html><body>Log in</body></html>")


def _truncated(request: BaseHTTPRequestHandler) -> None:
    send(request, json.dumps({"records": [record(1)], "next_cursor": None}).encode()[:-30])


def _cut_off(request: BaseHTTPRequestHandler) -> None:
    send(request, b'{"records": [', Content_Length="5000")


def _big_field(request: BaseHTTPRequestHandler) -> None:
    send_json(request, {"records": [record(1, host="x" * 10_000_000)], "next_cursor": None})


def _endless_body(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b" " * 65536)


def _packed(request: BaseHTTPRequestHandler) -> None:
    send(request, gzip.compress(b" " * (MAX_PAGE_BYTES * 3)), Content_Encoding="gzip")


def _circle(request: BaseHTTPRequestHandler) -> None:
    send(request, b"", status=302, Location=request.path)


def _elsewhere(request: BaseHTTPRequestHandler) -> None:
    send(request, b"", status=302, Location="file:///etc/passwd")


def _unavailable(request: BaseHTTPRequestHandler) -> None:
    send(request, b"{}", status=503)


def _silent(_request: BaseHTTPRequestHandler) -> None:
    threading.Event().wait(SECONDS + 4)


def _slow_body(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    _drip(request)


def _slow_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(request)


def _drip(request: BaseHTTPRequestHandler) -> None:
    for _ in range(30):
        request.wfile.write(b"x")
        threading.Event().wait(SECONDS / 5)


def _not_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"220 mail.example.org ESMTP\r\n")


def _same_cursor(request: BaseHTTPRequestHandler) -> None:
    number = time.monotonic_ns()
    send_json(request, {"records": [record(number)], "next_cursor": "again"})


def _empty_pages(request: BaseHTTPRequestHandler) -> None:
    send_json(request, {"records": [], "next_cursor": str(time.monotonic_ns())})


def _repeated_records(request: BaseHTTPRequestHandler) -> None:
    send_json(request, {"records": [record(1), record(2)], "next_cursor": str(time.monotonic_ns())})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_html, "web page (text/html)"),
        (_html_called_json, "not valid JSON"),
        (_truncated, "not valid JSON: EOF"),
        (_cut_off, "broke off"),
        (_big_field, "larger than 4 MiB"),
        (_endless_body, "larger than 4 MiB"),
        (_packed, "packed (gzip)"),
        (_circle, "redirects"),
        (_elsewhere, "unsupported protocol"),
        (_unavailable, "answered 503 Service Unavailable"),
        (_silent, "0 of 10 records within 1 s"),
        (_slow_body, "0 of 10 records within 1 s"),
        (_slow_headers, "0 of 10 records within 1 s"),
        (_not_http, "not HTTP"),
        (_same_cursor, "repeats the cursor"),
        (_empty_pages, "is empty but says that there is more"),
        (_repeated_records, "Record 3 of the source repeats the id 'r-1'"),
    ],
)
def test_a_broken_source_is_one_clear_sentence_in_time(answer: Answer, expected: str) -> None:
    assert expected in _refusal(answer)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"value": "5"}, "value: Input should be a valid number"),
        ({"value": True}, "value: Input should be a valid number"),
        ({"value": float("nan")}, "value: Input should be a finite number"),
        ({"value": float("inf")}, "value: Input should be a finite number"),
        ({"value": 1e308}, "value: Input is too large"),
        ({"observed_at": "yesterday"}, "observed_at: Input should be a valid datetime"),
        ({"observed_at": "2025-03-09T05:30:00"}, "observed_at: Input should have timezone info"),
        ({"observed_at": 5}, "observed_at: Input should be a valid datetime"),
        ({"host": ""}, "host: String should have at least 1 character"),
        ({"metric": "a\x00b"}, "metric: String should match pattern"),
        ({"unit": None}, "unit: Input should be a valid string"),
        ({"id": "x" * 201}, "id: String should have at most 200 characters"),
    ],
)
def test_a_bad_record_is_named_by_number_and_field_and_the_batch_refused(
    change: dict[str, object], expected: str
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if "cursor" not in request.path:
            send_json(request, {"records": [record(1), record(2)], "next_cursor": "2"})
        else:
            send_json(request, {"records": [record(3), record(4, **change)], "next_cursor": None})

    assert _refusal(answer).startswith(f"Record 4 of the source is not valid: {expected}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[]", "expected shape"),
        (b'{"records": []}', "next_cursor: Field required"),
        (b'{"records": [1], "next_cursor": null}', "Record 1"),
        (b'{"records": "x", "next_cursor": null}', "records"),
        (b"[" * 100_000, "not valid JSON: recursion limit"),
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_an_answer_of_another_shape_is_said_to_be_so(body: bytes, expected: str) -> None:
    assert expected in _refusal(lambda request: send(request, body))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("invalid://url", "unsupported protocol"),
        ("ftp://example.org/x", "unsupported protocol"),
        ("no address at all", "unsupported protocol"),
        ("http://[::1", "cannot be read"),
        ("http://127.0.0.1:1/metrics", "http://127.0.0.1:1/metrics cannot be read"),
        ("http://does-not-exist.invalid/", "cannot be read"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_clear_sentence(url: str, expected: str) -> None:
    with pytest.raises(SourceError) as refused:
        _fetch(url, timeout_seconds=10)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_password_in_the_address_is_used_but_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        sent.append(request.headers["Authorization"])
        send(request, b"{}", status=403)

    caplog.set_level("DEBUG")
    with serving(answer) as url:
        config = ExtractConfig(source_url=url.replace("//", "//user:s3cret@") + "?key=t0ken", batch_size=1)
        with pytest.raises(SourceError) as refused:
            fetch(config)
    assert sent == ["Basic dXNlcjpzM2NyZXQ="]
    assert "s3cret" not in str(refused.value) + repr(config) + config.shown_url + caplog.text
    assert "t0ken" not in str(refused.value) + repr(config) + config.shown_url


def test_a_redirect_does_not_carry_the_password_to_another_server() -> None:
    received: list[str | None] = []

    def other(request: BaseHTTPRequestHandler) -> None:
        received.append(request.headers["Authorization"])
        send_json(request, {"records": [record(1)], "next_cursor": None})

    with serving(other) as target, serving(lambda r: send(r, b"", status=307, Location=target + "/x")) as url:
        assert len(_fetch(url.replace("//", "//user:s3cret@"), 1).items) == 1
    assert received == [None]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@example.org:8443/a/b?token=t#f", "https://example.org:8443/a/b"),
        ("http://u@[::1]:80/", "http://[::1]:80/"),
        ("user:p@ss@host/path", "(not a URL)"),
        ("http://host:port:pass/", "(not a URL)"),
        ("invalid://url", "invalid://url"),
    ],
)
def test_an_address_is_logged_without_what_could_be_a_secret(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_a_proxy_in_the_environment_does_not_cut_off_the_local_source(
    metrics_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert len(_fetch(metrics_url, 5, 5).items) == 5


def test_fetching_works_where_an_event_loop_is_running(metrics_url: str) -> None:
    async def inside() -> int:
        return len(_fetch(metrics_url, 5, 5).items)

    assert asyncio.run(inside()) == 5


class _Cancelled(BaseException):
    """What Prefect raises in the main thread when a run is cancelled is a BaseException too."""


def test_a_cancelled_run_does_not_wait_for_a_slow_source() -> None:
    def cancel(_number: int, _frame: FrameType | None) -> None:
        raise _Cancelled

    before: Callable[[int, FrameType | None], object] | int | None = signal.signal(signal.SIGALRM, cancel)
    try:
        with serving(_silent) as url:
            started = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(_Cancelled):
                _fetch(url, timeout_seconds=5)
            assert time.monotonic() - started < 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_server_that_accepts_no_connection_is_given_up_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            started = time.monotonic()
            with pytest.raises(SourceError):
                _fetch(f"http://127.0.0.1:{full.getsockname()[1]}/")
            assert time.monotonic() - started < SECONDS + 1
        finally:
            for filler in fillers:
                filler.close()
