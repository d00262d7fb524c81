"""The executor with real threads, a real journal and real time: order, concurrency, deadlines, interruption."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.core.errors import EnvironmentRefused, ExitCode, UsageError
from blueprint.core.task import Evidence, Status, TaskControl, TaskFailed, TaskSkipped, TaskSpec, TaskStopped
from blueprint.execution.events import Event, ExecutionFinished, ExecutionStarted, Unit
from blueprint.execution.executor import Executor, UnitFunction
from blueprint.execution.history import ExecutionRecord, load
from blueprint.execution.journal import Journal, read
from blueprint.execution.plan import Mode, Plan, PlannedTask, longest_chains, make_plan

ROOT = Path(__file__).resolve().parents[3]

Needs = Mapping[int, tuple[int, ...]]


def specs(needs: Needs, seconds: float = 30.0) -> tuple[TaskSpec, ...]:
    return tuple(TaskSpec(number, f"Task {number}", 1, seconds, "", needs=needs[number]) for number in sorted(needs))


class Bench:
    """A plan over small tasks, with what was recorded and told."""

    def __init__(self, needs: Needs, *, seconds: float = 30.0, plan: Plan | None = None, **options: Any) -> None:
        self.plan = plan or make_plan(specs(needs, seconds))
        self.records: list[dict[str, Any]] = []
        self.told: list[tuple[int, str]] = []
        options = {"tell": lambda unit, text: self.told.append((unit.task, text))} | options
        self.execution = Executor(self.plan, self.record, **options)

    def record(self, event: Event) -> None:
        if event.kind != "units planned":
            self.records.append({"kind": event.kind, **event.fields()})

    def run(self, *functions: UnitFunction, **by_name: UnitFunction) -> dict[int, Status]:
        """Run task 1, 2, … with these functions, all others with one that passes; `t3=…` names task 3's."""
        all_functions = dict.fromkeys(self.plan.planned, passes) | dict(enumerate(functions, start=1))
        self.execution.run(units(all_functions | {int(name[1:]): function for name, function in by_name.items()}))
        return self.execution.statuses

    def order(self, kind: str = "task started") -> list[int]:
        return [record["task"] for record in self.records if record["kind"] == kind]

    def finished(self, number: int) -> dict[str, Any]:
        (found,) = (r for r in self.records if r["kind"] == "task finished" and r["task"] == number)
        return found


def units(functions: Mapping[int, UnitFunction]) -> dict[Unit, UnitFunction]:
    return {Unit(number): function for number, function in functions.items()}


def passes(_handle: TaskControl) -> Evidence:
    return Evidence("seen")


def fails(_handle: TaskControl) -> Evidence:
    raise TaskFailed("no rows", where_to_look="server.log", hint="look", details={"rows": 0})


def raises(error: BaseException) -> UnitFunction:
    def function(_handle: TaskControl) -> Evidence:
        raise error

    return function


def hangs(until: threading.Event, waiting: str = "") -> UnitFunction:
    """A task that listens to nobody."""

    def function(control: TaskControl) -> Evidence:
        if waiting:
            control.waiting(waiting)
        until.wait(60)
        return Evidence("much too late")

    return function


def waits_politely(control: TaskControl) -> Evidence:
    control.waiting("the server")
    control.pause(60)
    return Evidence("never")


@pytest.fixture
def never() -> Any:
    """An event that no test sets; set at the end, so that no thread of a test outlives it."""
    event = threading.Event()
    yield event
    event.set()


