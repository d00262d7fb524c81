"""Task 8: ready, right version, the port's listener is our process."""

from blueprint.core.errors import BlueprintError
from blueprint.tasks.registry import Context, Evidence, TaskControl, task


@task(
    8,
    "Start Prefect server",
    needs=(4,),
    timeout=120,
    uses_prefect=False,
    proof="ready, right version, the port's listener is our process",
)
def start_server(ctx: Context, control: TaskControl) -> Evidence:
    """Have the server ready, of the right version, with the port held by the process that we started."""
    from blueprint.tasks.common.proofs import prove_server
    from blueprint.tasks.t06_configure_api_url import require_our_home

    require_our_home(ctx)
    try:
        _begin(ctx, control)
        started = ctx.platform.server.ensure(control)
        details = prove_server(ctx)
    except BlueprintError:
        ctx.services.stop_begun()
        raise
    owner = f"pid {details['pid']} owns the port" if "pid" in details else "its process is not managed here"
    return Evidence(
        f"ready at {ctx.settings.server_url}, version {details['version']}, {owner}",
        details,
        changed=started.changed,
        reason=started.reason,
    )


def _begin(ctx: Context, control: TaskControl) -> None:
    """Have server and worker import Prefect at the same time; task 13 waits for the worker."""
    from blueprint.prefect_runtime import own_listener

    ctx.platform.server.begin(control)
    # The server is not proven ours yet: the worker must see by itself that no other user has the password from it.
    keeps_password = own_listener.CAN_TELL or ctx.platform.api.authorization is None
    if ctx.with_worker and not ctx.settings.serves and keeps_password:
        ctx.platform.worker.begin(control)
