"""Plan of an execution from its command line. Standard library only."""

from __future__ import annotations

from blueprint.cli.options import Options
from blueprint.core.errors import UsageError
from blueprint.execution.history import ExecutionRecord
from blueprint.execution.plan import Plan, make_plan
from blueprint.tasks.registry import specs


def plan_for(options: Options, last: ExecutionRecord | None) -> Plan:
    """Return the plan that was asked for; refuse to resume without a last execution."""
    if options.resume and last is None:
        raise UsageError("There is no execution to resume.", "Run `python run_blueprint.py --phase all`.")
    resume = last if options.resume or options.resume_from else None
    return make_plan(specs(), phase=options.phase, resume_from=options.resume_from, resume=resume)