class TestOrder:
    def test_tasks_that_need_nothing_of_each_other_run_at_the_same_time(self) -> None:
        together = threading.Barrier(4)  # passed only when all four are at work at once

        def meets(_handle: TaskControl) -> Evidence:
            together.wait(10)
            return Evidence("met")

        bench = Bench(dict.fromkeys(range(1, 5), ()))
        assert set(bench.run(meets, meets, meets, meets).values()) == {Status.OK}

    @pytest.mark.parametrize("jobs", [1, 2, 3])
    def test_never_more_than_so_many_jobs_at_the_same_time(self, jobs: int) -> None:
        at_work: list[int] = []
        most: list[int] = []

        def counts(control: TaskControl) -> Evidence:
            at_work.append(control.number)
            most.append(len(at_work))
            control.pause(0.02)
            at_work.remove(control.number)
            return Evidence("")

        bench = Bench(dict.fromkeys(range(1, 9), ()), jobs=jobs)
        bench.run(*[counts] * 8)
        assert max(most) == jobs

    @given(st.lists(st.sets(st.integers(1, 20), max_size=4), max_size=20))
    @settings(max_examples=40, deadline=None)
    def test_one_job_means_strictly_by_number_each_ended_before_the_next_begins(self, drawn: list[set[int]]) -> None:
        needs = {number: tuple(n for n in some if n < number) for number, some in enumerate(drawn, start=1)}
        bench = Bench(needs, jobs=1)
        bench.run()
        assert [(r["kind"], r["task"]) for r in bench.records] == [
            (kind, number) for number in needs for kind in ("task started", "task finished")
        ]

    def test_the_longest_chain_comes_first_and_else_the_lowest_number(self) -> None:
        timeouts = {1: 5.0, 2: 7.0, 3: 1.0, 4: 9.0, 5: 7.0}
        needs: Needs = {1: (), 2: (), 3: (), 4: (3,), 5: ()}
        plan = make_plan(tuple(TaskSpec(n, "", 1, seconds, "", needs=needs[n]) for n, seconds in timeouts.items()))
        assert longest_chains(needs, timeouts) == timeouts | {3: 10.0}
        all_begun = threading.Barrier(4)

        def begins(_control: TaskControl) -> Evidence:
            all_begun.wait(10)
            return Evidence("")

        bench = Bench({}, plan=plan)
        bench.run(begins, begins, begins, passes, begins)
        assert bench.order() == [3, 2, 5, 1, 4]

    @given(st.lists(st.sets(st.integers(1, 20), max_size=4), max_size=20), st.integers(1, 5), st.randoms())
    @settings(max_examples=40, deadline=None)
    def test_no_task_begins_before_all_that_it_needs_has_passed(
        self, drawn: list[set[int]], jobs: int, dice: random.Random
    ) -> None:
        needs = {number: tuple(n for n in some if n < number) for number, some in enumerate(drawn, start=1)}
        ended: set[int] = set()
        too_early: list[int] = []
        delays = {number: dice.choice([0.0, 0.0, 0.002]) for number in needs}

        def looks(control: TaskControl) -> Evidence:
            if not ended.issuperset(needs[control.number]):
                too_early.append(control.number)
            control.pause(delays[control.number])
            ended.add(control.number)
            return Evidence("")

        bench = Bench(needs, jobs=jobs)
        bench.run(*[looks] * len(needs))
        assert too_early == []
        assert ended == set(needs)
        assert sorted(bench.order()) == sorted(bench.order("task finished")) == sorted(needs)

    def test_a_long_task_does_not_hold_up_a_chain_beside_it(self) -> None:
        chain_done = threading.Event()

        def long(_handle: TaskControl) -> Evidence:
            assert chain_done.wait(10)
            return Evidence("")

        def last(_handle: TaskControl) -> Evidence:
            chain_done.set()
            return Evidence("")

        assert set(Bench({1: (), 2: (), 3: (2,), 4: (3,)}).run(long, t4=last).values()) == {Status.OK}

    def test_what_a_plan_leaves_out_is_not_run_and_counts_as_there(self) -> None:
        plan = make_plan(specs({1: (), 2: (1,)}))
        plan = Plan((PlannedTask(plan.tasks[0].spec, Mode.NOT_NEEDED, ""), plan.tasks[1]))
        bench = Bench({}, plan=plan)
        bench.execution.run(units({1: fails, 2: passes}))
        assert bench.execution.statuses == {2: Status.OK}
        assert bench.execution.exit_code == ExitCode.PROVEN

    def test_a_check_calls_the_same_function_and_is_recorded_as_a_check(self) -> None:
        bench = Bench({}, plan=make_plan(specs({1: (), 2: (1,)}), resume_from=2))
        called: list[int] = []

        def notes(control: TaskControl) -> Evidence:
            called.append(control.number)
            return Evidence("")

        bench.run(notes, notes)
        assert called == [1, 2]
        assert [r["mode"] for r in bench.records if r["kind"] == "task started"] == ["check first", "run"]


