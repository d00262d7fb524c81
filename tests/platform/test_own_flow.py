"""Flows of every kind in place of the bundled one: deployed and proven by the real tasks, or refused early and clearly.

The flows are those of tests/support/own_flows.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.live_platform import Outcome, Platform

FLOWS = Path(__file__).parents[1] / "support" / "own_flows"
# What the bundled pipeline configures, taken back: as a table in pyproject.toml with another entrypoint has it.
BLANK: Mapping[str, Any] = {
    "source": str(FLOWS),
    "parameters": {},
    "tags": [],
    "cron": None,
    "timezone": "UTC",
    "data_source": None,
    "check": None,
    "tasks": {},
    "acceptance": {},
}
OF_FLOW = (7, 14, 9, 10, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30)
WITHOUT_CASES = {18, 23, 24, 28, 29}  # what cannot be proven of a flow with no schedule and no acceptance cases
PASSWORD, TOKEN = "correct horse battery staple", "tok-5f0c1d"


@dataclass(frozen=True)
class Kind:
    """A flow, how it is configured, and what must come of it."""

    entrypoint: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset(WITHOUT_CASES)
    task_runs: int = 1
    as_script: bool = True


KINDS = {
    "synchronous": Kind(
        "plain.py:plain",
        {
            "interval": 3600,
            "check": "plain_check:noted",
            "parameters": {"times": 2, "folder": "{folder}"},
            "acceptance": {
                "overrides": {"times": 1},
                "json_parameters": {"times": 4},
                "failing": {"times": 2, "succeed": False},
                "refused": [{"times": 0}, {"times": "many"}],
            },
        },
        frozenset(),
        2,
    ),
    "asynchronous": Kind("asynchronous.py:asynchronous", task_runs=3),
    "without parameters or tasks": Kind(
        "bare.py:bare", {"rrule": "FREQ=DAILY;BYHOUR=9"}, frozenset({23, 24, 28}), 0, as_script=False
    ),
    "with subflows": Kind("subflows.py:outer", task_runs=2),  # a subflow is a task run of the flow that calls it
    "mapped over 200 items": Kind("mapped.py:mapped", task_runs=200, as_script=False),
    "in a package, with a relative import": Kind("shop/flows.py:sell", as_script=False),
    "in a package, named by its module": Kind("shop.flows.sell"),
    "longer than many heartbeats": Kind("slow.py:slow", {"parameters": {"seconds": 15}}, as_script=False),
    "that sets a signal's handler at import": Kind(
        "signals.py:signals", {"parameters": {"times": 2}, "check": "signals:seen"}, task_runs=0
    ),
}

TYPED = Kind(
    "typed.py:typed",
    {
        "parameters": {
            "report": {"window": {"first": "2026-03-08"}, "regions": ["north", "south"], "labels": {"a": "b"}},
            "login": {"user": "ada", "password": PASSWORD},
            "token": TOKEN,
            "at": "2026-03-08T02:30:00+00:00",
        },
        "acceptance": {
            "overrides": {"region": "north", "at": None, "token": TOKEN},
            "json_parameters": {"login": {"user": "bob", "password": PASSWORD}},
            "refused": [{"region": TOKEN}, {"token": 5}, {"login": {"user": "ada"}}],
        },
    },
    frozenset({18, 29}),
)


@pytest.fixture(scope="module")
def platform(bare_platform: Platform) -> Platform:
    """A platform for flows of the tests' own."""
    return bare_platform


@pytest.fixture
def own(platform: Platform) -> Iterator[Own]:
    """Calls the tasks with a flow's settings; its deployments are gone after the test."""
    with own_deployment(platform) as calls:
        yield calls


@contextlib.contextmanager
def own_deployment(platform: Platform) -> Iterator[Own]:
    """Calls the tasks with a flow's settings; its deployments are gone after the block."""
    calls = Own(platform)
    yield calls
    for found in platform.post("/deployments/filter", {"deployments": {"name": {"any_": [calls.name]}}}):
        platform.delete(f"/deployments/{found['id']}")


class Own:
    """A deployment of the test's own."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.name = f"own-{secrets.token_hex(4)}"

    def call(self, task: int, entrypoint: str, seconds: float = 60, **settings: Any) -> Outcome:
        """Call a task as part of an execution of the test's own."""
        mine = {**BLANK, "entrypoint": entrypoint, "deployment": self.name} | settings
        return self.platform.call(task, origin=self.name, seconds=seconds, **mine)


@pytest.mark.parametrize("name", KINDS)
def test_a_flow_of_each_kind_is_deployed_run_and_proven(
    own: Own, platform: Platform, tmp_path: Path, name: str
) -> None:
    kind = KINDS[name]
    settings = json.loads(json.dumps(dict(kind.settings)).replace("{folder}", str(tmp_path)))
    tasks = [task for task in OF_FLOW if kind.as_script or task not in (9, 10)]
    outcomes = {task: own.call(task, kind.entrypoint, **settings) for task in tasks}
    for task, outcome in outcomes.items():
        assert outcome.passed, (task, outcome)
    assert {task for task, outcome in outcomes.items() if outcome.status == "skipped"} == kind.skipped
    for task in {10, 22} & set(tasks):
        assert len(outcomes[task].details["task_runs"]) == kind.task_runs, outcomes[task]
    (run,) = platform.runs(f"blueprint:{own.name}:21")
    assert run["state"]["type"] == "COMPLETED"
    assert run["parameters"] == settings.get("parameters", {})


