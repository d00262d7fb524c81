"""The page of faults promises tests: a promise without its test would be a lie that nobody notices."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support import install_faults

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "tests" / "FAULTS.md"


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_of_faults_names_exists_and_every_row_names_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 50
    missing = [f"{file}::{name}" for file, name in named if name not in functions(REPO / file)]
    assert missing == []
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]
    assert [row for row in rows if "::test_" not in row.split("|")[3]] == []


def test_the_page_of_install_faults_is_what_the_tests_bring_about() -> None:
    page = (REPO / "docs" / "install-faults.md").read_text(encoding="utf-8")
    assert page == install_faults.text(), "run: python -m tests.support.install_faults"