class TestEnds:
    def test_evidence_is_recorded_in_full(self) -> None:
        bench = Bench({1: (), 2: (), 3: ()})
        statuses = bench.run(
            lambda _: Evidence("500 rows", {"rows": 500}),
            lambda _: Evidence("started", {"pid": 7}, changed=True, reason="was not running"),
            raises(TaskSkipped("no pool with serve")),
        )
        assert statuses == {1: Status.OK, 2: Status.CHANGED, 3: Status.SKIPPED}
        ok, changed, skipped = (bench.finished(number) for number in (1, 2, 3))
        assert (ok["status"], ok["summary"], ok["details"], ok["reason"]) == ("ok", "500 rows", {"rows": 500}, "")
        assert (changed["status"], changed["reason"]) == ("changed", "was not running")
        assert (skipped["status"], skipped["summary"]) == ("skipped", "no pool with serve")
        assert "hint" not in ok
        assert bench.execution.exit_code == ExitCode.PROVEN

    def test_a_failure_says_what_where_and_what_to_do(self) -> None:
        bench = Bench({1: ()})
        bench.run(fails)
        record = bench.finished(1)
        assert (record["status"], record["summary"]) == ("failed", "no rows")
        assert (record["where_to_look"], record["hint"]) == ("server.log", "look")
        assert record["details"] == {"rows": 0}
        assert bench.execution.exit_code == ExitCode.TASK_FAILED

    @pytest.mark.parametrize("jobs", [1, 8])
    def test_a_failure_blocks_what_needs_it_and_nothing_else(self, jobs: int) -> None:
        bench = Bench({1: (), 2: (), 3: (1,), 4: (2,), 5: (3, 4), 6: (4,)}, jobs=jobs)
        statuses = bench.run(fails)
        assert {n for n, s in statuses.items() if s is Status.BLOCKED} == {3, 5}
        assert {n for n, s in statuses.items() if s is Status.OK} == {2, 4, 6}
        assert bench.finished(3)["summary"] == "needs task 1, which failed"
        assert bench.finished(5)["summary"] == "needs task 3, which was not run"
        assert 3 not in bench.order()
        assert 5 not in bench.order()
        assert bench.execution.exit_code == ExitCode.TASK_FAILED

    def test_a_skipped_task_blocks_nothing(self) -> None:
        assert Bench({1: (), 2: (1,)}).run(raises(TaskSkipped("nothing here")))[2] is Status.OK

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
            (SystemExit(3), "SystemExit: 3"),
            (KeyError("x"), "KeyError: 'x'"),
            (OSError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
        ],
    )
    def test_an_unexpected_exception_fails_its_task_keeps_its_traceback_and_ends_as_a_bug(
        self, error: BaseException, text: str
    ) -> None:
        bench = Bench({1: (), 2: (1,), 3: (), 4: ()})
        statuses = bench.run(raises(error), t4=fails)
        assert [statuses[number].value for number in (1, 2, 3, 4)] == ["failed", "blocked", "ok", "failed"]
        assert bench.finished(1)["summary"] == text
        assert "in function" in bench.finished(1)["details"]["traceback"]
        assert bench.execution.exit_code == ExitCode.BUG

    def test_a_task_without_evidence_is_not_ticked(self) -> None:
        bench = Bench({1: ()})
        nothing: Callable[[TaskControl], Any] = lambda _handle: None  # noqa: E731 - what a wrong task looks like
        assert bench.run(nothing) == {1: Status.FAILED}
        assert bench.finished(1)["summary"] == "It returned NoneType instead of evidence."
        assert bench.execution.exit_code == ExitCode.BUG

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (EnvironmentRefused("Port 4200 is held by nginx (pid 7).", "Stop it."), ExitCode.ENVIRONMENT),
            (UsageError("No such entrypoint.", "Stop it."), ExitCode.USAGE),
        ],
    )
    def test_what_the_environment_refuses_is_an_expected_failure_with_its_own_exit_code(
        self, error: EnvironmentRefused | UsageError, code: ExitCode
    ) -> None:
        bench = Bench({1: (), 2: ()})
        assert bench.run(raises(error), fails) == {1: Status.FAILED, 2: Status.FAILED}
        assert (bench.finished(1)["summary"], bench.finished(1)["hint"]) == (error.what, "Stop it.")
        assert "traceback" not in bench.finished(1)["details"]
        assert bench.execution.exit_code == code

    def test_what_a_task_waits_for_is_told_while_it_waits(self) -> None:
        bench = Bench({1: ()})

        def waits(control: TaskControl) -> Evidence:
            control.waiting("the server to be ready")
            assert bench.told == [(1, "the server to be ready")]
            return Evidence("")

        assert bench.run(waits) == {1: Status.OK}

    def test_a_record_is_kept_before_the_task_begins(self) -> None:
        bench = Bench({1: ()})

        def looks(_handle: TaskControl) -> Evidence:
            assert bench.records == [{"kind": "task started", "task": 1, "mode": "run"}]
            return Evidence("")

        assert bench.run(looks) == {1: Status.OK}

    def test_seconds_are_taken_from_the_monotonic_clock_that_was_given(self) -> None:
        now = [1000.0]
        bench = Bench({1: ()}, clock=lambda: now[0])

        def takes_seven_seconds(control: TaskControl) -> Evidence:
            assert control.remaining() == 30.0
            now[0] += 7.0
            assert control.remaining() == 23.0
            return Evidence("")

        bench.run(takes_seven_seconds)
        assert bench.finished(1)["seconds"] == 7.0


