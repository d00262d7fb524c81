"""Task 28: retried then Completed; retried then Failed; refused."""

from __future__ import annotations

from typing import Any

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskSkipped, task


@task(
    28,
    "Document failure handling",
    needs=(13, 15),
    timeout=240,
    scope=Scope.DEPLOYMENT,
    pool_runs=2,
    proof="retried then Completed; retried then Failed; refused",
)
def document_failures(ctx: Context, control: TaskControl) -> Evidence:
    """Run the configured cases side by side, prove each, and write the document beside the log.

    Raises:
        TaskFailed: A case did not go as it must.
        TaskSkipped: No case is configured.
    """
    from blueprint.reports.failure_document import render
    from blueprint.tasks.common import failure_cases
    from blueprint.tasks.common.failure_cases import FAILING, RETRIED, trigger_failure

    failing, refused = ctx.settings.acceptance.failing, ctx.settings.acceptance.refused
    retried = failure_cases.retried_case(ctx)
    if retried is None and failing is None and not refused:
        raise TaskSkipped("no acceptance case `retried`, `failing` or `refused` is configured")
    made_failing = None if failing is None else trigger_failure(ctx, control, FAILING, failing, lost=())
    made_retried = None if retried is None else trigger_failure(ctx, control, RETRIED, retried, lost=("FAILED",))
    cases = [failure_cases.prove_refused(ctx, parameters) for parameters in refused]
    details: dict[str, Any] = {"refused": [case.outcome for case in cases]}
    if made_failing is not None:
        case, details["failing"] = failure_cases.prove_failing(ctx, made_failing.run, control)
        cases.insert(0, case)
    if made_retried is not None:
        case, details["retried"] = failure_cases.prove_retried(ctx, made_retried.run, control)
        cases.insert(0, case)
    details["document"] = ctx.document(render(cases, of=ctx.label), ctx.key)
    created = [made.reason for made in (made_retried, made_failing) if made is not None and made.created]
    return Evidence(
        f"{'; '.join(case.short for case in cases)}; written to {details['document']}",
        details,
        changed=bool(created),
        reason="; ".join(dict.fromkeys(created)),
    )
