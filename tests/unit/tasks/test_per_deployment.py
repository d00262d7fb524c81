"""Several deployments in one task: whose result would be lost, mixed up or waited for in vain if it failed."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blueprint.config.settings import Settings
from blueprint.core.errors import EnvironmentRefused, ExitCode
from blueprint.core.task import Evidence, Status, TaskControl, TaskFailed, TaskSkipped, TaskStopped, within
from blueprint.core.workspace import Workspace
from blueprint.execution import outcome as verdict
from blueprint.execution.outcome import TaskOutcome
from blueprint.platform.base import ApiEndpoint, Platform
from blueprint.prefect_adapter.flow_host import FlowHost
from blueprint.processes.manager import ServiceManager
from blueprint.tasks.functions import FUNCTIONS, OF_EACH, Context, extra_seconds
from blueprint.tasks.per_deployment import Function, in_turn, side_by_side

BOTH = pytest.mark.parametrize("over_each", [in_turn, side_by_side])
OverEach = Callable[..., Function]


def context(root: Path, *names: str, **values: Any) -> Context:
    tables = [{"deployment": name} for name in names]
    settings = Settings.model_validate({"entrypoint": "a.py:b", "deployments": tables, **values})
    return Context(
        settings,
        Workspace(root),
        ServiceManager(root, "id"),
        Platform(ApiEndpoint(settings.api_url, settings.public_api_url), (), ()),
        FlowHost(Workspace(root)),
        "origin",
        lambda text, key: f"{key}: {text}",
    )


def outcome(function: Function, ctx: Context, control: TaskControl | None = None) -> TaskOutcome:
    try:
        return verdict.returned(function(ctx, control or within(30)))
    except Exception as error:  # noqa: BLE001  judged as the executor judges it
        return verdict.raised(error)


def shown(ctx: Context, _handle: TaskControl) -> Evidence:
    return Evidence(f"ran {ctx.settings.deployment}", {"of": ctx.label})


@BOTH
def test_the_evidence_of_each_is_kept_under_its_name(tmp_path: Path, over_each: OverEach) -> None:
    found = outcome(over_each(shown), context(tmp_path, "nightly", "hourly"))
    assert found.summary == "nightly: ran nightly; hourly: ran hourly"
    assert {name: one["details"] for name, one in found.details["deployments"].items()} == {
        "nightly": {"of": "nightly"},
        "hourly": {"of": "hourly"},
    }
    assert found.status is Status.OK


@BOTH
def test_a_single_deployment_is_told_as_if_there_were_no_table(tmp_path: Path, over_each: OverEach) -> None:
    found = outcome(over_each(shown), context(tmp_path, "only"))
    assert (found.summary, found.details) == ("ran only", {"of": ""})


@BOTH
def test_a_failure_names_the_deployment_and_keeps_what_the_others_showed(tmp_path: Path, over_each: OverEach) -> None:
    def task(ctx: Context, control: TaskControl) -> Evidence:
        if ctx.label in ("hourly", "weekly"):
            raise TaskFailed(f"no rows in {ctx.label}.", where_to_look="the log", hint="Mend it.", details={"n": 0})
        return shown(ctx, control)

    found = outcome(over_each(task), context(tmp_path, "nightly", "hourly", "weekly"))
    assert found.status is Status.FAILED
    assert found.summary == "hourly: no rows in hourly.; weekly: no rows in weekly. Passed: nightly."
    assert (found.where_to_look, found.hint) == ("the log", "Mend it.")
    each = found.details["deployments"]
    assert [each[name]["status"] for name in ("nightly", "hourly", "weekly")] == ["ok", "failed", "failed"]
    assert each["nightly"]["details"] == {"of": "nightly"}
    assert each["weekly"]["details"] == {"n": 0}


@BOTH
def test_what_could_be_proven_of_one_only_is_not_shown_as_proven_of_all(tmp_path: Path, over_each: OverEach) -> None:
    def task(ctx: Context, control: TaskControl) -> Evidence:
        if ctx.label != "nightly":
            raise TaskSkipped("no schedule")
        return dataclasses.replace(shown(ctx, control), changed=True, reason="it was not there")

    found = outcome(over_each(task), context(tmp_path, "nightly", "hourly"))
    assert found.status is Status.CHANGED
    assert found.summary == "nightly: ran nightly; hourly: skipped, no schedule"
    assert found.reason == "nightly: it was not there"
    found = outcome(over_each(task), context(tmp_path, "hourly", "weekly"))
    assert (found.status, found.summary) == (Status.SKIPPED, "no schedule")


@BOTH
def test_what_is_of_the_platform_is_done_once_and_its_failure_is_the_tasks(tmp_path: Path, over_each: OverEach) -> None:
    calls: list[str] = []

    def first(ctx: Context, _handle: TaskControl) -> Evidence:
        calls.append(ctx.label)
        return Evidence("page served", {"page": 1}, changed=True, reason="it was gone")

    found = outcome(over_each(shown, first=first), context(tmp_path, "a", "b"))
    assert calls == [""]
    assert (found.summary, found.reason) == ("page served; a: ran a; b: ran b", "it was gone")
    assert set(found.details) == {"page", "deployments"}

    def broken(_ctx: Context, _handle: TaskControl) -> Evidence:
        raise TaskFailed("no page")

    assert outcome(over_each(shown, first=broken), context(tmp_path, "a", "b")).summary == "no page"


@BOTH
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EnvironmentRefused("port taken", "free it"), ExitCode.ENVIRONMENT),
        (ZeroDivisionError("x"), ExitCode.BUG),
        (TaskStopped("it did not end in time"), ExitCode.TASK_FAILED),
    ],
)
def test_the_exit_code_is_that_of_the_worst_deployment(
    tmp_path: Path, over_each: OverEach, error: Exception, code: ExitCode
) -> None:
    def task(ctx: Context, control: TaskControl) -> Evidence:
        if ctx.label == "hourly":
            raise error
        if ctx.label == "weekly":
            raise TaskFailed("no rows")
        return shown(ctx, control)

    found = outcome(over_each(task), context(tmp_path, "nightly", "hourly", "weekly"))
    assert found.exit_code is code
    assert "hourly: " in found.summary


def test_waiting_for_several_deployments_takes_no_longer_than_for_one(tmp_path: Path) -> None:
    meeting = threading.Barrier(3)

    def task(ctx: Context, control: TaskControl) -> Evidence:
        meeting.wait(timeout=10)  # passes only if all are at work at the same time
        return shown(ctx, control)

    assert outcome(side_by_side(task), context(tmp_path, "a", "b", "c")).status is Status.OK


def test_an_interruption_ends_all_deployments_at_once(tmp_path: Path) -> None:
    control = within(60)

    def task(_ctx: Context, control: TaskControl) -> Evidence:
        control.pause(60)
        return Evidence("not interrupted")

    threading.Timer(0.2, control.stopped.set).start()
    began = time.monotonic()
    with pytest.raises(TaskStopped):
        side_by_side(task)(context(tmp_path, "a", "b"), control)
    assert time.monotonic() - began < 1


def test_a_deployment_that_hangs_does_not_take_the_others_results_with_it(tmp_path: Path) -> None:
    release = threading.Event()

    def task(ctx: Context, control: TaskControl) -> Evidence:
        if ctx.label == "hangs":
            release.wait(30)  # deaf to its handle
        return shown(ctx, control)

    try:
        found = outcome(side_by_side(task), context(tmp_path, "hangs", "runs"), within(0.2))
    finally:
        release.set()
    assert found.summary == "hangs: It did not end in time. Passed: runs."
    assert found.details["deployments"]["runs"]["details"] == {"of": "runs"}


def test_what_is_waited_for_is_told_with_the_deployment_that_waits(tmp_path: Path) -> None:
    told: list[str] = []

    def task(ctx: Context, control: TaskControl) -> Evidence:
        control.waiting("its run")
        return shown(ctx, control)

    outcome(side_by_side(task), context(tmp_path, "a", "b"), dataclasses.replace(within(5), tell=told.append))
    assert sorted(told) == ["a: its run", "b: its run"]


def test_two_deployments_of_one_flow_never_share_a_run_a_file_or_a_process(tmp_path: Path) -> None:
    """Prefect's idempotency keys hold for a flow, not for a deployment."""
    names = ("a b", "a-b", "A-b", "ä", "x" * 200, "nightly")
    each = context(tmp_path, *names).each()
    assert len({one.tag(21) for one in each}) == len(names)
    keys = [one.key for one in each]
    assert len(set(keys)) == len(names)
    assert keys[-1] == "nightly"
    assert all(one.replace("-", "").replace("_", "").isalnum() and one.isascii() and len(one) < 60 for one in keys)
    assert each[0].execution_mark in each[0].tags(21)
    (only,) = context(tmp_path, "only").each()
    assert (only.key, only.tags(21)) == ("", ("blueprint:origin:21", "blueprint:origin"))


def test_every_task_of_the_platform_and_of_a_deployment_is_there() -> None:
    assert list(FUNCTIONS) == list(range(5, 31))
    assert set(FUNCTIONS) - set(OF_EACH) == {5, 6, 8, 11, 12, 13, 19, 27}


def test_deadlines_grow_with_every_deployment_and_with_the_longest_run(tmp_path: Path) -> None:
    alone = extra_seconds(context(tmp_path, "a", run_seconds=60).settings)
    assert alone == {9: 60, 22: 60, 23: 60, 24: 60, 28: 120}
    three = extra_seconds(context(tmp_path, "a", "b", "c", run_seconds=60, pool_concurrency_limit=5).settings)
    assert set(three) == set(OF_EACH)
    assert three[7] == 40
    assert three[22] == 40 + 3 * 60  # 15 runs, five at a time