class TestDeadlines:
    def test_a_polite_task_that_runs_out_of_time_fails_with_what_it_waited_for(self) -> None:
        bench = Bench({1: (), 2: (1,), 3: ()}, seconds=0.2)
        begin = time.monotonic()
        statuses = bench.run(waits_politely)
        assert time.monotonic() - begin < 2
        assert [statuses[number].value for number in (1, 2, 3)] == ["failed", "blocked", "ok"]
        assert bench.finished(1)["summary"] == "Timed out after 0.2 s while waiting for: the server."
        assert bench.execution.exit_code == ExitCode.TASK_FAILED

    def test_a_task_that_hangs_is_abandoned_after_its_grace_and_the_others_go_on(self, never: threading.Event) -> None:
        bench = Bench({1: (), 2: (1,), 3: (), 4: (3,)}, seconds=0.2, grace=0.3, jobs=1)
        begin = time.monotonic()
        statuses = bench.run(hangs(never, "nobody"))
        assert 0.5 <= time.monotonic() - begin < 2
        assert [statuses[number].value for number in (1, 2, 3, 4)] == ["failed", "blocked", "ok", "ok"]
        assert bench.finished(1)["summary"] == "Timed out after 0.2 s while waiting for: nobody."
        assert bench.finished(1)["seconds"] >= 0.5

    def test_an_abandoned_task_is_told_to_stop_so_that_it_does_no_more_harm(self) -> None:
        heard = threading.Event()

        def hears_it_late(control: TaskControl) -> Evidence:
            if control.stopped.wait(20):
                heard.set()
            return Evidence("")

        assert Bench({1: ()}, seconds=0.1, grace=0.1).run(hears_it_late) == {1: Status.FAILED}
        assert heard.wait(2)

    def test_a_task_that_returns_within_its_grace_has_proven_what_it_proved(self) -> None:
        bench = Bench({1: ()}, seconds=0.1, grace=5.0)

        def cleans_up(_handle: TaskControl) -> Evidence:
            threading.Event().wait(0.3)
            return Evidence("just in time")

        assert bench.run(cleans_up) == {1: Status.OK}

    def test_what_an_abandoned_task_returns_later_changes_nothing(self) -> None:
        late = threading.Event()

        def takes_a_while(control: TaskControl) -> Evidence:
            control.pause(0.2)
            return Evidence("")

        def lets_the_abandoned_one_return(control: TaskControl) -> Evidence:
            late.set()
            return takes_a_while(control)

        bench = Bench({1: (), 2: (), 3: (2,), 4: (3,), 5: (4,)}, seconds=0.4, grace=0.1)
        bench.run(hangs(late), *[takes_a_while] * 3, lets_the_abandoned_one_return)
        assert bench.finished(1)["status"] == "failed"  # once, and not taken back
        assert sorted(bench.order("task finished")) == [1, 2, 3, 4, 5]

    def test_a_deadline_counts_from_the_start_of_its_own_task(self) -> None:
        def takes_a_while(control: TaskControl) -> Evidence:
            control.pause(0.4)
            return Evidence("")

        bench = Bench({1: (), 2: (), 3: ()}, seconds=1.0, grace=0.1, jobs=1)  # 1.2 s together
        assert set(bench.run(*[takes_a_while] * 3).values()) == {Status.OK}

    def test_giving_up_before_the_deadline_is_a_failure_with_its_own_words(self) -> None:
        bench = Bench({1: ()})
        bench.run(raises(TaskStopped("uv did not end in time")))
        assert bench.finished(1)["summary"] == "uv did not end in time"
        assert bench.execution.exit_code == ExitCode.TASK_FAILED


