"""The lines that flow runs wrote to the worker's log: the other side of what the API must hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from blueprint.prefect_adapter import flow_runs
from blueprint.prefect_adapter.models import Run
from blueprint.processes.log import BEGINNING, LogPosition, ServiceLog

_LINE = re.compile(r"(?:Flow|Task) run '(?P<name>[^']+)' - (?P<message>.*)$")


def own_task_names(runs: Iterable[Run], others: Iterable[Run]) -> Mapping[str, set[str]]:
    """Return, for each run's id, the names of its task runs that no other run has.

    A task run's name ends in three characters of its id, so that runs at work side by side now and then share one;
    whose a line under such a name is cannot be told.
    """
    every = {run.id: run for run in (*runs, *others)}
    names = {run_id: {task_run.name for task_run in flow_runs.task_runs(run_id)} for run_id in every}
    owners = Counter(name for of_run in names.values() for name in of_run)
    return {run_id: {name for name in of_run if owners[name] == 1} for run_id, of_run in names.items()}


def written(log: Path, run_name: str, task_names: set[str], since: LogPosition = BEGINNING) -> list[str]:
    """Return the messages of a run and its tasks as its process printed them.

    Prefect prints the address of the run's page as well, and keeps that one line from the API (`send_to_api: False`).

    Args:
        log: The worker's.
        run_name: The run's name.
        task_names: The names of its task runs.
        since: The place in the log to read from.
    """
    lines = list(ServiceLog(log).lines(since))
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