def test_a_check_beside_the_flow_is_the_evidence_of_its_effect(own: Own, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"parameters": {"times": 1, "folder": str(tmp_path)}, "check": "plain_check:noted"}
    outcome = own.call(9, "plain.py:plain", **settings)
    assert outcome.details["effect"] == {"note": "caller 0"}
    next(tmp_path.glob("*.txt")).write_text("somebody else")
    assert own.call(10, "plain.py:plain", **settings).failed_saying("plain_check:noted", "'somebody else'")
    settings["check"] = "plain_check:never"
    assert own.call(10, "plain.py:plain", **settings).failed_saying("plain_check:never", "returned False")
    settings["check"] = "no_such_module:check"
    assert own.call(10, "plain.py:plain", **settings).failed_saying("no_such_module:check", "cannot be loaded")


def test_typed_parameters_arrive_and_their_secrets_are_never_written(own: Own, platform: Platform) -> None:
    kind = TYPED
    outcomes = [own.call(task, kind.entrypoint, **kind.settings) for task in OF_FLOW]
    assert [one for one in outcomes if not one.passed] == []
    assert {task for task, one in zip(OF_FLOW, outcomes, strict=True) if one.status == "skipped"} == kind.skipped
    told = [json.dumps([one.summary, one.reason, one.waited, dict(one.details), one.where_to_look]) for one in outcomes]
    refused = outcomes[OF_FLOW.index(28)].details["refused"]
    assert "'**********' is not one of ['north', 'south']" in refused[0], refused
    kept = [path for path in (platform.root / "logs").iterdir() if path.is_file()]
    kept += (platform.root / ".blueprint" / "services").glob("*.json")
    for text in (*told, *(path.read_text(errors="replace") for path in kept)):
        assert PASSWORD not in text
        assert TOKEN not in text


def test_a_flow_that_always_fails_is_told_with_its_own_message(own: Own) -> None:
    assert own.call(9, "several.py:always_fails").failed_saying("exit code 1", "this flow has nothing to offer")
    assert own.call(15, "several.py:always_fails").passed
    assert own.call(21, "several.py:always_fails").passed
    assert own.call(22, "several.py:always_fails").failed_saying("ended Failed", "this flow has nothing to offer")


BROKEN = {
    "def broken(:\n    pass\n": ("SyntaxError", "line 1"),
    "import a_module_that_nobody_has\n": ("ModuleNotFoundError", "a_module_that_nobody_has"),
    "def broken():\n    return 1\n": ("is not a flow", "@flow"),
    "other = 1\n": ("is not a flow", "not found"),
    "raise SystemExit(3)\n": ("SystemExit", "3"),
    "from ..elsewhere import broken\n": ("ImportError", "relative import"),
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_flow_that_cannot_be_loaded_is_told_at_task_7(own: Own, tmp_path: Path, code: str) -> None:
    (tmp_path / "broken.py").write_text(code)
    outcome = own.call(7, "broken.py:broken", source=str(tmp_path))
    assert outcome.failed_saying("broken.py:broken", *BROKEN[code]), outcome
    assert outcome.hint


def test_an_entrypoint_that_is_not_there_is_told_at_task_7(own: Own) -> None:
    assert own.call(7, "no_such_file.py:nothing").failed_saying("no_such_file.py does not exist")
    assert own.call(7, "no_such_package.flows.nothing").failed_saying("no_such_package")
    assert own.call(7, "shop.flows.nothing").failed_saying("shop.flows.nothing is not a flow")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"times": 10}, "less than or equal to 9"),
        ({"times": "many"}, "valid integer"),
        ({"tiems": 3}, "tiems: the flow has no such parameter"),
    ],
)
def test_default_parameters_outside_the_schema_are_told_at_task_14(
    own: Own, parameters: Mapping[str, Any], said: str
) -> None:
    assert own.call(14, "plain.py:plain", parameters=parameters).failed_saying("default parameters", said)


def test_a_parameter_without_a_default_is_asked_for_at_task_14(own: Own) -> None:
    assert own.call(14, "typed.py:typed").failed_saying("report: has no default and is not given")


def test_somebody_elses_deployment_of_that_name_is_told_at_task_14_and_left_alone(own: Own, platform: Platform) -> None:
    flow = platform.post("/flows/", {"name": "first"})
    theirs = platform.post("/deployments/", {"name": own.name, "flow_id": flow["id"], "description": "by hand"})
    for task in (14, 15):
        assert own.call(task, "several.py:first").failed_saying(f"first/{own.name}", "Blueprint did not make")
    assert platform.get(f"/deployments/{theirs['id']}")["updated"] == theirs["updated"]


def test_dates_written_as_toml_dates_reach_the_flow(own: Own, tmp_path: Path) -> None:
    code = """
        from datetime import date
        from prefect import flow

        @flow
        def dated(day: date):
            assert day == date(2026, 3, 8)
    """
    (tmp_path / "dated.py").write_text(textwrap.dedent(code))
    from blueprint.config.settings import Settings

    read = Settings.model_validate(
        {"entrypoint": "dated.py:dated", "parameters": __import__("tomllib").loads("day = 2026-03-08")}
    )
    outcome = own.call(9, "dated.py:dated", source=str(tmp_path), parameters=dict(read.parameters))
    assert outcome.passed, outcome
