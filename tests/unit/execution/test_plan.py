"""What would run: for every phase, every task to resume from, and every way in which an execution can have ended."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.core.task import Status, TaskSpec
from blueprint.execution.events import ExecutionStarted, Unit
from blueprint.execution.history import ExecutionRecord, UnitRecord
from blueprint.execution.outcome import TaskOutcome
from blueprint.execution.plan import Mode, Plan, longest_chains, make_plan
from blueprint.tasks.registry import specs

ALL = tuple(range(1, 31))


def needed_by(numbers: tuple[int, ...]) -> set[int]:
    """All that they need, by the definition: direct needs, and the needs of those."""
    direct = {need for number in numbers for need in specs()[number - 1].needs}
    return direct | needed_by(tuple(direct)) if direct else set()


def ended(plan: Plan, statuses: Mapping[int, Status], execution: str = "E1") -> ExecutionRecord:
    return ExecutionRecord(
        id=execution,
        started=ExecutionStarted(origin=plan.origin or execution, plan=plan.as_record()),
        units={
            Unit(number): UnitRecord(outcome=TaskOutcome(status), finished_at="2026-01-01T00:00:00+00:00")
            for number, status in statuses.items()
        },
    )


def assert_sound(plan: Plan) -> None:
    """Every task is there once, with a reason, and nothing is run whose needs are left out."""
    assert tuple(task.spec.number for task in plan.tasks) == ALL
    assert all(task.reason for task in plan.tasks if task.mode is not Mode.NOT_NEEDED)
    for number in plan.planned:
        for need in specs()[number - 1].needs:
            assert plan.by_number[need].mode is not Mode.NOT_NEEDED, (number, need)
    needed = needed_by(plan.to_run)
    assert {n for n in plan.planned if plan.by_number[n].mode is Mode.CHECK} == needed - set(plan.to_run)


def test_without_arguments_all_thirty_tasks_run() -> None:
    plan = make_plan(specs())
    assert plan.to_run == plan.planned == ALL
    assert plan.origin is None
    assert_sound(plan)


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_a_phase_runs_its_ten_tasks_and_checks_what_they_need(phase: int) -> None:
    plan = make_plan(specs(), phase=phase)
    assert plan.to_run == tuple(range(10 * phase - 9, 10 * phase + 1))
    assert_sound(plan)


def test_phase_two_does_not_repeat_what_only_phase_one_is_about() -> None:
    plan = make_plan(specs(), phase=2)
    assert [n for n in ALL if plan.by_number[n].mode is Mode.CHECK] == [1, 2, 3, 4, 6, 7, 8]
    assert plan.by_number[9].mode is Mode.NOT_NEEDED
    assert plan.by_number[8].reason == "needed by task 11"
    assert plan.by_number[9].reason == "not part of phase 2"


@pytest.mark.parametrize("first", ALL)
def test_resume_from_a_task_runs_it_and_all_after_it(first: int) -> None:
    plan = make_plan(specs(), resume_from=first)
    assert plan.to_run == tuple(range(first, 31))
    assert_sound(plan)


def test_resume_from_keeps_the_origin_so_that_no_flow_run_is_made_twice() -> None:
    last = ExecutionRecord(id="E2", started=ExecutionStarted(origin="E1"))
    plan = make_plan(specs(), resume_from=14, resume=last)
    assert plan.origin == "E1"
    assert plan.to_run == tuple(range(14, 31))


@pytest.mark.parametrize("status", [Status.INTERRUPTED, Status.FAILED, Status.BLOCKED, None])
def test_resume_goes_on_from_the_first_task_that_did_not_pass(status: Status | None) -> None:
    statuses = dict.fromkeys(range(1, 14), Status.OK) | ({} if status is None else {14: status})
    plan = make_plan(specs(), resume=ended(make_plan(specs()), statuses))
    assert plan.to_run == tuple(range(14, 31))
    assert plan.origin == "E1"
    assert plan.by_number[14].reason == f"{status.value if status else 'not reached'} in the last execution"
    assert_sound(plan)


def test_resume_does_not_repeat_a_later_task_that_passed_while_an_earlier_one_failed() -> None:
    statuses = dict.fromkeys(ALL, Status.OK) | {26: Status.FAILED, 30: Status.BLOCKED}
    plan = make_plan(specs(), resume=ended(make_plan(specs()), statuses))
    assert plan.to_run == (26, 30)
    assert plan.by_number[27].mode is Mode.CHECK  # task 30 needs it, so it must still hold
    assert_sound(plan)


def test_resume_of_one_phase_does_not_grow_into_the_others() -> None:
    statuses = dict.fromkeys((1, 2, 3, 4, 6, 7, 8, 11, 12, 13), Status.OK) | {14: Status.FAILED}
    plan = make_plan(specs(), resume=ended(make_plan(specs(), phase=2), statuses))
    assert plan.to_run == tuple(range(14, 21))
    assert plan.by_number[9].mode is plan.by_number[21].mode is Mode.NOT_NEEDED
    assert_sound(plan)


def test_resume_after_a_resumption_that_was_killed_while_it_checked_forgets_nothing() -> None:
    first = ended(make_plan(specs()), dict.fromkeys(range(1, 21), Status.CHANGED) | {21: Status.INTERRUPTED})
    second = ended(make_plan(specs(), resume=first), {1: Status.OK, 2: Status.INTERRUPTED}, "E2")
    plan = make_plan(specs(), resume=second)
    assert plan.to_run == tuple(range(21, 31))
    assert plan.origin == "E1"
    assert plan.by_number[2].mode is Mode.CHECK
    assert_sound(plan)


@pytest.mark.parametrize("status", [Status.OK, Status.CHANGED, Status.SKIPPED])
def test_resume_of_an_execution_that_passed_says_so_and_runs_nothing(status: Status) -> None:
    plan = make_plan(specs(), resume=ended(make_plan(specs()), dict.fromkeys(ALL, status)))
    assert plan.to_run == plan.planned == ()
    assert {task.reason for task in plan.tasks} == {"passed in the last execution"}


@given(st.dictionaries(st.sampled_from(ALL), st.sampled_from(Status)), st.sampled_from([None, 1, 2, 3]))
def test_resume_is_sound_however_the_last_execution_ended(statuses: dict[int, Status], phase: int | None) -> None:
    before = make_plan(specs(), phase=phase)
    plan = make_plan(specs(), resume=ended(before, statuses))
    assert_sound(plan)
    proven = {number for number, status in statuses.items() if status.passed}
    assert set(plan.to_run) == set(before.to_run) - proven


def test_the_journal_keeps_a_plan_in_full() -> None:
    kept = make_plan(specs(), phase=3).as_record()
    assert kept["1"] == "check first"
    assert kept["5"] == "not needed"
    assert kept["21"] == "run"
    assert list(kept) == [str(number) for number in ALL]


def test_the_catalogs_needs_point_backwards_so_that_one_job_means_by_number() -> None:
    assert all(need < spec.number for spec in specs() for need in spec.needs)


def test_a_large_graph_is_planned_without_a_deep_recursion() -> None:
    chain = tuple(
        TaskSpec(n, "", 1 if n < 20_000 else 2, 1.0, "", needs=(n - 1,) if n > 1 else ()) for n in range(1, 20_001)
    )
    plan = make_plan(chain, phase=2)
    assert len(plan.planned) == 20_000
    assert plan.to_run == (20_000,)


def test_what_takes_longest_is_begun_before_the_checks_beside_it() -> None:
    chains = longest_chains(
        {spec.number: spec.needs for spec in specs()}, {spec.number: spec.timeout for spec in specs()}
    )
    assert max((5, 6, 7, 8), key=chains.__getitem__) == 8  # the server, of all that need only the packages
    assert max((19, 23, 24, 27, 28), key=chains.__getitem__) == 28  # the run with all the retries
