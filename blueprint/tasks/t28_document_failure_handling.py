"""Task 28: retried then Completed; retried then Failed; refused."""

import secrets
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
    """Run the configured cases side by side, prove each, and write the document beside the log."""
    from blueprint.reports.failure_document import render
    from blueprint.tasks.common.failure_cases import fill, prove_failing, prove_refused, prove_retried, retried_case
    from blueprint.tasks.common.triggering import trigger

    provoked = (
        ("failing", ctx.settings.acceptance.failing, (), prove_failing),
        ("retried", retried_case(ctx), ("FAILED",), prove_retried),
    )
    made = {}
    for name, parameters, lost, _ in provoked:
        if parameters is not None:
            filled = fill(parameters, {"{source_url}": ctx.settings.source_url or "", "{key}": secrets.token_hex(8)})
            made[name] = trigger(ctx, control, f"28-{name}", filled, lost=lost)
    cases = [prove_refused(ctx, parameters) for parameters in ctx.settings.acceptance.refused]
    if not made and not cases:
        raise TaskSkipped("no acceptance case `retried`, `failing` or `refused` is configured")
    details: dict[str, Any] = {"refused": [case.outcome for case in cases]}
    for name, _, _, prove in provoked:
        if name in made:
            case, details[name] = prove(ctx, made[name][0], control)
            cases.insert(0, case)
    details["document"] = ctx.document(render(cases, of=ctx.label), ctx.key)
    reasons = [reason for _, reason in reversed(made.values()) if reason]
    return Evidence(
        f"{'; '.join(case.short for case in cases)}; written to {details['document']}",
        details,
        changed=bool(reasons),
        reason="; ".join(dict.fromkeys(reasons)),
    )
