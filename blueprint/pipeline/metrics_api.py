"""The bundled data source: an HTTP API that serves readings of this host and can fail on request.

    python -m blueprint.pipeline.metrics_api --port 8765

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
from typing import Annotated

import uvicorn
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from blueprint.pipeline.readings import HostSampler

METRICS_PATH = "/api/v1/metrics"
DEFAULT_PORT = 8765
MAX_LIMIT = 1000

_Text = Annotated[str, Field(max_length=200)]


class MetricsRequest(BaseModel):
    """One request's parameters; a limit above the page limit is cut to it."""

    limit: Annotated[int, Field(ge=1)] = 100
    cursor: _Text = ""
    fail_key: _Text = ""
    fail_first: Annotated[int, Field(ge=0)] = 0
    status: Annotated[int, Field(ge=400, le=599)] = 503
    delay_seconds: Annotated[float, Field(ge=0, le=600)] = 0


class FailureCounter:
    """Counts the failures given per key; forgets the oldest key when there are too many."""

    def __init__(self, max_keys: int = 1000) -> None:
        self._given: dict[str, int] = {}
        self._max_keys = max_keys

    def must_fail(self, key: str, first: int) -> bool:
        """Tell whether this request must fail: it is among the first `first` with the key."""
        given = self._given.get(key, 0)
        if given >= first:
            return False
        self._given.pop(key, None)  # the newest is the last
        self._given[key] = given + 1
        if len(self._given) > self._max_keys:
            del self._given[next(iter(self._given))]
        return True


def application() -> Starlette:
    """Return the ASGI application; each has counters of its own."""
    sampler = HostSampler()
    failures = FailureCounter()

    async def metrics(request: Request) -> JSONResponse:
        try:
            asked = MetricsRequest.model_validate(dict(request.query_params))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return JSONResponse({"error": f"{first['loc'][0]}: {first['msg']}"}, status_code=400)
        if asked.fail_first and not asked.fail_key:
            text = "fail_first needs a fail_key, by which the failures are counted"
            return JSONResponse({"error": text}, status_code=400)
        await asyncio.sleep(asked.delay_seconds)
        if failures.must_fail(asked.fail_key, asked.fail_first):
            return JSONResponse({"error": "failing as asked to by fail_first"}, status_code=asked.status)
        records = sampler.take(min(asked.limit, MAX_LIMIT))
        return JSONResponse({"records": records, "next_cursor": records[-1]["id"]})

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    known = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=[Route(METRICS_PATH, metrics), Route("/health", health)], middleware=[known])


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535; 0 takes a free one)")


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="metrics_api", description="Serve real readings of this host as JSON.")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}")
    port = parser.parse_args().port
    uvicorn.run(application(), host="127.0.0.1", port=port, lifespan="off", server_header=False)


if __name__ == "__main__":
    main()
