"""Task 26: the lines that each run wrote; server and worker logs."""

import re
from collections import Counter
from collections.abc import Iterable

from blueprint.core.http import NotReady
from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task

_LINE = re.compile(r"(?:Flow|Task) run '(?P<name>[^']+)' - (?P<message>.*)$")


def check_log_files(ctx: Context, control: TaskControl) -> Evidence:
    """Server and worker logs are there."""
    logs = ctx.workspace.logs
    for name in ("server.log", "worker.log"):
        if not (logs / name).is_file() or (logs / name).stat().st_size == 0:
            raise TaskFailed(f"logs/{name} is missing or empty.", where_to_look=str(logs))
    return Evidence("server.log and worker.log are there")


@task(
    26,
    "Check logs accessibility",
    needs=(22, 23, 24),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    shared=check_log_files,
    proof="the lines that each run wrote; server and worker logs",
)
def check_logs(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the API holds the lines that each run wrote to the worker's output."""
    from blueprint.core.waiting import wait_until
    from blueprint.prefect_adapter import flow_runs
    from blueprint.prefect_runtime.visible import without_controls
    from blueprint.processes.log import ServiceLog
    from blueprint.tasks.common.runs import latest_run, parameters_by_case

    runs = [latest_run(ctx, case) for case in parameters_by_case(ctx)]
    # A task run's name ends in three characters of its id, so that runs at work side by side now and then share one;
    # whose a line under such a name is cannot be told.
    every = {run.id for run in (*runs, *flow_runs.runs(tags=[ctx.execution_mark]))}
    names = {run_id: {task_run.name for task_run in flow_runs.task_runs(run_id)} for run_id in every}
    owners = Counter(name for of_run in names.values() for name in of_run)
    details = {}
    for run in runs:
        own = {name for name in names[run.id] if owners[name] == 1}
        lines = written(ServiceLog(ctx.workspace.worker_log).lines(ctx.log_start), run.name, own)
        if not lines:
            raise TaskFailed(
                f"The worker's log has no line of the flow run {run.name}.", where_to_look="logs/worker.log"
            )

        def held(run_id: str = run.id, name: str = run.name, lines: list[str] = lines) -> int:
            messages = flow_runs.logs(run_id)
            known = {without_controls(line) for message in messages for line in _told(message)}
            lost = [line for line in lines if without_controls(line) not in known]
            if lost:
                raise NotReady(f"the API lacks {len(lost)} of {len(lines)} lines of {name}, such as {lost[0]!r}")
            return len(messages)

        details[run.name] = {"flow_run_id": run.id, "written": len(lines), "held": wait_until(control, held)}
    told = ", ".join(f"{name} {counts['held']}" for name, counts in details.items())
    return Evidence(f"the API holds every line the runs wrote: {told}", details)


def _told(message: str) -> list[str]:
    """Return the first line of a message, and what further ones tell if they look like lines of the log."""
    from rich.emoji import Emoji  # Prefect prints by rich, which replaces `:warning:`

    first, *rest = Emoji.replace(message).split("\n")
    return [first, *(match["message"] for match in map(_LINE.search, rest) if match)]


def written(log: Iterable[str], run_name: str, task_names: set[str]) -> list[str]:
    """Return the messages of a run and its tasks, as its process printed them to the worker's log.

    Prefect prints the address of the run's page as well, and keeps that one line from the API (`send_to_api: False`).
    """
    lines = list(log)
    begins = [number for number, line in enumerate(lines) if f"Flow run '{run_name}' - Beginning flow run" in line]
    found: list[str] = []
    for line in lines[begins[-1] :] if begins else []:
        match = _LINE.search(line)
        if match is None or match["name"] not in {run_name, *task_names}:
            continue
        if not match["message"].startswith("View at "):
            found.append(match["message"].rstrip())
        if match["name"] == run_name and match["message"].startswith("Finished in state"):
            break
    return found