class TestInterruption:
    def test_everything_is_recorded_within_a_second_whether_or_not_tasks_listen(self, never: threading.Event) -> None:
        stop = threading.Event()
        bench = Bench({1: (), 2: (), 3: (), 4: (1,)}, stop=stop)
        stopped_at: list[float] = []

        def stops(_handle: TaskControl) -> Evidence:
            threading.Event().wait(0.2)
            stopped_at.append(time.monotonic())
            stop.set()
            return Evidence("passed in the same moment")

        statuses = bench.run(waits_politely, hangs(never, "nobody"), stops)
        assert time.monotonic() - stopped_at[0] < 1.0
        assert statuses == {1: Status.INTERRUPTED, 2: Status.INTERRUPTED, 3: Status.OK}
        assert bench.finished(1)["summary"] == "interrupted while waiting for: the server"
        assert bench.finished(2)["summary"] == "interrupted while waiting for: nobody"
        assert bench.execution.interrupted
        assert bench.execution.exit_code == ExitCode.INTERRUPTED
        assert 4 not in bench.order()

    def test_what_a_task_says_when_it_is_torn_away_is_not_taken_for_a_bug(self) -> None:
        stop = threading.Event()
        bench = Bench({1: ()}, stop=stop)

        def is_confused(control: TaskControl) -> Evidence:
            stop.set()
            control.stopped.wait(10)
            raise ConnectionError("the other end went away")

        assert bench.run(is_confused) == {1: Status.INTERRUPTED}
        assert bench.execution.exit_code == ExitCode.INTERRUPTED

    def test_nothing_begins_after_the_stop(self) -> None:
        stop = threading.Event()
        stop.set()
        bench = Bench({1: ()}, stop=stop)
        assert bench.run() == {}
        assert bench.records == []
        assert bench.execution.exit_code == ExitCode.INTERRUPTED

    def test_a_stop_in_one_stage_ends_the_next_one_before_it_begins(self) -> None:
        stop = threading.Event()
        bench = Bench({1: (), 2: (1,), 3: (2,)}, stop=stop)

        def stops(_handle: TaskControl) -> Evidence:
            stop.set()
            return Evidence("passed in the same moment")

        assert not bench.execution.run(units({1: stops, 2: passes}))
        assert not bench.execution.run(units({3: passes}))
        assert bench.execution.statuses == {1: Status.OK}
        assert bench.execution.exit_code == ExitCode.INTERRUPTED

    def test_a_stop_after_the_last_task_takes_nothing_back(self) -> None:
        stop = threading.Event()
        bench = Bench({1: ()}, stop=stop)
        bench.run()
        stop.set()
        assert not bench.execution.interrupted
        assert bench.execution.exit_code == ExitCode.PROVEN

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_brings_the_prompt_back_and_a_hung_thread_cannot_keep_it(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        program = """
            import os, signal, sys, threading
            from contextlib import closing
            from pathlib import Path
            from blueprint.core.task import TaskSpec
            from blueprint.execution.events import ExecutionFinished, ExecutionStarted, Unit
            from blueprint.execution.executor import Executor
            from blueprint.execution.journal import Journal
            from blueprint.execution.plan import make_plan

            stop = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stop.set())
            plan = make_plan(tuple(TaskSpec(n, "", 1, 60.0, "") for n in (1, 2)))

            def hangs(handle):
                os.write(1, b"at work\\n")
                while True:
                    threading.Event().wait()

            with closing(Journal(Path(sys.argv[1]), "E1")) as journal:
                journal.append(ExecutionStarted(plan=plan.as_record()))
                execution = Executor(plan, journal.append, tell=lambda *_: None, stop=stop)
                execution.run({Unit(1): hangs, Unit(2): hangs})
                journal.append(ExecutionFinished("interrupted", int(execution.exit_code)))
            sys.exit(execution.exit_code)
        """
        journal = tmp_path / "journal.jsonl"
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), journal], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        for _ in range(2):
            assert process.stdout.readline() == "at work\n"
        begin = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=10) == ExitCode.INTERRUPTED
        assert time.monotonic() - begin < 1.5
        process.stdout.close()
        (execution,) = load(journal).executions
        assert execution.status == "interrupted"
        assert {task.status for task in execution.tasks.values()} == {Status.INTERRUPTED}
        assert {task.finished_at != "" for task in execution.tasks.values()} == {True}


