"""Readers of Prefect's UI, as a browser would find it: the page, the address that it calls, and its query.

They need no Prefect: `verify` and the tasks' proofs read with the same ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from blueprint.core.http import NotReady, get_ok
from blueprint.platform.base import PROBE_SECONDS, ApiEndpoint, understood

_SCRIPT = re.compile(r'<script[^>]+src="([^"]+\.js)"')


@dataclass(frozen=True)
class Page:
    """The deployments page as a browser would get it."""

    url: str
    script: str  # the address of its program
    api_url: str


@understood("the UI's settings")
def read_page(api: ApiEndpoint) -> Page:
    """Ask for everything that a browser asks for before it shows the deployments page.

    Raises:
        NotReady: A part of the page is not served.
        ApiError: Its settings have another form.
    """
    url = f"{api.root}/deployments"
    found = _SCRIPT.search(get_ok(url, timeout=PROBE_SECONDS, accept="text/html").text)
    if found is None:
        raise NotReady(f"{url} is served, but is not Prefect's UI")
    script = urljoin(url, found[1])
    get_ok(script, timeout=PROBE_SECONDS)
    settings = get_ok(f"{api.root}/ui-settings", timeout=PROBE_SECONDS, accept="application/json").json()
    return Page(url, script, str(settings["api_url"]))


def require_page(api: ApiEndpoint) -> Page:
    """Read the page, and require that it calls the address that browsers are told.

    Raises:
        NotReady: A part of it is not served, or it calls another address.
        ApiError: Its settings have another form.
    """
    page = read_page(api)
    if page.api_url != api.public_url:
        raise NotReady(f"the UI is told to call {page.api_url}, not {api.public_url}")
    return page


@understood("the deployments")
def listed(api: ApiEndpoint, name: str) -> frozenset[str]:
    """Make the query that the page makes for the deployments of a name, and return their ids.

    Raises:
        NotReady: There is no answer.
        ApiError: The page could not show it.
    """
    query = {"page": 1, "limit": 200, "sort": "NAME_ASC", "deployments": {"name": {"any_": [name]}}}
    return frozenset(str(entry["id"]) for entry in api.get("/deployments/paginate", query=query).json()["results"])
