"""Several deployments in one task: whose result would be lost or mixed up if it failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blueprint.config.settings import Settings
from blueprint.core.errors import EnvironmentRefused, ExitCode
from blueprint.core.task import Evidence, Status, TaskFailed, TaskSkipped, TaskStopped
from blueprint.core.workspace import Workspace
from blueprint.execution.events import Unit
from blueprint.execution.outcome import TaskOutcome, combine, raised, returned
from blueprint.platform.base import ApiEndpoint, Platform
from blueprint.prefect_adapter.flow_host import FlowHost
from blueprint.processes.log import BEGINNING
from blueprint.processes.manager import ServiceManager
from blueprint.tasks.context import Context
from blueprint.tasks.registry import Scope, specs
from blueprint.tasks.units import extra_seconds, unit_functions


def context(root: Path, *names: str, **values: Any) -> Context:
    tables = [{"deployment": name} for name in names]
    settings = Settings.model_validate({"entrypoint": "a.py:b", "deployments": tables, **values})
    workspace = Workspace(root)
    services = ServiceManager(root, "id")
    platform = Platform(ApiEndpoint(settings.api_url, settings.public_api_url), (), ())
    flows = FlowHost(workspace)

    def document(text: str, key: str) -> str:
        return f"{key}: {text}"

    return Context(settings, workspace, services, platform, flows, "origin", document, BEGINNING)


def shown(name: str, **more: Any) -> TaskOutcome:
    return returned(Evidence(f"ran {name}", {"of": name}, **more))


def test_the_evidence_of_each_is_kept_under_its_name() -> None:
    found = combine({"nightly": shown("nightly"), "hourly": shown("hourly")})
    assert found.summary == "nightly: ran nightly; hourly: ran hourly"
    assert {name: own["details"] for name, own in found.details["deployments"].items()} == {
        "nightly": {"of": "nightly"},
        "hourly": {"of": "hourly"},
    }
    assert found.status is Status.OK


def test_a_single_deployment_is_told_as_if_there_were_no_table() -> None:
    assert combine({"only": shown("only")}) == shown("only")
    shared = returned(Evidence("page served", {"page": 1}))
    both = combine({None: shared, "only": shown("only")})
    assert (both.summary, both.details) == ("page served; ran only", {"page": 1, "of": "only"})


def test_a_failure_names_the_deployment_and_keeps_what_the_others_showed() -> None:
    def failed(name: str) -> TaskOutcome:
        return raised(TaskFailed(f"no rows in {name}.", where_to_look="the log", hint="Mend it.", details={"n": 0}))

    found = combine({"nightly": shown("nightly"), "hourly": failed("hourly"), "weekly": failed("weekly")})
    assert found.status is Status.FAILED
    assert found.summary == "hourly: no rows in hourly.; weekly: no rows in weekly. Passed: nightly."
    assert (found.where_to_look, found.hint) == ("the log", "Mend it.")
    each = found.details["deployments"]
    assert [each[name]["status"] for name in ("nightly", "hourly", "weekly")] == ["ok", "failed", "failed"]
    assert each["nightly"]["details"] == {"of": "nightly"}
    assert each["weekly"]["details"] == {"n": 0}


def test_what_could_be_proven_of_one_only_is_not_shown_as_proven_of_all() -> None:
    skipped = raised(TaskSkipped("no schedule"))
    found = combine({"nightly": shown("nightly", changed=True, reason="it was not there"), "hourly": skipped})
    assert found.status is Status.CHANGED
    assert found.summary == "nightly: ran nightly; hourly: skipped, no schedule"
    assert found.reason == "nightly: it was not there"
    found = combine({"hourly": skipped, "weekly": skipped})
    assert (found.status, found.summary) == (Status.SKIPPED, "no schedule")


def test_the_failure_of_the_shared_part_is_the_tasks() -> None:
    shared = returned(Evidence("page served", {"page": 1}, changed=True, reason="it was gone"))
    found = combine({None: shared, "a": shown("a"), "b": shown("b")})
    assert (found.summary, found.reason) == ("page served; a: ran a; b: ran b", "it was gone")
    assert set(found.details) == {"page", "deployments"}
    assert combine({None: raised(TaskFailed("no page")), "a": shown("a"), "b": shown("b")}).summary == "no page"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EnvironmentRefused("port taken", "free it"), ExitCode.ENVIRONMENT),
        (ZeroDivisionError("x"), ExitCode.BUG),
        (TaskStopped("it did not end in time"), ExitCode.TASK_FAILED),
    ],
)
def test_the_exit_code_is_that_of_the_worst_deployment(error: Exception, code: ExitCode) -> None:
    found = combine({"nightly": shown("nightly"), "hourly": raised(error), "weekly": raised(TaskFailed("no rows"))})
    assert found.exit_code is code
    assert "hourly: " in found.summary


def test_two_deployments_of_one_flow_never_share_a_run_a_file_or_a_process(tmp_path: Path) -> None:
    """Prefect's idempotency keys hold for a flow, not for a deployment."""
    names = ("a b", "a-b", "A-b", "ä", "x" * 200, "nightly")
    each = list(context(tmp_path, *names).each().values())
    assert len({one.tag(21) for one in each}) == len(names)
    keys = [one.key for one in each]
    assert len(set(keys)) == len(names)
    assert keys[-1] == "nightly"
    assert all(one.replace("-", "").replace("_", "").isalnum() and one.isascii() and len(one) < 60 for one in keys)
    assert each[0].execution_mark in each[0].tags(21)
    (only,) = context(tmp_path, "only").each().values()
    assert (only.key, only.tags(21)) == ("", ("blueprint:origin:21", "blueprint:origin"))


def test_every_task_is_carried_out_once_or_for_each_deployment(tmp_path: Path) -> None:
    units = set(unit_functions(context(tmp_path, "a", "b")))
    assert {unit.task for unit in units} == set(range(5, 31))
    once = {unit.task for unit in units} - {unit.task for unit in units if unit.deployment}
    assert once == {5, 6, 8, 11, 12, 13, 19, 27}
    assert {Unit(17), Unit(17, "a"), Unit(17, "b")} <= units


def test_deadlines_grow_with_every_deployment_and_with_the_longest_run(tmp_path: Path) -> None:
    alone = extra_seconds(context(tmp_path, "a", run_seconds=60).settings)
    assert alone == {9: 60, 22: 60, 23: 60, 24: 60, 28: 120}
    three = extra_seconds(context(tmp_path, "a", "b", "c", run_seconds=60, pool_concurrency_limit=5).settings)
    assert set(three) == {spec.number for spec in specs() if spec.scope is Scope.DEPLOYMENT}
    assert three[7] == 40
    assert three[22] == 40 + 3 * 60  # 15 runs, five at a time
