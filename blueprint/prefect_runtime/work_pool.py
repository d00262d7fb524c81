"""A wait until the server answers and has the work pool."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from urllib.parse import quote

import httpx
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

_MOST_SECONDS = 600.0  # somebody begins the worker and never gets the server up: it must not wait for ever
_PAUSE_SECONDS = 0.1
_NOT_YET = (httpx.codes.NOT_FOUND, httpx.codes.SERVICE_UNAVAILABLE)


def wait_for_pool(argv: Sequence[str]) -> None:
    """Wait until the pool that `--pool` names is there.

    The worker would make it itself, with a concurrency limit of its own; and it would end at once without a server.
    Any other answer, such as 401, is for the worker to meet: it says in its log what is wrong.

    Raises:
        SystemExit: It is not there after ten minutes.
    """
    from prefect.settings import get_current_settings

    api = get_current_settings().api
    auth = api.auth_string.get_secret_value() if api.auth_string else None
    name = argv[argv.index("--pool") + 1]
    with httpx.Client(base_url=api.url or "", timeout=5, trust_env=False) as client:
        if auth:
            client.auth = tuple(auth.split(":", 1))  # type: ignore[assignment]

        def is_there() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return client.get(f"/work_pools/{quote(name, safe='')}").status_code not in _NOT_YET
            return False

        waiting = retry(
            retry=retry_if_result(lambda there: not there),
            wait=wait_fixed(_PAUSE_SECONDS),
            stop=stop_after_delay(_MOST_SECONDS),
            retry_error_callback=lambda _: False,
        )
        if not waiting(is_there)():
            sys.exit(f"The work pool {name!r} is not there after {_MOST_SECONDS:.0f} s.")
