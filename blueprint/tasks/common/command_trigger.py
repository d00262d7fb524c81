"""Triggers a run as a user does at the command line, with `prefect deployment run`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.config.redaction import REDACTOR
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.platform import environment
from blueprint.tasks.common import tagged_child
from blueprint.tasks.common.triggering import Triggered, run_there, why_another
from blueprint.tasks.context import Context

_NICENESS = 5  # the command imports Prefect while the runs before it are at work
_LONGEST_ARGUMENT = 100_000  # bytes; the system takes little more


@dataclass(frozen=True)
class Command:
    """A call of `prefect deployment run`.

    Attributes:
        arguments: The arguments of `prefect`; everybody on the machine can read them.
        given: Text for its standard input.
    """

    arguments: tuple[str, ...]
    given: str = ""

    def __str__(self) -> str:
        """Return it as a line of a shell."""
        return shlex.join(("prefect", *self.arguments))


def command(
    deployment: str,
    parameters: Mapping[str, Any],
    *,
    as_json: bool,
    tags: tuple[str, ...],
    redact: Callable[[Any], Any],
) -> Command:
    """Build the call for these parameters; values that hold a secret, or are too long, go through standard input.

    Args:
        deployment: As `flow/deployment`.
        parameters: Of the run, beside the deployment's defaults.
        as_json: Whether all of them as one JSON text, or each as `key=value`.
        tags: Of the run.
        redact: Replaces the secrets in JSON values.
    """

    def is_hidden(value: Any) -> bool:
        return redact(value) != value or len(json.dumps(value)) > _LONGEST_ARGUMENT

    if as_json:
        text = json.dumps(parameters)
        options, given = (["--params", "-"], text) if is_hidden(parameters) else (["--params", text], "")
    else:
        hidden = {name: value for name, value in parameters.items() if is_hidden(value)}
        shown = {name: value for name, value in parameters.items() if name not in hidden}
        options = [part for name, value in shown.items() for part in ("--param", f"{name}={json.dumps(value)}")]
        options, given = ([*options, "--params", "-"], json.dumps(hidden)) if hidden else (options, "")
    marks = [part for tag in tags for part in ("--tag", tag)]
    return Command(("deployment", "run", deployment, *options, *marks), given)


def trigger_by_command(
    ctx: Context, control: TaskControl, case: int, parameters: Mapping[str, Any], *, as_json: bool
) -> tuple[Triggered, Command]:
    """Have one flow run for a case of this execution, made by the command unless it is there.

    The command takes no idempotency key. What an execution that was killed has left of it is ended first; the run that
    it made is found by its tag.

    Raises:
        TaskFailed: The command failed, or made no run.
    """
    deployed = ctx.require_deployment()
    full_name = f"{ctx.flow(control).name}/{deployed.name}"  # from here on the flow's secrets are known
    call = command(full_name, parameters, as_json=as_json, tags=ctx.tags(case), redact=REDACTOR)
    name = f"trigger-{case}{f'-{ctx.key}' if ctx.key else ''}"
    tagged_child.end_leftovers(ctx, name, control)
    earlier = ctx.runs_of(case)
    there = run_there(ctx, earlier, control)
    if there is not None:
        return Triggered(there, created=False), call
    control.waiting("`prefect deployment run` to trigger it")
    finished = tagged_child.run(
        ctx,
        name,
        (Path(sys.executable).with_name("prefect"), *call.arguments),
        control,
        env=environment.for_child(ctx.settings, ctx.workspace, COLUMNS="1000"),
        niceness=_NICENESS,
        given=call.given,
    )
    if finished.returncode != 0:
        said = " ".join(f"{finished.errors} {finished.output}".split())
        raise TaskFailed(
            f"`{call}` ended with exit code {finished.returncode}: {said[-1000:]}",
            where_to_look="pyproject.toml [tool.blueprint.acceptance]",
            hint="Correct the parameters there, then run `python run_blueprint.py --resume`.",
        )
    known = {run.id for run in earlier}
    made = [run for run in ctx.runs_of(case) if run.id not in known]
    if not made:
        raise TaskFailed(
            f"`{call}` ended with exit code 0, but the server has no flow run with its tag.",
            where_to_look=f"{ctx.settings.server_url}/runs",
        )
    return Triggered(made[-1], created=True, reason=why_another(earlier)), call
