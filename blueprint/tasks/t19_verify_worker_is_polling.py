"""Task 19: the worker's last heartbeat moves between two reads."""

from datetime import datetime

from blueprint.core.http import NotReady
from blueprint.tasks.registry import Context, Evidence, TaskControl, task


@task(
    19,
    "Verify worker is polling",
    needs=(13,),
    timeout=60,
    proof="the worker's last heartbeat moves between two reads",
)
def verify_polling(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the worker's last heartbeat moves between two reads."""
    from blueprint.core.waiting import wait_until
    from blueprint.tasks.common.proofs import read_worker

    ctx.skip_without_pool()
    first = read_worker(ctx).last_heartbeat

    def moved() -> datetime:
        now = read_worker(ctx).last_heartbeat
        if now is None or now == first:
            raise NotReady(f"the worker's last heartbeat stays at {first}")
        return now

    second = wait_until(control, moved, first=0.25, most=1.0)
    details = {"first": first.isoformat() if first else None, "second": second.isoformat()}
    return Evidence(f"last heartbeat moved from {details['first']} to {details['second']}", details)
