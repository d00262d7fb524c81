"""What a deployment should be, and whether the server's is that."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.config.settings import Settings
from blueprint.prefect_adapter.desired_state import MADE_BY, DesiredDeployment
from blueprint.prefect_adapter.models import Deployment, Schedule
from tests.support.flow_file import FLOW, configured, desired


def test_another_content_of_the_flows_file_is_another_version(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    before = desired(settings, tmp_path)
    assert desired(settings, tmp_path) == before
    (tmp_path / settings.entrypoint.partition(":")[0]).write_text(FLOW + "\n# changed\n")
    assert desired(settings, tmp_path).version != before.version


def as_deployed(target: DesiredDeployment, **other: object) -> Deployment:
    step = {"prefect.deployments.steps.set_working_directory": {"directory": target.folder}}
    details: dict[str, object] = {
        "id": "1",
        "name": target.name,
        "entrypoint": target.entrypoint,
        "pull_steps": [step],
        "pool": target.pool,
        "parameters": target.parameters,
        "schema": target.schema,
        "enforces_schema": True,
        "version": target.version,
        "description": MADE_BY,
        "tags": target.tags,
        "schedules": (Schedule(True, dict(target.schedule or {})),) if target.schedule else (),
        "paused": False,
        "status": "READY",
        "concurrency_limit": target.concurrency_limit,
        "job_variables": {},
    }
    return Deployment(**{**details, **other})  # type: ignore[arg-type]


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
        ({"schedules": (Schedule(False, {}),)}, "number of active schedules is 0"),
        ({"schedules": (Schedule(True, {"cron": "0 8 * * *", "timezone": "UTC"}),)}, "schedule's cron"),
        ({"concurrency_limit": 3}, "concurrency limit is 3"),
        ({"job_variables": {"command": "python"}}, "job variables is {'command': 'python'}"),
    ],
)
def test_a_deployment_that_was_changed_behind_our_back_is_told_apart(
    tmp_path: Path, other: dict[str, object], says: str
) -> None:
    settings = configured(tmp_path, parameters={"size": 5}, cron="0 9 * * *", tags=["mine"])
    target = desired(settings, tmp_path)
    assert target.differences(as_deployed(target)) == []
    found = target.differences(as_deployed(target, **other))
    assert len(found) == 1
    assert found[0].startswith(says)


def test_a_served_flow_is_known_by_its_file_wherever_it_is_run_from(tmp_path: Path) -> None:
    """As Prefect registers it: else task 15 would wait in vain for a flow with a `source`, or named by its module."""
    (tmp_path / "work" / "pkg").mkdir(parents=True)
    (tmp_path / "work" / "pkg" / "__init__.py").touch()
    (tmp_path / "work" / "pkg" / "flows.py").write_text(FLOW)
    for entrypoint in ("pkg/flows.py:mine", "pkg.flows.mine"):
        settings = Settings.model_validate({"entrypoint": entrypoint, "source": "work", "deploy_with": "serve"})
        assert desired(settings, tmp_path).entrypoint == "work/pkg/flows.py:mine"
        deployed = Settings.model_validate({"entrypoint": entrypoint, "source": "work"})
        assert desired(deployed, tmp_path).entrypoint == entrypoint
