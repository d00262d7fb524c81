from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueprint.config.entrypoint import validate_entrypoint
from blueprint.core.errors import UsageError
from tests.support.garbage import see_that_it_is_proper


@pytest.mark.parametrize(
    "code",
    [
        "def mine(): ...",
        "async def mine(): ...",
        "mine = object()",
        "from elsewhere import other as mine",
        "from elsewhere import *",
        "if True:\n    try:\n        from a import mine\n    except ImportError:\n        mine = None",
        "a, (mine, b) = x",
        "with x as mine: pass",
        "globals()['mi' + 'ne'] = 1",
        "\ufeffdef mine(): ...",
        "raise SystemExit('not run here')\ndef mine(): ...",
    ],
)
def test_a_flow_that_may_be_there_is_not_refused(tmp_path: Path, code: str) -> None:
    (tmp_path / "flow.py").write_text(code, encoding="utf-8")
    validate_entrypoint("flow.py:mine", tmp_path)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (b"def yours(): ...", "nothing named mine"),
        (b"print(mine)", "nothing named mine"),
        (b"def mine(:", "line 1"),
        (b"x = 1\n  y = 2", "line 2"),
        (b"\0", "flow.py"),
        (b"\xff\xfe", "flow.py"),
        (b"", "nothing named mine"),
    ],
)
def test_a_flow_that_cannot_be_there_is_refused_before_anything_is_started(
    tmp_path: Path, code: bytes, says: str
) -> None:
    (tmp_path / "flow.py").write_bytes(code)
    with pytest.raises(UsageError, match=says) as raised:
        validate_entrypoint("flow.py:mine", tmp_path)
    see_that_it_is_proper(raised.value)
    assert "entrypoint" in str(raised.value)


@pytest.mark.parametrize(
    "entrypoint", ["missing.py:mine", "folder.py:mine", f"{'x' * 900}.py:mine", "no_such_package.module.mine"]
)
def test_a_file_or_package_that_is_not_there_is_named(tmp_path: Path, entrypoint: str) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UsageError, match="entrypoint") as raised:
        validate_entrypoint(entrypoint, tmp_path)
    see_that_it_is_proper(raised.value)


def test_a_package_that_task_4_is_about_to_install_is_not_missed(tmp_path: Path) -> None:
    validate_entrypoint("no_such_package.module.mine", tmp_path, may_be_installed=True)


def test_packages_beside_the_flow_and_installed_ones_are_found_without_running_them(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("raise SystemExit")
    validate_entrypoint("mine.flows.main", tmp_path)
    validate_entrypoint("prefect.flows.main", tmp_path)


@given(code=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("error")
def test_no_content_of_the_flows_file_ends_in_a_traceback(tmp_path: Path, code: bytes) -> None:
    (tmp_path / "flow.py").write_bytes(code)
    try:
        validate_entrypoint("flow.py:mine", tmp_path)
    except UsageError as error:
        see_that_it_is_proper(error)
