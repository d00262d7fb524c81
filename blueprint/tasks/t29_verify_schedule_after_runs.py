"""Task 29: still active, coming runs made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.core.task import Evidence, TaskControl
from blueprint.tasks.registry import Scope, task

if TYPE_CHECKING:
    from blueprint.tasks.context import Context


@task(
    29,
    "Verify schedule configuration (after runs)",
    phase=3,
    needs=(22, 23, 24, 28),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    proof="still active, coming runs made",
)
def verify_schedule_after_runs(ctx: Context, control: TaskControl) -> Evidence:
    """The schedule is still active, and the server has made the coming runs."""
    from blueprint.core.waiting import wait_until
    from blueprint.tasks.common.schedules import require_active, upcoming

    found, definition = require_active(ctx)
    coming = wait_until(control, lambda: upcoming(ctx, found.id))
    return Evidence(
        f"active, {len(coming)} coming runs made, next {coming[0]}",
        {"schedule": definition, "upcoming": coming[:5], "count": len(coming)},
    )
