"""The lock: what it pins is read whole or refused, and it is the lock of what pyproject.toml asks for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from blueprint.bootstrap.lockfile import Pin, normalised, read_lock, select, with_further
from blueprint.core.errors import EnvironmentRefused, UsageError

REPO = Path(__file__).resolve().parents[3]
LOCKS = [REPO / "requirements.lock", REPO / "tests" / "requirements.lock"]
HASH = "--hash=sha256:" + "0" * 64


def locked(path: Path) -> dict[str, str]:
    return {pin.name: pin.version for pin in read_lock(path)}


def test_names_extras_markers_and_versions_are_read(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        f"# a comment\nSQLAlchemy[asyncio]==2.1.4 \\\n    {HASH} \\\n    {HASH}\n    # via prefect\n"
        f"py_win==3 ; sys_platform == 'win32' or python_full_version < '3' \\\n    {HASH}\n"
    )
    first, second = read_lock(lock)
    assert (first.name, first.version, first.marker) == ("sqlalchemy", "2.1.4", "")
    assert first.text == f"SQLAlchemy[asyncio]==2.1.4 {HASH} {HASH}"
    assert (str(second), second.marker) == ("py-win==3", "sys_platform == 'win32' or python_full_version < '3'")
    assert select([first, second]) == (first,)


@pytest.mark.parametrize("line", ["prefect>=3", "prefect==3.8.8", "-r other.txt", f"prefect==3.8.8 {HASH[:-1]}", "???"])
def test_a_line_that_pins_nothing_is_named(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"good==1 \\\n    {HASH}\n{line}\n")
    with pytest.raises(EnvironmentRefused, match=r"requirements\.lock, line 3: this is not a package"):
        read_lock(lock)


def test_a_lock_of_the_users_own_adds_to_it_and_moves_nothing(tmp_path: Path) -> None:
    pins = [Pin("alpha", "1", "", f"alpha==1 {HASH}")]
    mine = tmp_path / "my.lock"
    with pytest.raises(UsageError, match="no such file"):
        with_further(pins, mine)
    mine.write_text(f"alpha==1 {HASH}\ngamma==2 ; os_name == 'nt' {HASH}\ngamma==3 {HASH}\n")
    assert [str(pin) for pin in with_further(pins, mine)] == ["alpha==1", "gamma==2", "gamma==3"]
    mine.write_text(f"alpha==2 {HASH}\n")
    with pytest.raises(UsageError, match=r"has alpha==2, and requirements\.lock another version") as refusal:
        with_further(pins, mine)
    assert "-c requirements.lock" in refusal.value.hint


def test_a_marker_that_cannot_be_read_is_named() -> None:
    with pytest.raises(EnvironmentRefused, match="marker for alpha==1 that cannot be read: sys_platfrm == 'linux'"):
        select([Pin("alpha", "1", "sys_platfrm == 'linux'", "")])


def test_a_missing_lock_is_one_sentence_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefused, match="cannot be read") as refusal:
        read_lock(tmp_path / "requirements.lock")
    assert "git checkout" in refusal.value.hint


@given(st.data())
def test_a_lock_cut_off_anywhere_is_refused_or_a_beginning_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = LOCKS[0].read_bytes()[:12_000]
    whole = {str(pin) for pin in read_lock(LOCKS[0])}
    lock = tmp_path_factory.mktemp("cut") / "requirements.lock"
    lock.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        pins = read_lock(lock)
    except EnvironmentRefused:
        return
    assert {str(pin) for pin in pins} <= whole


@pytest.mark.parametrize("path", LOCKS, ids=["product", "tests"])
def test_the_lock_names_no_index_and_has_a_hash_for_every_package(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "-index" not in text
    assert len(read_lock(path)) > 100


def test_the_lock_is_of_what_the_project_asks_for() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    groups = [(LOCKS[0], project["project"]["dependencies"]), (LOCKS[1], project["dependency-groups"]["test"])]
    for path, asked in groups:
        versions = locked(path)
        for requirement in map(Requirement, asked):
            assert requirement.specifier.contains(versions[normalised(requirement.name)]), requirement


def test_the_tests_run_against_the_very_set_that_users_get() -> None:
    product, tests = map(locked, LOCKS)
    assert product.items() <= tests.items()
