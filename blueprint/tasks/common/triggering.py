"""Triggers one flow run for each case of an execution: by the API, or by Prefect's command."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blueprint.config.redaction import REDACTOR
from blueprint.core.task import Evidence, TaskControl, TaskFailed, TaskSkipped
from blueprint.platform import environment
from blueprint.prefect_adapter import flow_runs
from blueprint.prefect_adapter.client import Refused
from blueprint.prefect_adapter.models import Run
from blueprint.tasks.common import orphans, runs
from blueprint.tasks.context import Context

_ENDED_BADLY = ("CRASHED", "CANCELLED", "CANCELLING")
_NICENESS = 5  # the command imports Prefect while the runs before it are at work
_LONGEST_ARGUMENT = 100_000  # bytes; the system takes little more


def trigger(
    ctx: Context,
    control: TaskControl,
    case: int | str,
    parameters: Mapping[str, Any] | None,
    *,
    lost: tuple[str, ...] = ("FAILED",),
) -> tuple[Run, str]:
    """Have one flow run for a case of this execution, made by the API unless it is there.

    The key makes it exactly one, also when the executor is killed between asking and hearing the answer.

    Args:
        ctx: Of the task.
        control: Of the task.
        case: Its tag marks the run.
        parameters: Of the run; None for the deployment's.
        lost: The states in which a run is not counted, beside a crash and a cancellation.

    Returns:
        The run, and the reason why it was made just now; empty if it was there.
    """

    def make(earlier: list[Run]) -> Run:
        key = f"{ctx.tag(case)}:{len(earlier)}"
        deployed = ctx.require_deployment()
        try:
            return flow_runs.create_run(deployed.id, parameters, tags=ctx.tags(case), idempotency_key=key)
        except Refused as error:
            raise TaskFailed(
                f"The server refused the parameters of the run for case {case}: {error}",
                where_to_look="pyproject.toml [tool.blueprint] parameters and acceptance",
                hint="Correct the parameters there, then run `python run_blueprint.py --resume`.",
            ) from error

    return _have_run(ctx, control, case, lost, make)


def _have_run(
    ctx: Context, control: TaskControl, case: int | str, lost: tuple[str, ...], make: Callable[[list[Run]], Run]
) -> tuple[Run, str]:
    """Return the latest run that did not end otherwise than it should, nor lost its process; else make another."""
    earlier = ctx.runs_of(case)
    for run in reversed(earlier):
        if run.type not in (*lost, *_ENDED_BADLY) and not orphans.crash_if_lost(ctx, run, control):
            return run, ""
    reason = "no such run of this execution yet"
    if earlier:
        last = runs.require_run(earlier[-1].id)
        reason = f"the run before, {last.name}, ended {last.state}: {last.message or 'no message'}"
    return make(earlier), reason


def run_case(ctx: Context, control: TaskControl, case: int, name: str, *, as_json: bool) -> Evidence:
    """Trigger a configured case by Prefect's command, wait for its run's end, and prove what it did."""
    parameters = runs.parameters_by_case(ctx).get(case)
    if parameters is None:
        raise TaskSkipped(f"no acceptance case `{name}` is configured")
    flow_name = ctx.flow(control).name  # from here on the flow's secrets are known
    deployment = f"{flow_name}/{ctx.require_deployment().name}"
    arguments, given = command(deployment, parameters, as_json=as_json, tags=ctx.tags(case), redact=REDACTOR)
    shown = shlex.join(("prefect", *arguments))
    child = f"trigger-{case}{f'-{ctx.key}' if ctx.key else ''}"

    def make(earlier: list[Run]) -> Run:
        control.waiting("`prefect deployment run` to trigger it")
        env = environment.for_child(ctx.settings, ctx.workspace, COLUMNS="1000")
        program = Path(sys.executable).with_name("prefect")
        finished = ctx.run_child(child, [program, *arguments], control, env=env, niceness=_NICENESS, given=given)
        if finished.returncode != 0:
            said = " ".join(f"{finished.errors} {finished.output}".split())
            raise TaskFailed(
                f"`{shown}` ended with exit code {finished.returncode}: {said[-1000:]}",
                where_to_look="pyproject.toml [tool.blueprint.acceptance]",
                hint="Correct the parameters there, then run `python run_blueprint.py --resume`.",
            )
        known = {run.id for run in earlier}
        made = [run for run in ctx.runs_of(case) if run.id not in known]
        if not made:
            raise TaskFailed(
                f"`{shown}` ended with exit code 0, but the server has no flow run with its tag.",
                where_to_look=f"{ctx.settings.server_url}/runs",
            )
        return made[-1]

    # The command takes no idempotency key: one that an execution left when it was killed is ended before the look.
    ctx.end_child(child, control)
    made, reason = _have_run(ctx, control, case, ("FAILED",), make)
    run = runs.wait_for_end(ctx, made, control)
    details = runs.prove_completed(ctx, run, control)
    runs.require_parameters(ctx, run, parameters)
    return Evidence(
        f"run {run.name} with {dict(parameters)}: Completed, {runs.effect_summary(details)}",
        {"command": shown, "through_stdin": bool(given), **details},
        changed=bool(reason),
        reason=reason,
    )


def command(
    deployment: str,
    parameters: Mapping[str, Any],
    *,
    as_json: bool,
    tags: tuple[str, ...],
    redact: Callable[[Any], Any],
) -> tuple[list[str], str]:
    """Return the arguments of `prefect` for a run with these parameters, and the text for its standard input.

    Everybody on the machine can read the arguments: values that hold a secret go through standard input, and so do
    those that are too long.

    Args:
        deployment: As `flow/deployment`.
        parameters: Of the run, beside the deployment's defaults.
        as_json: Whether all of them as one JSON text, or each as `key=value`.
        tags: Of the run.
        redact: Replaces the secrets in JSON values.
    """

    def is_hidden(value: Any) -> bool:
        return redact(value) != value or len(json.dumps(value)) > _LONGEST_ARGUMENT

    arguments = ["deployment", "run", deployment]
    if as_json:
        hidden = parameters if is_hidden(parameters) else {}
        arguments += [] if hidden else ["--params", json.dumps(parameters)]
    else:
        hidden = {name: value for name, value in parameters.items() if is_hidden(value)}
        for name, value in parameters.items():
            arguments += [] if name in hidden else ["--param", f"{name}={json.dumps(value)}"]
    arguments += ["--params", "-"] if hidden else []
    for tag in tags:
        arguments += ["--tag", tag]
    return arguments, json.dumps(hidden) if hidden else ""
