"""Flow runs that the server believes to be at work although their process is gone.

A worker reports the end of its runs' processes; one that was killed, or stopped with the machine, cannot. Such a run
would stay Running for ever, be waited for in vain, and hold a slot of the pool. It is marked Crashed, which is what
the worker would have said. Not proven means left alone: a run that another worker took, online or not, is never
touched, nor one that another may have taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from blueprint.core.errors import ApiError
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl
from blueprint.platform import specs
from blueprint.platform.status import read_workers
from blueprint.prefect_adapter import deployments, flow_runs
from blueprint.prefect_adapter.models import Run
from blueprint.processes.ownership import tagged_processes
from blueprint.processes.table import command_line, find_again, variable
from blueprint.tasks.context import Context

_AT_WORK = ("PENDING", "RUNNING", "CANCELLING")
MESSAGE = "Its process is gone, and nobody was left to say so. Marked by Blueprint."
_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"  # Prefect gives it to the process of each flow run
# flow.serve forks a run's process by multiprocessing, which does not tell from outside which run it has: with one of
# them at work, any run may be its.
_SERVED_PROCESS = "multiprocessing.spawn"
_REPORT_SECONDS = 10.0  # within which a worker that lives reports that a run's process has ended
_START_SECONDS = 60.0  # within which it starts one that it has taken; a busy machine was seen to need 15
_LOOK_SECONDS = 2.0  # a look goes through all processes of the machine


def _have_processes(ctx: Context, runs: Iterable[Run]) -> set[str]:
    """Return the ids of those of the flow runs that have, or may have, a running process of ours."""
    tagged = tagged_processes(ctx.services.workspace).values()
    run_of = {process.pid: variable(process.pid, _RUN_VARIABLE) for family in tagged for process in family}
    if any(_SERVED_PROCESS in part for pid in run_of for part in command_line(pid)):
        return {run.id for run in runs}
    named = {run_id for run_id in run_of.values() if run_id}
    return named | {run.id for run in runs if run.pid in run_of and run_of[run.pid] is None}


def crash_those_before_the_worker(ctx: Context, service: str = specs.WORKER) -> list[str]:
    """Mark the deployments' runs that ours took before this process of it was started, and that have no process.

    Returns:
        The names of the runs that were marked.
    """
    record = ctx.services.record(service)
    process = find_again(record.identity) if record else None
    if process is None:
        return []
    started = datetime.now(UTC) - timedelta(seconds=process.age())
    names = {own.settings.deployment for own in ctx.each().values()}
    found = [deployment for name in sorted(names) for deployment in deployments.deployments_named(name)]
    at_work = [run for deployment in found for run in flow_runs.runs(deployment_id=deployment.id, types=_AT_WORK)]
    executing = _have_processes(ctx, at_work) if at_work else set()
    lost = [run for run in at_work if run.id not in executing and _is_ours(ctx, run)]
    return crash(run for run in lost if flow_runs.transitions(run.id)[-1].at < started)


def crash_if_lost(ctx: Context, run: Run, control: TaskControl) -> bool:
    """Mark a run whose process is missing for longer than a worker takes to start or report it.

    Returns:
        Whether it was marked. At once False when the run is not at work, or has its process.
    """
    watch = Watch(ctx, control)
    while not watch.sees_lost(run):
        now = flow_runs.run(run.id)
        if now is None or watch.missing_since is None or not _is_ours(ctx, now):
            return False
        control.waiting(f"the process of flow run {run.name}, which is {now.state}")
        control.pause(_LOOK_SECONDS)
        run = now
    crash([run])
    return True


@dataclass
class Watch:
    """Looks at a run from time to time, and says when its process has been missing for too long.

    Attributes:
        missing_since: On the control's clock, when the process was first not there; None while all is well.
    """

    ctx: Context
    control: TaskControl
    missing_since: float | None = None
    _next_look: float = 0.0

    def sees_lost(self, run: Run) -> bool:
        """Tell whether the run, as just read, is at work without a process, and has been for a while."""
        now = self.control.clock()
        if run.type not in _AT_WORK:
            self.missing_since = None
        elif now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            if run.id in _have_processes(self.ctx, [run]):
                self.missing_since = None
            elif self.missing_since is None:
                self.missing_since = now
        patience = _START_SECONDS if run.type == "PENDING" else _REPORT_SECONDS
        long_enough = self.missing_since is not None and now - self.missing_since >= patience
        return long_enough and _is_ours(self.ctx, run)


def local_tag(ctx: Context) -> str:
    """Return the tag of the deployment's local runs in this folder, whichever execution made them."""
    return f"blueprint-local:{ctx.services.workspace[:8]}{f'/{ctx.label}' if ctx.label else ''}"


def crash_local(ctx: Context) -> list[str]:
    """Mark the deployment's local runs here that were at work, once none of their processes is left; return names."""
    return crash(flow_runs.runs(tags=[local_tag(ctx)], types=_AT_WORK))


def crash(runs: Iterable[Run]) -> list[str]:
    """Mark runs, unless they have ended by themselves meanwhile, and return their names."""
    names = []
    for run in runs:
        flow_runs.set_crashed(run.id, MESSAGE, force=run.type == "CANCELLING")  # which goes nowhere else by itself
        names.append(run.name)
    return names


def _is_ours(ctx: Context, run: Run) -> bool:
    """Tell whether ours took the run, by what the server recorded; before it did, by who else could have."""
    ours = specs.worker_name(ctx.services.workspace)
    if run.worker is not None:
        return run.worker == ours
    if ctx.settings.serves:
        return True
    try:
        return set(read_workers(ctx.platform.api, ctx.settings.pool)) <= {ours}
    except (NotReady, ApiError):
        return False  # not proven ours
