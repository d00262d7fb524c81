"""What a flow's own code tells of it."""

from __future__ import annotations

from pathlib import Path

from blueprint.prefect_adapter.flow_definition import DEFINITION
from tests.support.flow_file import configured, described


def test_a_flow_is_told_by_its_own_code(tmp_path: Path) -> None:
    found = described(configured(tmp_path), tmp_path)
    assert found.name == "Mine"
    assert set(found.tasks) == {"copy"}
    assert (found.tasks["copy"].retries, found.tasks["copy"].retry_delay_seconds) == (2, 3)
    assert found.tasks["copy"].tags == {"a"}
    assert set(found.schema["properties"]) == {"size", "name"}


def test_a_definition_survives_the_way_between_two_processes(tmp_path: Path) -> None:
    found = described(configured(tmp_path), tmp_path)
    assert DEFINITION.validate_json(DEFINITION.dump_json(found)) == found
