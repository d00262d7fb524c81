"""Reads Prefect's UI: the page, the address that it calls, and the query of its deployments page."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from blueprint.config.settings import Settings
from blueprint.core.errors import ApiError

if TYPE_CHECKING:
    import httpx

_SECONDS = 5.0


@dataclass(frozen=True)
class Page:
    """The deployments page as a browser would get it."""

    url: str
    script: str
    api_url: str


def page(settings: Settings) -> Page:
    """Ask for everything that a browser asks for before it shows the deployments page.

    Raises:
        ApiError: A part of the page is not served.
    """

    def get(url: str, accept: str) -> httpx.Response:
        answer = client.get(url, headers={"Accept": accept})
        if answer.status_code != 200:
            raise ApiError(f"{url} answers {answer.status_code}.", where_to_look="logs/server.log")
        return answer

    with _reading(settings) as client:
        found = get(f"{settings.server_url}/deployments", "text/html")
        scripts = re.findall(r'<script[^>]+src="([^"]+\.js)"', found.text)
        if not scripts:
            raise ApiError(f"{found.url} is served, but is not Prefect's UI.", where_to_look=str(found.url))
        script = urljoin(str(found.url), scripts[0])
        get(script, "*/*")
        told = get(f"{settings.server_url}/ui-settings", "application/json").json()
        return Page(str(found.url), script, told["api_url"])


def listed(settings: Settings, authorization: str | None, name: str) -> frozenset[str]:
    """Make the query that the page makes for the deployments of a name.

    Args:
        settings: The server's address.
        authorization: The Authorization header for the API, which a browser would have from its user.
        name: The deployments to look for.

    Returns:
        Their ids.

    Raises:
        ApiError: There is no answer that the page could show.
    """
    headers = {"Authorization": authorization} if authorization else {}
    query = {"page": 1, "limit": 200, "sort": "NAME_ASC", "deployments": {"name": {"any_": [name]}}}
    with _reading(settings) as client:
        answer = client.post(f"{settings.api_url}/deployments/paginate", json=query, headers=headers)
        answer.raise_for_status()
        return frozenset(str(entry["id"]) for entry in answer.json()["results"])


@contextlib.contextmanager
def _reading(settings: Settings) -> Iterator[httpx.Client]:
    import httpx

    try:
        with httpx.Client(timeout=_SECONDS, follow_redirects=True, trust_env=False) as client:
            yield client
    except (httpx.HTTPError, json.JSONDecodeError, KeyError) as error:
        raise ApiError(
            f"The UI's page or its data cannot be read: {type(error).__name__} {error}.",
            "Run `python run_blueprint.py verify`.",
            f"{settings.server_url}/ and logs/server.log",
        ) from error
