"""Task 18: the server's copy, and runs on both sides of a clock change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from blueprint.core.task import Evidence, TaskControl
from blueprint.tasks.registry import Scope, task

if TYPE_CHECKING:
    from blueprint.tasks.context import Context


@task(
    18,
    "Verify schedule configuration",
    phase=2,
    needs=(15,),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    proof="the server's copy, and runs on both sides of a clock change",
)
def verify_schedule(ctx: Context, control: TaskControl) -> Evidence:
    """The server's copy of the schedule, and its runs on both sides of the next clock change."""
    from blueprint.config import schedule
    from blueprint.core.waiting import wait_until
    from blueprint.tasks.common.schedules import around_clock_change, require_active, upcoming

    found, definition = require_active(ctx)
    details: dict[str, Any] = {"schedule": dict(definition)}
    coming = wait_until(control, lambda: upcoming(ctx, found.id))
    details["upcoming"] = coming[:3]
    summary = f"active, {definition.get('cron') or definition.get('rrule') or definition.get('interval')}"
    if ctx.settings.cron:
        change = schedule.next_clock_change(ctx.settings.timezone, datetime.now(UTC))
        if change is not None:
            details["clock_change"] = change.isoformat()
            details["around_clock_change"] = around_clock_change(ctx, found.id, change)
            days = [time[:16] for time in details["around_clock_change"]]
            summary += f", same local time before and after the clock change: {days[0]} … {days[-1]}"
        else:
            summary += ", the zone's clocks are not set within 400 days"
    return Evidence(f"{summary} {ctx.settings.timezone}", details)
