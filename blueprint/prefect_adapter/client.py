"""Asks the server: one client, patience while it is busy, and a sentence for what goes wrong."""

from __future__ import annotations

import functools
import gc
import json
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from blueprint.core.errors import ApiError
from blueprint.prefect_runtime import own_listener

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PAGE = 200  # entries asked for at a time
_BUSY_SECONDS = 30.0
_importing = threading.Lock()

T = TypeVar("T")


class Refused(Exception):
    """The server refused to create a run; the message is its reason. No run was made."""


def import_prefect() -> None:
    """Import Prefect, in one thread while all others wait.

    Two threads that import modules which need each other may meet half-made ones: Python breaks the deadlock that way.
    """
    with _importing:
        gc.disable()  # what imports make is there to stay
        try:
            import prefect.client.orchestration
            import prefect.flows  # noqa: F401
        finally:
            gc.enable()


@functools.cache
def client() -> SyncPrefectClient:
    """One client for the whole process; httpx's clients may be shared between threads."""
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    own_listener.require(get_current_settings().api.url or "")
    return get_client(sync_client=True)


def asking(what: str, question: Callable[[], T], *, refusals: tuple[int, ...] = ()) -> T:
    """Ask the server, again while it is busy, and put what goes wrong into a sentence.

    SQLite lets one writer in at a time, and Prefect's server answers 503 to whoever comes second. Prefect's client
    would sleep for about two seconds each time; a moment is enough. Everything asked here may safely be asked twice.

    Args:
        what: The request in words that follow "asked to".
        question: The call of Prefect's client; its `ObjectNotFound` is passed on.
        refusals: HTTP statuses that are an answer: raised as `Refused`.

    Raises:
        Refused: The answer has one of the statuses `refusals`.
        ApiError: The server does not answer, or with an error.
    """
    import httpx
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    try:
        return Retrying(
            retry=retry_if_exception(_is_busy),
            wait=wait_exponential_jitter(initial=0.05, max=0.5, jitter=0.1),
            stop=stop_after_delay(_BUSY_SECONDS),
            reraise=True,
        )(question)
    except ObjectNotFound:
        raise
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in refusals:
            raise Refused(_detail(error.response.text)) from error
        raise ApiError(
            f"The server refused to {what}: HTTP {status}: {error.response.text[:300]}",
            "Run again; if it stays, look at the server's log.",
            "logs/server.log",
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise ApiError(
            f"The server did not answer when asked to {what}: {type(error).__name__} {error}".rstrip(),
            "Run `python run_blueprint.py verify`, then `python run_blueprint.py --resume`.",
            "logs/server.log",
        ) from error


def _is_busy(error: BaseException | None) -> bool:
    import httpx

    while error is not None:  # Prefect wraps what it met in errors of its own, such as DeploymentApplyError
        if getattr(getattr(error, "response", None), "status_code", None) in (429, 503):
            return True
        if isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
            return True  # after a 503 the server closes the connection, also under a request that follows on it
        error = error.__cause__
    return False


def _detail(text: str) -> str:
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        return text[:300]


def pages(what: str, page: Callable[[int], Sequence[T]]) -> list[T]:
    """All of what comes in pages; `page` is given the offset."""
    found: list[T] = []
    while True:
        more = asking(what, functools.partial(page, len(found)))
        found += more
        if len(more) < PAGE:
            return found
