"""Putting the table into pyproject.toml: what a user would lose if a byte of the rest were touched."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.config.scaffold import pyproject, table
from blueprint.core.errors import UsageError

NEW = '[tool.blueprint]\nentrypoint = "etl.py:etl"\n\n[tool.blueprint.parameters]\nrows = 3\n'
PATH = Path("pyproject.toml")

REPLACED = {
    "at the end": ('[project]\nname = "x"\n\n', "[tool.blueprint]\nport = 1\n", ""),
    "in the middle": (
        '[project]\nname = "x"\n',
        "[tool.blueprint]\nport = 1 # mine\n",
        "\n# of ruff\n[tool.ruff]\na = 1\n",
    ),
    "with tables in it": ("", "[tool.blueprint]\n[tool.blueprint.tasks.t]\nretries = 1\n", "\n[tool.ruff]\n"),
    "with a list of tables in it": ("", "[[tool.blueprint.deployments]]\nx = 1\n", "\n\n\n[tool.ruff]\n"),
    "under a quoted name": ("# top\n", '["tool"."blueprint"]\nport = 1\n', "[tool.ruff]\n"),
    "beside a text that looks like it": ('a = """\n[tool.blueprint]\n"""\nb = [\n[1],\n]\n', "[tool.blueprint]\n", ""),
    "with other line ends": ('[project]\r\nname = "x"\r\n', "[tool.blueprint]\r\nport = 1\r\n", "\r\n[tool.ruff]\r\n"),
}


@pytest.mark.parametrize("name", REPLACED)
def test_only_the_table_is_replaced_and_every_other_byte_is_kept(name: str) -> None:
    before, old, after = REPLACED[name]
    new = pyproject.with_table(before + old + after, NEW, PATH)
    newline = "\r\n" if "\r\n" in before else "\n"
    assert new == before + NEW.replace("\n", newline) + after


OTHERS = st.sampled_from(
    (
        '[project]\nname = "x" # of the project\n',
        "[tool.ruff]\nline-length = 120\n",
        "[tool.ruff.lint]\nselect = [\n  'E', # errors\n  'F',\n]\n",
        "[[tool.mypy.overrides]]\nmodule = 'x'\n",
        '[tool.text]\nlooks = """\n[tool.blueprint]\n# like ours\n"""\n',
        "[dependency-groups]\ntest = []\n",
        "  [indented]\n  a.b = 1\n",
    )
)
GAPS = st.sampled_from(("", "\n", "\n\n\n", "\n# about the next\n", "\n\n# about\n\n# the next\n"))
OURS = st.sampled_from(
    (
        "[tool.blueprint]\n",
        "[tool.blueprint] # mine\nport = 1 # too\n# and this\n",
        "[tool.blueprint.tasks.t]\nretries = 1\n\n# on the cases\n[tool.blueprint.acceptance]\nrefused = [{ a = 1 }]\n",
        '[tool.blueprint]\ncheck = """\n# no comment\n"""\n[[tool.blueprint.deployments]]\ndeployment = "a"\n',
    )
)


@given(
    before=st.lists(st.tuples(OTHERS, GAPS), max_size=3, unique_by=lambda part: part[0]),
    ours=OURS,
    gap=GAPS,
    after=st.lists(st.tuples(OTHERS, GAPS), max_size=3, unique_by=lambda part: part[0]),
    newline=st.sampled_from(("\n", "\r\n")),
)
def test_whatever_stands_around_the_table_stays_as_it_is(
    before: list[tuple[str, str]], ours: str, gap: str, after: list[tuple[str, str]], newline: str
) -> None:
    head, tail = ("".join(map("".join, parts)).replace("\n", newline) for parts in (before, after))
    old = head + (ours + gap).replace("\n", newline) + tail
    try:
        tomllib.loads(old)
    except ValueError:
        return  # a table twice
    new = pyproject.with_table(old, NEW, PATH)
    assert new == head + (NEW + gap).replace("\n", newline) + tail


@pytest.mark.parametrize("old", ["", "[project]\n", '[project]\nname = "x"', "# only a comment\n"])
def test_without_a_table_it_is_added_at_the_end(old: str) -> None:
    new = pyproject.with_table(old, NEW, PATH)
    assert new.startswith(old)
    assert tomllib.loads(new)["tool"]["blueprint"]["parameters"] == {"rows": 3}


@pytest.mark.parametrize(
    "old",
    [
        "[tool]\nblueprint = { port = 1 }\n",
        "tool = 1\n",
        "x = 1\ntool = { blueprint = { port = 1 } }\n",
        "[[tool]]\n[tool.blueprint]\nport = 1\n",
        "[tool.blueprint]\nport = 1\n[tool.ruff]\na = 1\n[tool.blueprint.acceptance]\n[tool.mypy]\n",
        "[tool.blueprint]\nport = 1\n\n# of ruff\n[tool.ruff]\na = 1\n\n[tool.blueprint.acceptance]\n",
    ],
)
def test_a_table_that_cannot_be_cut_out_is_refused_rather_than_guessed(old: str) -> None:
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        pyproject.with_table(old, NEW, PATH)


def test_a_damaged_file_is_refused_untouched() -> None:
    with pytest.raises(UsageError, match="not valid TOML"):
        pyproject.with_table("[project\n", NEW, PATH)


def test_the_files_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("")
    path.chmod(0o644)
    pyproject.write(path, NEW)
    assert path.read_text() == NEW
    assert path.stat().st_mode & 0o777 == 0o644


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_any_default_of_a_flow_is_read_back_as_it_was(found: dict[str, object]) -> None:
    lines = "".join(f"{table.key(name)} = {table.value(one)}\n" for name, one in found.items())
    assert tomllib.loads(lines) == found
