"""Task 27: health, ready, version, UI, docs, metrics, worker health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.core import http
from blueprint.core.http import NotReady
from blueprint.core.task import Evidence, TaskControl, TaskFailed
from blueprint.tasks.registry import task

if TYPE_CHECKING:
    from blueprint.tasks.context import Context


@task(
    27,
    "Verify monitoring points",
    phase=3,
    needs=(13, 15),
    timeout=30,
    proof="health, ready, version, UI, docs, metrics, worker health",
)
def verify_monitoring(ctx: Context, control: TaskControl) -> Evidence:
    """Health, ready, version, UI, API docs, server metrics, worker health."""
    from blueprint.platform import specs

    settings = ctx.settings
    points = {
        "health": (f"{settings.api_url}/health", b""),
        "ready": (f"{settings.api_url}/ready", b"OK"),
        "version": (f"{settings.api_url}/admin/version", b'"'),
        "UI": (f"{settings.server_url}/ui-settings", settings.api_url.encode()),
        "API docs": (f"{settings.server_url}/docs", b"openapi"),
        "server metrics": (f"{settings.api_url}/metrics", b"# HELP"),
        "worker health": (f"{settings.worker_url}/health", b""),
    }
    details = {}
    for name, (url, expected) in points.items():
        try:
            answer = http.get(url, timeout=specs.PROBE_SECONDS, auth=specs.authorization(settings))
        except NotReady as error:
            raise TaskFailed(f"{name}: {error}.", where_to_look=url) from None
        if answer.status != 200 or expected not in answer.body:
            raise TaskFailed(f"{name}: {url} answers {answer.status}, not as expected.", where_to_look=url)
        details[name] = url
    return Evidence(f"{', '.join(details)} answer", details)
