"""Several deployments in one table, proven on the real platform: two flows, one of them deployed twice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.platform.test_own_flow import BLANK, FLOWS
from tests.support.live_platform import Outcome, Platform, Tasks

OF_EACH = (7, 14, 9, 10, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30)


class Several:
    """Deployments of the test's own: `twice` and `daily` of one flow, `other` of another one in the same folder."""

    def __init__(self, call: Any, folder: Path) -> None:
        self._call = call
        self.origin = f"several-{secrets.token_hex(4)}"
        self.once, self.daily, self.other = (f"{name}-{self.origin}" for name in ("once", "daily", "other"))
        self.settings: dict[str, Any] = {
            **BLANK,
            "entrypoint": "plain.py:plain",
            "deployment": self.once,
            "parameters": {"times": 2, "folder": str(folder)},
            "check": "plain_check:noted",
            "acceptance": {"overrides": {"times": 1}, "refused": [{"times": 0}]},
        }
        self.tables: list[dict[str, Any]] = [
            {"deployment": self.daily, "parameters": {"times": 3, "folder": str(folder)}, "cron": "0 9 * * *"},
            {"deployment": self.other, "entrypoint": "several.py:second"},
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all three."""
        return self.once, self.daily, self.other

    def call(self, task: int, **changes: Any) -> Outcome:
        """Call a task of an execution that is about all of them."""
        settings = {**self.settings, "deployments": self.tables} | changes
        found: Outcome = self._call(task, origin=self.origin, seconds=120, **settings)
        return found


@pytest.fixture
def several(platform: Platform, tmp_path: Path) -> Iterator[Several]:
    """The deployments; gone after the test."""
    made = Several(platform.call, tmp_path)
    yield made
    _delete(platform, made.names)


def _delete(platform: Platform, names: tuple[str, ...]) -> None:
    for found in platform.post("/deployments/filter", {"deployments": {"name": {"any_": list(names)}}}):
        platform.delete(f"/deployments/{found['id']}")


def _each(outcome: Outcome) -> Mapping[str, Any]:
    found: Mapping[str, Any] = outcome.details["deployments"]
    return found


def test_every_deployment_is_proven_and_a_broken_one_is_named(several: Several, platform: Platform) -> None:
    outcomes = {task: several.call(task) for task in OF_EACH}
    for task, outcome in outcomes.items():
        assert outcome.passed, (task, outcome)
        if task != 24:
            assert list(_each(outcome)) == list(several.names), task
            assert all(f"{name}: " in outcome.summary for name in several.names), (task, outcome.summary)
    assert {task for task, one in outcomes.items() if one.status == "skipped"} == {24}
    skipped = {
        task: [name for name, one in _each(outcomes[task]).items() if one["status"] == "skipped"]
        for task in OF_EACH
        if task != 24
    }
    assert {task: names for task, names in skipped.items() if names} == {
        18: [several.once, several.other],
        29: [several.once, several.other],
        23: [several.other],
        28: [several.other],
    }
    assert f"{several.other}: skipped, no schedule is configured" in outcomes[18].summary

    runs = {name: platform.runs(f"blueprint:{several.origin}/{name}:21") for name in several.names}
    assert [len(of_one) for of_one in runs.values()] == [1, 1, 1]
    assert [runs[name][0]["parameters"].get("times") for name in several.names] == [2, 3, None]
    assert len({of_one[0]["deployment_id"] for of_one in runs.values()}) == 3
    assert _each(outcomes[22])[several.daily]["details"]["effect"] == {"note": "caller 2"}
    documents = [_each(outcomes[28])[name]["details"]["document"] for name in several.names[:2]]
    texts = [(platform.root / name).read_text() for name in documents]
    assert [several.once in texts[0], several.daily in texts[1]] == [True, True]
    assert all((platform.root / "logs" / f"local_run-{name}.log").is_file() for name in several.names)

    again = {task: several.call(task) for task in (9, 15, 21, 22, 23, 30)}
    assert {task: one.status for task, one in again.items()} == dict.fromkeys(again, "ok")

    found = platform.get(f"/deployments/name/plain/{several.daily}")["id"]
    platform.patch(f"/deployments/{found}", {"parameters": {"times": 9}})
    for task in (16, 20, 30):
        outcome = several.call(task)
        assert outcome.failed_saying(f"{several.daily}: ", "not as defined", "'times': 9"), (task, outcome)
        assert outcome.summary.endswith(f" Passed: {several.once}, {several.other}."), outcome.summary
        assert [_each(outcome)[name]["status"] for name in several.names] == ["ok", "failed", "ok"]
    restored = several.call(15)
    assert restored.status == "changed"
    assert restored.reason.startswith(f"{several.daily}: parameters is ")
    assert [_each(restored)[name]["status"] for name in several.names] == ["ok", "changed", "ok"]


def test_a_flow_that_cannot_be_loaded_is_named_and_the_others_were_looked_at(several: Several, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import a_module_that_nobody_has\n")
    broken = {"deployment": "broken", "entrypoint": "broken.py:broken", "source": str(tmp_path)}
    outcome = several.call(7, deployments=[broken, *several.tables])
    assert outcome.failed_saying("broken: broken.py:broken cannot be loaded", "a_module_that_nobody_has"), outcome
    assert outcome.summary.endswith(f" Passed: {several.once}, {several.daily}, {several.other}.")


def test_flows_that_call_themselves_the_same_are_told_before_one_replaces_the_other(
    several: Several, tmp_path: Path
) -> None:
    (tmp_path / "twin.py").write_text('from prefect import flow\n\n@flow(name="plain")\ndef twin(): ...\n')
    twin = {"deployment": several.once, "entrypoint": "twin.py:twin", "source": str(tmp_path)}
    outcome = several.call(14, deployments=[twin])
    assert outcome.failed_saying("plain.py:plain and twin.py:twin would both be", f"plain/{several.once}"), outcome


def test_a_secret_of_one_deployment_is_not_told_by_another(several: Several) -> None:
    typed = {
        "deployment": "typed",
        "entrypoint": "typed.py:typed",
        "parameters": {"token": "planted-in-one", "login": {"user": "a", "password": "planted-too"}},
    }
    assert several.call(7, deployments=[typed]).passed
    outcome = several.call(14, deployments=[typed], parameters={"times": "planted-in-one"})
    assert outcome.failed_saying(f"{several.once}: The default parameters do not fit", "valid integer"), outcome
    assert "planted" not in json.dumps([outcome.summary, dict(outcome.details), outcome.reason])


@pytest.mark.usefixtures("spare")
def test_one_process_serves_all_deployments(beside: Tasks, platform: Platform, tmp_path: Path) -> None:
    several = Several(beside.call, tmp_path)
    several.settings |= {"deploy_with": "serve", "source": str(FLOWS)}
    try:
        first = several.call(15)
        assert first.status == "changed", first
        outcomes = {task: several.call(task) for task in (14, 16, 17, 18, 21, 22, 23, 25)}
        assert [(task, one) for task, one in outcomes.items() if not one.passed] == []
        assert _each(outcomes[16])[several.other]["details"]["pool"] is None
        again = several.call(15)
        assert again.status == "ok", again

        found = platform.get(f"/deployments/name/The second one/{several.other}")["id"]
        platform.delete(f"/deployments/{found}")
        restored = several.call(15)
        assert restored.status == "changed"
        assert restored.reason == f"{several.other}: it was not registered"
        assert several.call(16).status == "ok"
    finally:
        _delete(platform, several.names)
