"""Task 20: pool, worker and deployment read afresh."""

from typing import Any

from blueprint.core.http import NotReady
from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task


def verify_platform_ready(ctx: Context, control: TaskControl) -> Evidence:
    """Prove server, pool and worker to be ready, or the serving process alive, all read afresh."""
    from blueprint.core.waiting import wait_until
    from blueprint.tasks.common import proofs

    proofs.prove_server(ctx)
    if ctx.settings.serves:
        return Evidence("serving process alive", proofs.prove_serving_process(ctx))
    worker = proofs.await_worker(ctx, control, proofs.WORKER_SECONDS)

    def pool() -> dict[str, Any]:
        found = proofs.require_process_pool(ctx)
        if found.status == "NOT_READY":
            raise NotReady("the work pool is NOT_READY: no worker has polled it yet")
        if found.status != "READY":
            raise TaskFailed(f"The work pool is {found.status}, not READY.", hint=proofs.RESTORE_WORKER)
        return vars(found)

    return Evidence("work pool READY, worker ONLINE", {"pool": wait_until(control, pool), "worker": worker})


@task(
    20,
    "Phase 2 complete verification",
    needs=(6, 12, 16, 17, 18, 19),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    shared=verify_platform_ready,
    proof="pool, worker and deployment read afresh",
)
def verify_deployment_ready(ctx: Context, control: TaskControl) -> Evidence:
    """Prove the deployment to be ready, read afresh."""
    from blueprint.core.waiting import wait_until
    from blueprint.tasks.common.proofs import prove_deployment

    def deployment() -> str:
        found = prove_deployment(ctx)
        if found.status != "READY":
            raise NotReady(f"the deployment is {found.status}: no worker has polled for it yet")
        return found.id

    return Evidence("deployment READY", {"deployment": wait_until(control, deployment)})
