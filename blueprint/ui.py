"""What Prefect's UI is given: the page, the address that it calls, and the query that its deployments page makes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import urljoin

from blueprint.settings import Settings
from blueprint.task import TaskFailed

_SECONDS = 5.0


@dataclass(frozen=True)
class Page:
    """The deployments page as a browser would get it."""

    url: str
    script: str
    api_url: str
    deployment_ids: frozenset[str]


def read(settings: Settings, authorization: str | None, name: str) -> Page:
    """Ask for everything that a browser asks for in order to show the deployments page.

    Args:
        settings: Where the server is.
        authorization: The Authorization header for the API, which a browser would have from its user.
        name: The deployment to look for.

    Raises:
        TaskFailed: A part of the page is not served.
    """
    import httpx

    def get(url: str, accept: str) -> httpx.Response:
        answer = client.get(url, headers={"Accept": accept})
        if answer.status_code != 200:
            raise TaskFailed(f"{url} answers {answer.status_code}.", where_to_look="logs/server.log")
        return answer

    try:
        with httpx.Client(timeout=_SECONDS, follow_redirects=True, trust_env=False) as client:
            page = get(f"{settings.server_url}/deployments", "text/html")
            scripts = re.findall(r'<script[^>]+src="([^"]+\.js)"', page.text)
            if not scripts:
                raise TaskFailed(f"{page.url} is served, but is not Prefect's UI.", where_to_look=str(page.url))
            script = urljoin(str(page.url), scripts[0])
            get(script, "*/*")
            told = get(f"{settings.server_url}/ui-settings", "application/json").json()
            headers = {"Authorization": authorization} if authorization else {}
            query = {"page": 1, "limit": 200, "sort": "NAME_ASC", "deployments": {"name": {"any_": [name]}}}
            listed = client.post(f"{told['api_url']}/deployments/paginate", json=query, headers=headers)
            listed.raise_for_status()
            ids = frozenset(str(one["id"]) for one in listed.json()["results"])
    except (httpx.HTTPError, json.JSONDecodeError, KeyError) as error:
        raise TaskFailed(
            f"The UI's page or its data cannot be read: {type(error).__name__} {error}.",
            where_to_look=f"{settings.server_url}/ and logs/server.log",
            what_to_do="Run `python run_blueprint.py verify`.",
        ) from error
    return Page(str(page.url), script, told["api_url"], ids)
