"""Task 27: health, ready, version, UI, docs, metrics, worker health, and who is answered."""

from http import HTTPStatus

from blueprint.core.http import NotReady
from blueprint.tasks.registry import Context, Evidence, TaskControl, TaskFailed, task

_FOREIGN = "http://foreign.example"


@task(
    27,
    "Verify monitoring points",
    needs=(13, 15),
    timeout=30,
    proof="health, ready, version, UI, docs, metrics, worker health, and who is answered",
)
def verify_monitoring(ctx: Context, control: TaskControl) -> Evidence:
    """Health, ready, version, UI, API docs, server metrics, worker health, and who is answered."""
    from blueprint.config import access
    from blueprint.core.http import get, get_ok
    from blueprint.platform.base import PROBE_SECONDS
    from blueprint.tasks.common.proofs import failing

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
        with failing(name, where_to_look=url):
            answer = get_ok(url, timeout=PROBE_SECONDS, auth=api.authorization if url.startswith(api.root) else None)
            if expected not in answer.body:
                raise NotReady(f"{url} answers, but not as expected")
        details[name] = url
    if "*" in settings.origins:
        details["foreign pages"] = "answered, as allowed_origins has it"
    else:
        hint = "Run `python run_blueprint.py stop` and then `--resume-from 8` to start the server anew."
        with failing("foreign pages", where_to_look="logs/server.log", hint=hint):
            status = get(f"{api.url}/health", timeout=PROBE_SECONDS, origin=_FOREIGN).status
            if status != 403:
                raise NotReady(f"a page of {_FOREIGN} is answered HTTP {status}, and can use the server")
        details["foreign pages"] = "refused"
    hint = "Run `python run_blueprint.py verify`, then `python run_blueprint.py --resume`."
    with failing("password", where_to_look="logs/server.log", hint=hint):
        refused = get(f"{api.url}/admin/version", timeout=PROBE_SECONDS).status == HTTPStatus.UNAUTHORIZED
    if refused != (api.authorization is not None):
        raise TaskFailed(
            f"The server {'asks' if refused else 'does not ask'} for a password, against its settings.",
            where_to_look="logs/server.log",
            hint="Run `python run_blueprint.py stop` and then `--resume-from 8` to start it anew.",
        )
    details["password"] = str(access.decide(settings, ctx.workspace))
    summary = f"{', '.join(points)} answer; foreign pages are {details['foreign pages']}; {details['password']}"
    return Evidence(summary, details)
