"""Task 7: flow, parameter schema, tasks; the data source answers."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task


@task(
    7,
    "Verify data_pipeline.py",
    needs=(4,),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    proof="flow, parameter schema, tasks; the data source answers",
)
def verify_pipeline(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the flow loads, is as the settings expect, and that its data source answers."""
    flow = ctx.flow(control)
    for name, expected in ctx.settings.tasks.items():
        found = flow.tasks.get(name)
        if found != expected:
            raise TaskFailed(
                f"The flow's task {name} is {found or 'missing'}, expected {expected}.",
                where_to_look=ctx.settings.entrypoint,
                hint="Correct the flow, or [tool.blueprint.tasks] in pyproject.toml.",
            )
    source, reason = _data_source(ctx, control)
    tasks = {
        name: {"retries": policy.retries, "delay": policy.retry_delay_seconds, "tags": sorted(policy.tags)}
        for name, policy in flow.tasks.items()
    }
    parameters = ", ".join(flow.schema.get("properties", {})) or "none"
    return Evidence(
        f"flow {flow.name!r}, {len(tasks)} tasks, parameters {parameters}; {source}",
        {"flow": flow.name, "schema": dict(flow.schema), "tasks": tasks, "source": ctx.settings.source_url},
        changed=bool(reason),
        reason=reason,
    )


def _data_source(ctx: Context, control: TaskControl) -> tuple[str, str]:
    """Have the bundled source running, if it is the one to use, and read a page from whichever is configured."""
    from blueprint.core import http
    from blueprint.platform.base import PROBE_SECONDS
    from blueprint.tasks.common.proofs import failing

    url = ctx.settings.source_url
    if url is None:
        return "no data source configured", ""
    reason, where = "", url
    if ctx.settings.data_source == "bundled":
        where = "logs/source.log"
        started = ctx.platform.support[0].ensure(control)
        reason = f"data source: {started.reason}" if started.changed else ""
    hint = "See that it runs, then run `python run_blueprint.py --resume`."
    with failing(f"The data source {url} does not answer", where_to_look=where, hint=hint):
        answer = http.get(f"{url}{'&' if '?' in url else '?'}limit=1", timeout=PROBE_SECONDS)
    if answer.status != 200 or b'"records"' not in answer.body:
        raise TaskFailed(
            f"The data source {url} answers {answer.status} without records.",
            where_to_look=url,
            hint="Set data_source in [tool.blueprint] to a metrics API's address.",
        )
    return f"source {url} answers", reason
