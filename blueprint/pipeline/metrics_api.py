"""The bundled data source: an HTTP API that serves readings of this host and can fail on request.

    python -m blueprint.pipeline.metrics_api --host 127.0.0.1 --port 8765

`GET /api/v1/metrics?limit=<1..1000>&cursor=<c>` takes readings until the page is full and answers
`{"records": [{"id", "observed_at", "host", "metric", "value", "unit"}, ...], "next_cursor": "..."}`. The readings never
end. A cursor does not lead to stored readings but on in time: each page holds new readings under new ids, so the same
cursor asked twice gives two pages that have no record in common, and no id is ever given twice.

Further parameters of the request make it fail:

- `fail_first=<n>&fail_key=<k>`: the first n requests that carry this key are answered 503 (or `status=<400..599>`).
- `delay_seconds=<s>`: the answer comes s seconds later (at most 600).

`GET /health` answers `{"status": "ok"}`. Loopback only, as there is no authentication. Imports no Prefect: it must
be up within a second.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count, islice
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run by path: find the package, and do not let this folder's names shadow others
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from blueprint.pipeline.readings import HostSampler

METRICS_PATH = "/api/v1/metrics"
DEFAULT_PORT = 8765
MAX_LIMIT = 1000
_DEFAULT_LIMIT = 100
_MAX_DELAY_SECONDS = 600.0
_MAX_KEYS = 1000
_MAX_TEXT = 200


class BadRequest(ValueError):
    """A parameter of the request cannot be used; the text names it and what is accepted."""


@dataclass(frozen=True)
class MetricsRequest:
    """One request's parameters, validated."""

    limit: int
    fail_first: int
    fail_key: str
    status: int
    delay_seconds: float

    @classmethod
    def of(cls, query: Mapping[str, str]) -> MetricsRequest:
        """Read the parameters; a limit above the page limit is cut to it, any other bad value is refused.

        Raises:
            BadRequest: Names the offender.
        """
        if len(query.get("cursor", "")) > _MAX_TEXT or len(query.get("fail_key", "")) > _MAX_TEXT:
            raise BadRequest(f"cursor and fail_key have at most {_MAX_TEXT} characters")
        request = cls(
            limit=min(int(_number(query, "limit", _DEFAULT_LIMIT, 1, sys.maxsize, whole=True)), MAX_LIMIT),
            fail_first=int(_number(query, "fail_first", 0, 0, sys.maxsize, whole=True)),
            fail_key=query.get("fail_key", ""),
            status=int(_number(query, "status", 503, 400, 599, whole=True)),
            delay_seconds=_number(query, "delay_seconds", 0, 0, _MAX_DELAY_SECONDS),
        )
        if request.fail_first and not request.fail_key:
            raise BadRequest("fail_first needs a fail_key, by which the failures are counted")
        return request


def _number(
    query: Mapping[str, str], name: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    text = query.get(name)
    if text is None:
        return default
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        bounds = f"at least {low}" if high == sys.maxsize else f"from {low} to {high:g}"
        raise BadRequest(f"{name} must be a{' whole' if whole else ''} number {bounds}, not {text[:_MAX_TEXT]!r}")
    return value


class FailureCounter:
    """Counts the failures given per key; forgets the oldest key when there are too many."""

    def __init__(self, max_keys: int = _MAX_KEYS) -> None:
        self._given: OrderedDict[str, int] = OrderedDict()
        self._max_keys = max_keys
        self._lock = threading.Lock()

    def must_fail(self, key: str, first: int) -> bool:
        """Tell whether this request must fail: it is among the first `first` with the key."""
        if first <= 0:
            return False
        with self._lock:
            given = self._given.get(key, 0)
            if given >= first:
                return False
            self._given[key] = given + 1
            self._given.move_to_end(key)
            if len(self._given) > self._max_keys:
                self._given.popitem(last=False)
            return True


class Pages:
    """Makes pages of fresh readings with ids that no other page has, in this process or another."""

    def __init__(self, sampler: HostSampler | None = None) -> None:
        self._sampler = sampler or HostSampler()
        self._instance = secrets.token_hex(6)
        self._numbers = count(1)
        self._lock = threading.Lock()

    def page(self, limit: int) -> dict[str, Any]:
        """Take readings until there are `limit` of them."""
        records: list[dict[str, Any]] = []
        while len(records) < limit:
            with self._lock:
                records += [
                    {
                        "id": f"{self._instance}-{next(self._numbers)}",
                        "observed_at": reading.observed_at.isoformat(timespec="microseconds"),
                        "host": self._sampler.host,
                        "metric": reading.metric,
                        "value": reading.value,
                        "unit": reading.unit,
                    }
                    for reading in islice(self._sampler.sample(), limit - len(records))
                ]
        return {"records": records, "next_cursor": records[-1]["id"]}


def application() -> Starlette:
    """Return the ASGI application; each has counters of its own."""
    pages = Pages()
    failures = FailureCounter()

    async def metrics(request: Request) -> JSONResponse:
        try:
            asked = MetricsRequest.of(request.query_params)
        except BadRequest as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        if asked.delay_seconds:
            await asyncio.sleep(asked.delay_seconds)
        if failures.must_fail(asked.fail_key, asked.fail_first):
            return JSONResponse({"error": "failing as asked to by fail_first"}, status_code=asked.status)
        return JSONResponse(await run_in_threadpool(pages.page, asked.limit))

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route(METRICS_PATH, metrics), Route("/health", health)])


def _loopback(text: str) -> str:
    address = "127.0.0.1" if text == "localhost" else text
    try:
        if ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a loopback address; there is no authentication here")


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535; 0 takes a free one)")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="metrics_api", description="Serve real readings of this host as JSON.")
    parser.add_argument("--host", type=_loopback, default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}")
    arguments = parser.parse_args(argv)
    uvicorn.run(application(), host=arguments.host, port=arguments.port, lifespan="off", server_header=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