class TestParts:
    def test_the_second_stage_goes_on_from_what_the_first_has_done(self) -> None:
        bench = Bench({1: (), 2: (1,), 3: (2,), 4: (3,)}, done={Unit(1): Status.OK, Unit(2): Status.CHANGED})
        assert bench.run(fails, fails) == {1: Status.OK, 2: Status.CHANGED, 3: Status.OK, 4: Status.OK}
        assert bench.order() == [3, 4]

    def test_what_failed_in_the_first_stage_blocks_in_the_second(self) -> None:
        bench = Bench({1: (), 2: (), 3: (1,), 4: (2,)}, done={Unit(1): Status.FAILED, Unit(2): Status.OK})
        statuses = bench.run()
        assert (statuses[3], statuses[4]) == (Status.BLOCKED, Status.OK)
        assert bench.execution.exit_code == ExitCode.TASK_FAILED

    def test_two_parts_of_one_execution_run_each_task_once(self) -> None:
        bench = Bench({1: (), 2: (1,), 3: (2,)})
        bench.execution.run(units({1: passes, 2: passes}))
        bench.execution.run(units(dict.fromkeys((1, 2, 3), passes)))
        assert bench.order() == [1, 2, 3]

    def test_a_task_is_never_run_on_something_that_was_planned_and_has_not_run(self) -> None:
        bench = Bench({1: (), 2: (1,)})
        with pytest.raises(ValueError, match="task 2 needs task 1"):
            bench.execution.run(units({2: passes}))
        assert bench.records == []

    def test_resume_after_a_failure_runs_what_is_left_in_a_real_journal(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.jsonl"
        tasks = specs({1: (), 2: (1,), 3: (2,), 4: ()})
        called: list[int] = []

        def notes(control: TaskControl) -> Evidence:
            called.append(control.number)
            return Evidence("")

        def once(plan: Plan, execution_id: str, functions: Mapping[int, UnitFunction]) -> ExecutionRecord:
            with closing(Journal(path, execution_id)) as journal:
                journal.append(ExecutionStarted(origin=plan.origin or execution_id, plan=plan.as_record()))
                execution = Executor(plan, journal.append, tell=lambda _n, _t: None)
                execution.run(units(functions))
                status = "passed" if execution.exit_code == 0 else "failed"
                journal.append(ExecutionFinished(status, int(execution.exit_code)))
            return load(path).executions[-1]

        first = once(make_plan(tasks), "E1", {1: notes, 2: fails, 3: notes, 4: notes})
        assert {n: task.status.value for n, task in first.tasks.items()} == {
            1: "ok", 2: "failed", 3: "blocked", 4: "ok",
        }  # fmt: skip
        called.clear()
        second = once(make_plan(tasks, resume=first), "E2", dict.fromkeys((1, 2, 3, 4), notes))
        assert called == [1, 2, 3]  # 1 is checked again, 4 is not needed by what is left
        assert second.origin == "E1"
        assert (second.tasks[1].status, second.tasks[1].mode) == (Status.OK, "check first")
        assert make_plan(tasks, resume=second).to_run == ()


class TestRecordRefused:
    @pytest.mark.parametrize("kind", ["task started", "task finished"])
    def test_a_full_disk_ends_the_execution_at_once_and_stops_what_runs(self, kind: str) -> None:
        heard = threading.Event()
        at_work = threading.Event()

        def runs(control: TaskControl) -> Evidence:
            at_work.set()
            if control.stopped.wait(20):
                heard.set()
            return Evidence("")

        def follows(_handle: TaskControl) -> Evidence:
            at_work.wait(10)
            return Evidence("")

        bench = Bench({1: (), 2: (), 3: (2,)})
        refusal = EnvironmentRefused("no room is left on the disk")

        def record(event: Event) -> None:
            if event.kind == kind and event.fields()["task"] in (2, 3) and at_work.is_set():
                raise refusal
            bench.record(event)

        execution = Executor(bench.plan, record, tell=lambda _n, _t: None)
        begin = time.monotonic()
        with pytest.raises(EnvironmentRefused) as raised:
            execution.run(units({1: runs, 2: follows, 3: passes}))
        assert raised.value is refusal
        assert time.monotonic() - begin < 2
        assert heard.wait(1)
        assert bench.order("task finished") in ([], [2])


def test_a_large_plan_with_a_deep_chain_and_a_wide_level_is_run_to_its_end(tmp_path: Path) -> None:
    needs = {n: () if n == 1 else (n - 1,) if n < 1000 else (999,) for n in range(1, 2001)}
    with closing(Journal(tmp_path / "journal.jsonl")) as journal:
        plan = make_plan(specs(needs))
        execution = Executor(plan, journal.append, tell=lambda _n, _t: None)
        execution.run(units(dict.fromkeys(plan.planned, passes)))
    assert set(execution.statuses.values()) == {Status.OK}
    assert len(read(tmp_path / "journal.jsonl")) == 4001


class TestDeployments:
    """A task of several deployments is several units: each needs its own, and a failure of one stays with it."""

    def test_a_deployment_needs_only_its_own_and_the_platform_needs_all(self) -> None:
        bench = Bench({1: (), 2: (1,), 3: (2,), 4: (3,)})
        functions: dict[Unit, UnitFunction] = {Unit(1): passes, Unit(4): passes}
        functions |= {Unit(number, label): passes for number in (2, 3) for label in ("a", "b")}
        functions[Unit(2, "a")] = fails
        bench.execution.run(functions)
        statuses = bench.execution.unit_statuses
        assert statuses[Unit(3, "a")] is Status.BLOCKED
        assert statuses[Unit(3, "b")] is Status.OK
        assert statuses[Unit(4)] is Status.BLOCKED
        assert bench.execution.statuses == {1: Status.OK, 2: Status.FAILED, 3: Status.BLOCKED, 4: Status.BLOCKED}

    def test_deployments_run_side_by_side_whatever_the_number_of_jobs(self) -> None:
        together = threading.Barrier(3)

        def meets(_control: TaskControl) -> Evidence:
            together.wait(10)
            return Evidence("met")

        bench = Bench({1: ()}, jobs=1)
        bench.execution.run({Unit(1, label): meets for label in ("a", "b", "c")})
        assert bench.execution.statuses == {1: Status.OK}

    def test_the_shared_part_comes_first_and_blocks_the_deployments_if_it_fails(self) -> None:
        bench = Bench({1: ()})
        bench.execution.run({Unit(1, "a"): passes, Unit(1): fails, Unit(1, "b"): passes})
        assert bench.execution.unit_statuses[Unit(1, "a")] is Status.BLOCKED
        assert bench.order() == [1]
        assert bench.execution.exit_code == ExitCode.TASK_FAILED

    def test_a_deployment_that_was_killed_before_its_turn_is_not_taken_for_proven(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.jsonl"
        plan = make_plan(specs({1: ()}))
        with closing(Journal(path, "E1")) as journal:
            journal.append(ExecutionStarted(plan=plan.as_record()))
            executor = Executor(plan, journal.append, tell=lambda _unit, _text: None)
            executor.run({Unit(1, label): passes for label in ("a", "b")})
        whole = path.read_bytes()
        (complete,) = load(path).executions
        assert complete.passed(1)
        ends = [at for at in range(len(whole)) if whole[at : at + 1] == b"\n"]
        for cut in ends[:-1]:  # behind each record but the last
            path.write_bytes(whole[: cut + 1])
            (killed,) = load(path).executions
            assert not killed.passed(1)
            assert make_plan(specs({1: ()}), resume=killed).to_run == (1,)
