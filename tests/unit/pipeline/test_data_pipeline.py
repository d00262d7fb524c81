"""The flow as Prefect sees it, and the script's behaviour before Prefect is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.utilities.callables import parameter_schema
from prefect.utilities.collections import visit_collection
from pydantic import ValidationError

from blueprint.pipeline import data_pipeline
from blueprint.pipeline.config import ExtractConfig, chosen_source_url
from blueprint.pipeline.errors import SourceError
from blueprint.pipeline.source import Readings
from tests.support.rows import batch

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = PROJECT / "blueprint" / "pipeline" / "data_pipeline.py"
FLOW = data_pipeline.enterprise_data_pipeline


def _properties() -> dict[str, dict[str, Any]]:
    return parameter_schema(FLOW).model_dump()["properties"]  # type: ignore[no-any-return]


def test_the_server_is_told_the_bounds_by_which_it_refuses_bad_parameters_at_the_trigger() -> None:
    properties = _properties()
    assert FLOW.name == "Enterprise Data Pipeline"
    assert properties["batch_size"]["type"] == "integer"
    assert (properties["batch_size"]["minimum"], properties["batch_size"]["default"]) == (1, 100)
    assert (properties["timeout_seconds"]["exclusiveMinimum"], properties["timeout_seconds"]["default"]) == (0, 30)
    assert properties["target_table"]["default"] == "warehouse.public.daily_metrics"
    assert properties["source_url"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert all(entry["description"] for entry in properties.values())


@pytest.mark.parametrize("name", ["batch_size", "timeout_seconds"])
def test_the_flow_and_the_config_have_the_same_bounds(name: str) -> None:
    bounds = ("type", "default", "minimum", "maximum", "exclusiveMinimum")
    config = ExtractConfig.model_json_schema()["properties"][name]
    flow = _properties()[name]
    assert {key: config.get(key) for key in bounds} == {key: flow.get(key) for key in bounds}


@pytest.mark.parametrize(
    "bad",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": "invalid"},
        {"timeout_seconds": 0},
        {"timeout_seconds": "nan"},
        {"source_url": ""},
        {"other": 1},
    ],
)
def test_the_config_refuses_what_is_out_of_bounds(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExtractConfig.model_validate({"source_url": "http://example.org"} | bad)


def test_the_source_comes_from_the_parameter_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_SOURCE_URL", "http://env/")
    assert chosen_source_url("http://given/") == "http://given/"
    assert chosen_source_url(None) == "http://env/"
    monkeypatch.delenv("PIPELINE_SOURCE_URL")
    with pytest.raises(SourceError, match="PIPELINE_SOURCE_URL"):
        chosen_source_url(None)


def test_the_tasks_have_the_names_tags_and_retry_policy_that_users_filter_by() -> None:
    tasks: list[Task[..., Any]] = [data_pipeline.extract_task, data_pipeline.transform_task, data_pipeline.load_task]
    assert [(task.name, task.tags, task.retries) for task in tasks] == [
        ("extract-task", {"layer:raw", "op:extract"}, 3),
        ("transform-task", {"layer:silver", "op:transform"}, 0),
        ("load-task", {"layer:gold", "op:load"}, 0),
    ]
    assert cast("object", tasks[0].retry_delay_seconds) == 2
    assert all(task.cache_policy is NO_CACHE and task.persist_result is False for task in tasks)


def test_prefect_does_not_walk_the_batch_that_is_handed_from_task_to_task() -> None:
    metrics = batch(1000)
    visited: list[object] = []

    def visit(value: object) -> object:
        visited.append(value)
        return value

    for handed_over in (metrics, Readings(metrics._readings, pages=1, exhausted=False)):
        visited.clear()
        visit_collection({"data": handed_over}, visit_fn=visit)
        assert len(visited) < 10


def test_the_flow_is_found_by_its_entrypoint_from_any_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from prefect.flows import load_flow_from_entrypoint as load; "
        f"print(load({str(SCRIPT)!r} + ':enterprise_data_pipeline', use_placeholder_flow=False).name, "
        "bool({'sqlalchemy', 'uvicorn', 'psutil'} & set(sys.modules)))"
    )
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "Enterprise Data Pipeline False", done.stderr
