"""Task 28: retried then Completed; retried then Failed; refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.core.task import Evidence, TaskControl
from blueprint.tasks.registry import Scope, task

if TYPE_CHECKING:
    from blueprint.tasks.context import Context


@task(
    28,
    "Document failure handling",
    phase=3,
    needs=(13, 15),
    timeout=240,
    scope=Scope.DEPLOYMENT,
    pool_runs=2,
    proof="retried then Completed; retried then Failed; refused",
)
def document_failures(ctx: Context, control: TaskControl) -> Evidence:
    """Retried then Completed; retried then Failed; refused without a run. Written beside the log."""
    from blueprint.tasks.common import failure_cases

    return failure_cases.document(ctx, control)
