"""Task 27: health, ready, version, UI, docs, metrics, worker health."""

from __future__ import annotations

from blueprint.core.http import NotReady
from blueprint.tasks.registry import Context, Evidence, TaskControl, TaskFailed, task


@task(
    27,
    "Verify monitoring points",
    needs=(13, 15),
    timeout=30,
    proof="health, ready, version, UI, docs, metrics, worker health",
)
def verify_monitoring(ctx: Context, control: TaskControl) -> Evidence:
    """Health, ready, version, UI, API docs, server metrics, worker health."""
    from blueprint.core.http import get_ok
    from blueprint.platform.base import PROBE_SECONDS

    settings, api = ctx.settings, ctx.platform.api
    points = {
        "health": (f"{api.url}/health", b""),
        "ready": (f"{api.url}/ready", b"OK"),
        "version": (f"{api.url}/admin/version", b'"'),
        "UI": (f"{api.root}/ui-settings", api.public_url.encode()),
        "API docs": (f"{api.root}/docs", b"openapi"),
        "server metrics": (f"{api.url}/metrics", b"# HELP"),
        "worker health": (f"{settings.worker_url}/health", b""),
    }
    details = {}
    for name, (url, expected) in points.items():
        try:
            answer = get_ok(url, timeout=PROBE_SECONDS, auth=api.authorization if url.startswith(api.root) else None)
        except NotReady as error:
            raise TaskFailed(f"{name}: {error}.", where_to_look=url) from None
        if expected not in answer.body:
            raise TaskFailed(f"{name}: {url} answers, but not as expected.", where_to_look=url)
        details[name] = url
    return Evidence(f"{', '.join(details)} answer", details)
