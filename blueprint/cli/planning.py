"""Plan of an execution from its command line. Standard library only."""

from __future__ import annotations

from blueprint.cli.options import Options
from blueprint.core.errors import UsageError
from blueprint.execution.history import History
from blueprint.execution.plan import Plan, make_plan
from blueprint.tasks.registry import specs


def plan_for(options: Options, history: History) -> Plan:
    """Return the plan that was asked for.

    Raises:
        UsageError: There is nothing to resume.
    """
    if not (options.resume or options.resume_from):
        return make_plan(specs(), phase=options.phase)
    last = history.last
    if options.resume and last is None:
        raise UsageError("There is no execution to resume.", "Run `python run_blueprint.py --phase all`.")
    return make_plan(specs(), resume_from=options.resume_from, resume=last)
