"""The user's code is loaded, or it is told why it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.config.settings import Settings
from blueprint.core.task import TaskFailed
from blueprint.prefect_adapter.flow_definition import flow_definition
from blueprint.prefect_adapter.flow_loading import import_from
from tests.support.flow_file import configured


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
def test_a_flow_that_cannot_be_loaded_is_a_failure_that_names_it(tmp_path: Path, code: str, says: str) -> None:
    settings = configured(tmp_path, code)
    with pytest.raises(TaskFailed, match=settings.entrypoint) as raised:
        flow_definition(settings, tmp_path)
    assert says in raised.value.what
    assert raised.value.hint


def test_a_flows_file_that_is_gone_is_a_failure_that_names_it(tmp_path: Path) -> None:
    settings = Settings.model_validate({"entrypoint": "gone.py:mine"})
    with pytest.raises(TaskFailed, match=r"gone\.py does not exist"):
        flow_definition(settings, tmp_path)


def test_flows_in_two_folders_each_have_the_helpers_that_lie_beside_them(tmp_path: Path) -> None:
    code = "from prefect import flow\nfrom helpers import NAME\n\n@flow(name=NAME)\ndef mine(): ...\n"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "flow.py").write_text(code)
        (tmp_path / folder / "helpers.py").write_text(f"NAME = {folder!r}\n")
        (tmp_path / folder / "my_checks.py").write_text("import helpers\n")
    settings = {
        name: Settings.model_validate({"entrypoint": "flow.py:mine", "source": name}) for name in ("one", "two")
    }
    found = {name: flow_definition(one, tmp_path).name for name, one in settings.items()}
    assert found == {"one": "one", "two": "two"}
    for folder in ("one", "two", "one"):
        assert folder == import_from(tmp_path / folder, "my_checks").helpers.NAME
