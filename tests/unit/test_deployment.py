"""What can be told of a flow and its deployment without a server."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from blueprint import deployment, platform
from blueprint.facts import Deployment, Schedule
from blueprint.settings import Settings
from blueprint.task import TaskFailed
from blueprint.workspace import Workspace

FLOW = """
from typing import Annotated
from prefect import flow, task
from pydantic import Field

@task(name="copy", retries=2, retry_delay_seconds=[3, 6], tags=["a"])
def copy(): ...

@flow(name="Mine", retries=1, retry_delay_seconds=4)
def mine(size: Annotated[int, Field(ge=1)], name: str = "x"):
    print("imported")
"""
_numbers = itertools.count()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def configured(root: Path, code: str = FLOW, **values: object) -> Settings:
    """Settings of a flow in a file of its own: what was loaded once is remembered by its name."""
    name = f"flow_{next(_numbers)}.py"
    (root / name).write_text(code)
    return Settings.model_validate({"entrypoint": f"{name}:mine", **values})


def test_a_flow_is_told_by_its_own_code(root: Path) -> None:
    found = deployment.flow_definition(configured(root), root)
    assert found.name == "Mine"
    assert (found.policy.retries, found.policy.retry_delay_seconds) == (1, 4)
    assert set(found.tasks) == {"copy"}
    assert (found.tasks["copy"].retries, found.tasks["copy"].retry_delay_seconds) == (2, 3)
    assert found.tasks["copy"].tags == {"a"}
    assert set(found.schema["properties"]) == {"size", "name"}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_package", "no_such_package"),
        ("def mine(:", "SyntaxError"),
        ("mine = 5", "not a flow"),
        ("other = 5", "mine"),
        ("raise SystemExit(3)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_flow_that_cannot_be_loaded_is_a_failure_that_names_it(root: Path, code: str, says: str) -> None:
    settings = configured(root, code)
    with pytest.raises(TaskFailed, match=settings.entrypoint) as raised:
        deployment.flow_definition(settings, root)
    assert says in raised.value.what
    assert raised.value.what_to_do


def test_a_flows_file_that_is_gone_is_a_failure_that_names_it(root: Path) -> None:
    settings = Settings.model_validate({"entrypoint": "gone.py:mine"})
    with pytest.raises(TaskFailed, match=r"gone\.py does not exist"):
        deployment.flow_definition(settings, root)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"size": 5}, ""),
        ({"size": 5, "name": "y"}, ""),
        ({}, "size: has no default"),
        ({"size": 5, "siez": 6}, "siez: the flow has no such parameter"),
        ({"size": 0}, "greater than or equal to 1"),
        ({"size": "many"}, "integer"),
    ],
)
def test_parameters_that_do_not_fit_are_told_before_the_server_is_asked(
    root: Path, parameters: dict[str, object], says: str
) -> None:
    problems = deployment.parameter_problems(configured(root), root, parameters)
    assert says in "; ".join(problems)
    assert bool(problems) == bool(says)


def test_another_content_of_the_flows_file_is_another_version(root: Path) -> None:
    settings = configured(root)
    before = deployment.wanted(settings, root)
    assert deployment.wanted(settings, root) == before
    (root / settings.entrypoint.partition(":")[0]).write_text(FLOW + "\n# changed\n")
    assert deployment.wanted(settings, root).version != before.version


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({}, None),
        ({"cron": "0 9 * * *"}, {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}),
        ({"interval": 90}, {"interval": 90, "timezone": "Europe/Berlin"}),
        ({"rrule": "FREQ=DAILY"}, {"rrule": "FREQ=DAILY", "timezone": "Europe/Berlin"}),
    ],
)
def test_the_schedule_that_is_configured_is_the_one_that_is_wanted(
    root: Path, given: dict[str, Any], schedule: dict[str, Any] | None
) -> None:
    settings = configured(root, timezone="Europe/Berlin", **given)
    assert deployment.wanted(settings, root).schedule == schedule
    made = deployment._schedule(settings)
    assert (made is None) == (schedule is None)
    if made:
        assert made.timezone == "Europe/Berlin"


def as_deployed(target: deployment.Wanted, **other: object) -> Deployment:
    step = {"prefect.deployments.steps.set_working_directory": {"directory": target.folder}}
    facts: dict[str, object] = {
        "id": "1",
        "name": target.name,
        "flow_id": "2",
        "entrypoint": target.entrypoint,
        "path": None,
        "pull_steps": [step],
        "pool": target.pool,
        "parameters": target.parameters,
        "schema": target.schema,
        "enforces_schema": True,
        "version": target.version,
        "description": deployment.MADE_BY,
        "tags": target.tags,
        "schedules": (Schedule("3", True, dict(target.schedule or {})),) if target.schedule else (),
        "paused": False,
        "status": "READY",
        "concurrency_limit": target.concurrency_limit,
        "job_variables": target.job_variables,
    }
    return Deployment(**{**facts, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"entrypoint": "other.py:flow"}, "entrypoint is 'other.py:flow'"),
        ({"pool": "other-pool"}, "work pool is 'other-pool'"),
        ({"parameters": {"size": 6}}, "parameters is {'size': 6}"),
        ({"tags": frozenset({"other"})}, "tags is ['other']"),
        ({"version": "0"}, "version is '0'"),
        ({"enforces_schema": False}, "enforces its schema is False"),
        ({"paused": True}, "paused is True"),
        ({"pull_steps": []}, "folder is []"),
        ({"schedules": ()}, "number of active schedules is 0"),
        ({"schedules": (Schedule("3", False, {}),)}, "number of active schedules is 0"),
        ({"schedules": (Schedule("3", True, {"cron": "0 8 * * *", "timezone": "UTC"}),)}, "schedule's cron"),
        ({"concurrency_limit": 3}, "concurrency limit is 3"),
        ({"job_variables": {}}, "job variables is {}"),
    ],
)
def test_a_deployment_that_was_changed_behind_our_back_is_told_apart(
    root: Path, other: dict[str, object], says: str
) -> None:
    settings = configured(root, parameters={"size": 5}, cron="0 9 * * *", tags=["mine"])
    target = deployment.wanted(settings, root)
    assert target.differences(as_deployed(target)) == []
    found = target.differences(as_deployed(target, **other))
    assert len(found) == 1
    assert found[0].startswith(says)


def test_a_served_flow_is_known_by_its_file_wherever_it_is_run_from(root: Path) -> None:
    """As Prefect registers it: else task 15 would wait in vain for a flow with a `source`, or named by its module."""
    (root / "work" / "pkg").mkdir(parents=True)
    (root / "work" / "pkg" / "__init__.py").touch()
    (root / "work" / "pkg" / "flows.py").write_text(FLOW)
    for entrypoint in ("pkg/flows.py:mine", "pkg.flows.mine"):
        settings = Settings.model_validate({"entrypoint": entrypoint, "source": "work", "deploy_with": "serve"})
        assert deployment.wanted(settings, root).entrypoint == "work/pkg/flows.py:mine"
        deployed = Settings.model_validate({"entrypoint": entrypoint, "source": "work"})
        assert deployment.wanted(deployed, root).entrypoint == entrypoint


def test_a_serving_process_is_told_of_every_deployment_and_of_no_secret(root: Path) -> None:
    (root / "requirements.lock").touch()
    settings = Settings.model_validate(
        {
            "deploy_with": "serve",
            "host": "0.0.0.0",
            "api_auth_string": "user:planted",
            "deployments": [{"deployment": "a"}, {"deployment": "b", "entrypoint": "b.py:c"}],
        }
    )
    text = platform.runner(settings, Workspace(root)).env[platform.SETTINGS_VARIABLE]
    assert "planted" not in text
    read = [Settings.model_validate(one) for one in json.loads(text)]
    assert [(one.deployment, one.entrypoint, one.data_source) for one in read] == [
        ("a", settings.entrypoint, "bundled"),
        ("b", "b.py:c", None),
    ]


def test_flows_in_two_folders_each_have_the_helpers_that_lie_beside_them(root: Path) -> None:
    code = "from prefect import flow\nfrom helpers import NAME\n\n@flow(name=NAME)\ndef mine(): ...\n"
    for folder in ("one", "two"):
        (root / folder).mkdir()
        (root / folder / "flow.py").write_text(code)
        (root / folder / "helpers.py").write_text(f"NAME = {folder!r}\n")
        (root / folder / "my_checks.py").write_text("import helpers\n")
    settings = {
        name: Settings.model_validate({"entrypoint": "flow.py:mine", "source": name}) for name in ("one", "two")
    }
    found = {name: deployment.flow_definition(one, root).name for name, one in settings.items()}
    assert found == {"one": "one", "two": "two"}
    for folder in ("one", "two", "one"):
        assert folder == deployment.import_from(root / folder, "my_checks").helpers.NAME
