"""Puts a table into pyproject.toml and leaves every other byte as it was."""

from __future__ import annotations

import os
import tomllib
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

from blueprint.config import toml_file
from blueprint.core.errors import UsageError
from blueprint.core.files import write_whole

_PLACEHOLDER = "blueprint-goes-here"


def with_table(old: str, table: str, path: Path) -> str:
    """Return the document with its `[tool.blueprint]`, and the tables in it, replaced by this text.

    Raises:
        UsageError: The old document is no TOML, or has the table in a form that cannot be cut out.
    """
    before = toml_file.parse(old, path)
    newline = "\r\n" if "\r\n" in old else "\n"
    block = table.replace("\n", newline)
    tool = before.get("tool", {})
    if isinstance(tool, dict) and "blueprint" in tool:
        new = _replaced(old, block)
    else:
        gap = "" if not old else newline if old.endswith("\n") else newline * 2
        new = old + gap + block
    try:
        is_wanted = tomllib.loads(new) == {**before, "tool": {**tool, **tomllib.loads(table)["tool"]}}
    except (ValueError, TypeError):  # it does not say what the old one said, but for the table
        is_wanted = False
    if not is_wanted:
        raise UsageError(
            f"{path} sets tool.blueprint in a way that cannot be replaced.",
            "Write it as one table, [tool.blueprint], with its own tables directly below it, or remove it.",
        )
    return new


def write(path: Path, new: str) -> None:
    """Replace the file's content, all or nothing; its permissions stay."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o777
    write_whole(target, new)
    os.chmod(target, mode)  # noqa: PTH101  the file was made private, and belongs to the repository


def _replaced(old: str, block: str) -> str:
    """Return the document with its table replaced; empty if the rest would not stay as it is.

    tomlkit counts blank lines and comments above the next table to ours; they are kept.
    """
    import tomlkit

    document: Any = tomlkit.parse(old)
    try:
        document["tool"]["blueprint"] = {_PLACEHOLDER: 0}
    except (TypeError, ValueError):  # one of the two is no table
        return ""
    text: str = document.as_string()
    head, _, rest = text.partition(f"{_PLACEHOLDER} = 0\n")
    head, rest = head.rpartition("[")[0], rest.lstrip("\r\n")
    if not (old.startswith(head) and old.endswith(rest)):
        return ""
    lines = old[len(head) : len(old) - len(rest)].splitlines(keepends=True)
    trailing = list(takewhile(lambda line: not line.strip() or line.lstrip().startswith("#"), reversed(lines)))
    kept = dropwhile(str.strip, reversed(trailing))  # a comment directly below our last key is ours
    return head + block + "".join(kept) + rest
