"""Fetching records from an HTTP JSON API, page by page, without trusting it.

The API is asked `GET <url>?limit=<n>[&cursor=<c>]` and answers `{"records": [...], "next_cursor": "..." or null}`
(see `records.Page`). It may be slow, broken or hostile: everything it can send is bounded in time and in size.
"""

from __future__ import annotations

from http import HTTPStatus
from ipaddress import ip_address

import anyio
import httpx
from anyio.from_thread import start_blocking_portal

from blueprint.pipeline.config import ExtractConfig, without_secrets
from blueprint.pipeline.errors import SourceError
from blueprint.pipeline.records import Page, Reading, parse_page

PAGE_LIMIT = 1000
MAX_PAGE_BYTES = 4 * 1024 * 1024
MAX_REDIRECTS = 5
_CONNECT_SECONDS = 10.0


class Readings:
    """Records that one extract fetched, in the order of the source.

    Deliberately not a collection: Prefect walks lists, dataclasses and models that are handed from task to task, and
    would visit each of 100,000 records.
    """

    __slots__ = ("exhausted", "items", "pages")

    def __init__(self, items: list[Reading], *, pages: int, exhausted: bool) -> None:
        self.items = items
        self.pages = pages
        self.exhausted = exhausted


def fetch(config: ExtractConfig) -> Readings:
    """Fetch `batch_size` records, or all there are if the source ends earlier (`exhausted`).

    A blocking call that may be made from any thread, also one with an event loop. Interruptible: an exception raised
    in the caller by a signal ends the request at once.

    Raises:
        SourceError: In one sentence, why the batch is not complete: unreachable, an HTTP status other than 200, not
            JSON, a record that is not valid, too large, too many redirects, a cursor that repeats, or out of time.
    """
    # asyncio, in a thread of its own, because only a cancellable request can be bounded as a whole: a server that
    # sends one byte a second, headers included, never exceeds the time-out of a single read.
    with start_blocking_portal() as portal:
        return portal.call(_fetch_in_time, config)


async def _fetch_in_time(config: ExtractConfig) -> Readings:
    items: list[Reading] = []
    try:
        with anyio.fail_after(config.timeout_seconds):
            return await _fetch(config, items)
    except TimeoutError:
        raise SourceError(
            f"The source {config.shown_url} delivered {len(items)} of {config.batch_size} records within "
            f"{config.timeout_seconds:g} s (timeout_seconds)."
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"The source {config.shown_url} cannot be read: {_reason(error)}.") from None


async def _fetch(config: ExtractConfig, items: list[Reading]) -> Readings:
    url, auth = _address(config.source_url)
    seen_ids: set[str] = set()
    seen_cursors: set[str] = set()
    cursor: str | None = None
    pages = 0
    async with httpx.AsyncClient(
        auth=auth,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        timeout=httpx.Timeout(config.timeout_seconds, connect=min(_CONNECT_SECONDS, config.timeout_seconds)),
        # A bound on the size is a bound only if nothing is unpacked behind our back.
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        trust_env=not _is_loopback(url.host),  # no proxy can reach this machine's own loopback
    ) as client:
        while True:
            page = await _page(client, url, min(PAGE_LIMIT, config.batch_size - len(items)), cursor, before=len(items))
            pages += 1
            wanted = page.records[: config.batch_size - len(items)]
            _refuse_repeated(wanted, seen_ids, before=len(items))
            items += wanted
            cursor = page.next_cursor
            if len(items) == config.batch_size:
                break
            if cursor is None:
                return Readings(items, pages=pages, exhausted=True)
            if cursor in seen_cursors:
                raise SourceError(f"The source goes in a circle: page {pages} repeats the cursor of an earlier page.")
            if not page.records:
                raise SourceError(f"The source's page {pages} is empty but says that there is more.")
            seen_cursors.add(cursor)
    return Readings(items, pages=pages, exhausted=False)


async def _page(client: httpx.AsyncClient, url: httpx.URL, limit: int, cursor: str | None, *, before: int) -> Page:
    params = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
    async with client.stream("GET", url.copy_merge_params(params)) as response:
        _refuse_unless_json(response)
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_PAGE_BYTES:
                raise SourceError(f"The source's answer is larger than {MAX_PAGE_BYTES // 1024**2} MiB.")
    return parse_page(body, before=before)


def _refuse_unless_json(response: httpx.Response) -> None:
    """Refuse an answer by its status and headers, before its body is read."""
    where = without_secrets(str(response.url))
    if response.status_code != HTTPStatus.OK:
        raise SourceError(f"The source {where} answered {response.status_code} {response.reason_phrase}".strip() + ".")
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise SourceError(f"The source {where} sent its answer packed ({encoding[:50]}) though asked not to.")
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if "html" in kind:
        raise SourceError(f"The source {where} answered with a web page ({kind[:50]}) and not with JSON.")


def _refuse_repeated(records: list[Reading], seen: set[str], *, before: int) -> None:
    for index, record in enumerate(records):
        if record.id in seen:
            raise SourceError(f"Record {before + index + 1} of the source repeats the id {record.id!r}.")
        seen.add(record.id)


def _address(text: str) -> tuple[httpx.URL, httpx.BasicAuth | None]:
    """Take user and password out of the address: httpx logs it, and a redirect must not pass them on."""
    url = httpx.URL(text)
    if not url.userinfo:
        return url, None
    return url.copy_with(userinfo=b""), httpx.BasicAuth(url.username, url.password)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reason(error: httpx.HTTPError | httpx.InvalidURL) -> str:
    """Return one clause; httpx never saw a password."""
    said = str(error)[:200].rstrip(".") or type(error).__name__
    match error:
        case httpx.UnsupportedProtocol():
            return f"only http:// and https:// addresses can be fetched (unsupported protocol: {said})"
        case httpx.RemoteProtocolError():
            return f"the connection broke off or is not HTTP ({said})"
        case _:
            return said
