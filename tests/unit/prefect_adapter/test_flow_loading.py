"""The user's code is loaded, or it is told why it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.core.errors import FlowError
from blueprint.prefect_adapter.flow_loading import load, load_check
from tests.support.flow_file import configured


@pytest.mark.parametrize(
    ("code", "says", "hint"),
    [
        ("import no_such_package", "no_such_package", "`requirements`"),
        ("def mine(:", "SyntaxError", "Correct the flow's file"),
        ("mine = 5", "not a flow", "Correct the flow's file"),
        ("other = 5", "mine", "Correct the flow's file"),
        ("raise SystemExit(3)", "SystemExit", "Correct the flow's file"),
        ("1 / 0", "ZeroDivisionError", "Correct the flow's file"),
        ("from .helpers import size", "No module named", "Relative imports need a package"),
        ("from ..helpers import size", "relative import", "Relative imports need a package"),
    ],
)
def test_a_flow_that_cannot_be_loaded_is_a_failure_that_names_it(
    tmp_path: Path, code: str, says: str, hint: str
) -> None:
    settings = configured(tmp_path, code)
    with pytest.raises(FlowError, match=settings.entrypoint) as raised:
        load(settings.entrypoint, tmp_path)
    assert says in raised.value.what
    assert hint in raised.value.hint
    assert settings.entrypoint in raised.value.where_to_look


def test_a_flows_file_that_is_gone_is_a_failure_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match=r"gone\.py does not exist"):
        load("gone.py:mine", tmp_path)


def test_flows_in_two_folders_each_have_the_helpers_that_lie_beside_them(tmp_path: Path) -> None:
    """As in a process that serves them both."""
    code = "from prefect import flow\nfrom helpers import NAME\n\n@flow(name=NAME)\ndef mine(): ...\n"
    check = "import helpers\n\ndef name(run_id, parameters):\n    return helpers.NAME\n"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "flow.py").write_text(code)
        (tmp_path / folder / "helpers.py").write_text(f"NAME = {folder!r}\n")
        (tmp_path / folder / "my_checks.py").write_text(check)
    assert [load("flow.py:mine", tmp_path / folder).name for folder in ("one", "two")] == ["one", "two"]
    for folder in ("one", "two", "one"):
        assert load_check("my_checks:name", tmp_path / folder)("", {}) == folder
