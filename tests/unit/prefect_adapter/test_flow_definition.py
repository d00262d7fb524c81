"""What a flow's own code tells of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blueprint.core.errors import FlowError
from blueprint.prefect_adapter.flow_definition import DEFINITION
from tests.support.flow_file import FLOW, configured, described


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


@pytest.mark.parametrize("sign", ["\x1b[31m", "\x07", "\n", "\x9b", "\u202e"])
@pytest.mark.parametrize(("what", "old"), [("flow", 'name="Mine"'), ("task", 'name="copy"'), ("tag", 'tags=["a"]')])
def test_a_name_that_would_act_on_a_terminal_is_refused_where_it_is_read(
    tmp_path: Path, what: str, old: str, sign: str
) -> None:
    code = FLOW.replace(old, re.sub(r'"\w+"', lambda _: repr(f"planted{sign}"), old))
    with pytest.raises(FlowError, match=f"name of the {what} 'planted") as refused:
        described(configured(tmp_path, code), tmp_path)
    assert sign not in str(refused.value)
