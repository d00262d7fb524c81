"""The lock: what it pins is read whole or refused, and it is the lock of what pyproject.toml asks for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.requirements import Requirement

from blueprint.bootstrap.lockfile import holds, normalised, read_lock, select
from blueprint.errors import EnvironmentRefused

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
    assert first.text == f"SQLAlchemy[asyncio]==2.1.4  {HASH}  {HASH}"
    assert (str(second), second.marker) == ("py-win==3", "sys_platform == 'win32' or python_full_version < '3'")
    assert select([first, second]) == (first,)


VERSIONS = st.tuples(st.integers(2, 4), st.integers(0, 15), st.integers(0, 12)).map(lambda one: ".".join(map(str, one)))
MACHINES = st.fixed_dictionaries(
    {
        "sys_platform": st.sampled_from(["linux", "darwin", "win32"]),
        "implementation_name": st.sampled_from(["cpython", "pypy"]),
        "platform_python_implementation": st.sampled_from(["CPython", "PyPy"]),
        "python_full_version": VERSIONS | VERSIONS.map(lambda one: f"{one}rc1"),
    }
)
NAMES = st.sampled_from(["linux", "win32", "cpython", "pypy", "PyPy"])
COMPARISONS = st.one_of(
    st.tuples(st.sampled_from(["sys_platform", "implementation_name"]), st.sampled_from(["==", "!="]), NAMES),
    st.tuples(
        st.just("python_full_version"),
        st.sampled_from(["<", ">=", "<=", ">", "==", "!=", "~="]),
        VERSIONS | st.integers(0, 15).map("3.{}".format),
    ),
).map(lambda one: f"{one[0]} {one[1]} '{one[2]}'")


@given(COMPARISONS, st.lists(st.tuples(st.sampled_from([" and ", " or "]), COMPARISONS), max_size=3), MACHINES)
def test_a_package_is_left_out_only_on_machines_that_do_not_need_it(
    first: str, more: list[tuple[str, str]], machine: dict[str, str]
) -> None:
    marker = first + "".join(word + comparison for word, comparison in more)
    assert holds(marker, machine) in (None, Marker(marker).evaluate(machine))


@pytest.mark.parametrize("marker", ["(sys_platform == 'linux')", "extra == 'x'", "python_full_version == '3.*'", ""])
def test_a_marker_of_another_form_is_not_guessed_at(marker: str) -> None:
    assert holds(marker, {"python_full_version": "3.11.7"}) is None


@given(MACHINES)
def test_what_the_lock_asks_for_is_known_before_anything_is_installed(machine: dict[str, str]) -> None:
    machine["python_full_version"] = machine["python_full_version"].removesuffix("rc1")
    markers = {pin.marker for pin in read_lock(LOCKS[0])} - {""}
    assert {marker: holds(marker, machine) for marker in markers} == {
        marker: Marker(marker).evaluate(machine) for marker in markers
    }


@pytest.mark.parametrize("line", ["prefect>=3", "prefect==3.8.8", "-r other.txt", f"prefect==3.8.8 {HASH[:-1]}", "???"])
def test_a_line_that_pins_nothing_is_named(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"good==1 \\\n    {HASH}\n{line}\n")
    with pytest.raises(EnvironmentRefused, match=r"requirements\.lock, line 3: not a package"):
        read_lock(lock)


def test_a_missing_lock_is_one_sentence_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefused, match="cannot be read") as refusal:
        read_lock(tmp_path / "requirements.lock")
    assert "git checkout" in refusal.value.what_to_do


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
