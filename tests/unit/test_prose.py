"""Prose that a stranger can follow, and a README whose files and commands exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
ROOMS = ("core", "execution", "pipeline", "reports")
MODULES = sorted(module for room in ROOMS for module in (REPO / "blueprint" / room).rglob("*.py"))
MOST_WORDS = 20
RIDDLES = re.compile(r"(What|Who|Whom|Whose|Where|When|Why|Whether|How|That|Not|Nothing|Nobody|And|But)\b")


def first_sentence(docstring: str) -> str:
    """Return the text up to the first full stop that ends a sentence, or the first paragraph if none does."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


def docstrings(module: Path) -> list[tuple[int, str]]:
    """Return line and text of every docstring of a module."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [(getattr(node, "lineno", 1), text) for node in nodes if (text := ast.get_docstring(node))]


def offences(docstring: str) -> list[str]:
    """Return what makes a docstring hard to read."""
    sentence = first_sentence(docstring)
    words = len(sentence.split())
    found = [f"begins with {match[0]!r}"] if (match := RIDDLES.match(sentence)) else []
    return found + ([f"its first sentence has {words} words"] if words > MOST_WORDS else [])


def test_a_riddle_and_a_long_sentence_are_found() -> None:
    assert offences("What a run can be told.") == ["begins with 'What'"]
    assert offences("Return the running processes of a service, oldest first. " + "More words. " * 30) == []
    assert offences(" ".join(["word"] * 21) + ".") == ["its first sentence has 21 words"]


@pytest.mark.parametrize("module", MODULES, ids=[str(module.relative_to(REPO)) for module in MODULES])
def test_docstrings_begin_with_a_short_sentence_that_a_stranger_understands(module: Path) -> None:
    assert [(line, offence, text) for line, text in docstrings(module) for offence in offences(text)] == []
