"""Putting a table into pyproject.toml and leaving every other byte as it was."""

from __future__ import annotations

import itertools
import os
import tomllib
from pathlib import Path
from typing import Any

from blueprint.core.errors import UsageError
from blueprint.core.files import write_whole


def with_table(old: str, table: str, path: Path) -> str:
    """The document with its `[tool.blueprint]`, and the tables in it, replaced by this text.

    Raises:
        UsageError: The old document is no TOML, or has the table in a form that cannot be cut out.
    """
    before = _parsed(old, path)
    newline = "\r\n" if "\r\n" in old else "\n"
    pieces = _pieces(old)
    ours = [index for index, (is_ours, _) in enumerate(pieces) if is_ours]
    block = table.replace("\n", newline)
    if ours:
        kept = [text for index, (_, text) in enumerate(pieces) if index not in ours[1:]]
        kept[ours[0]] = block
        new = "".join(kept)
    else:
        gap = "" if not old else newline if old.endswith("\n") else newline * 2
        new = old + gap + block
    if not _as_wanted(before, new, tomllib.loads(table)):
        raise UsageError(
            f"{path} sets tool.blueprint in a way that cannot be replaced.",
            "Write it as a table of its own, [tool.blueprint], or remove it.",
        )
    return new


def existing(old: str, path: Path) -> dict[str, Any]:
    """The table as it is; empty if there is none.

    Raises:
        UsageError: The document is no TOML.
    """
    tool = _parsed(old, path).get("tool", {})
    table = tool.get("blueprint", {}) if isinstance(tool, dict) else {}
    return table if isinstance(table, dict) else {"": table}


def write(path: Path, new: str) -> None:
    """Replace the file's content, all or nothing; its permissions stay.

    Raises:
        EnvironmentRefused: It cannot be written.
    """
    target = path.resolve()
    mode = target.stat().st_mode & 0o777
    write_whole(target, new)
    os.chmod(target, mode)  # noqa: PTH101  the file was made private, and belongs to the repository


def read(path: Path) -> str:
    """The document with its line ends as they are.

    Raises:
        UsageError: It is missing or cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path} is missing.", "Restore it from the repository.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not valid TOML: it is not UTF-8.", "Correct it and run again.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Make it a readable file.") from None


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", "Correct it and run again.") from None


def _as_wanted(before: dict[str, Any], new: str, table: dict[str, Any]) -> bool:
    """Whether the new document says what the old one said, but for the table."""
    try:
        after = tomllib.loads(new)
    except ValueError:
        return False
    tool = before.get("tool", {})
    return isinstance(tool, dict) and after == {**before, "tool": {**tool, **table["tool"]}}


def _pieces(text: str) -> list[tuple[bool, str]]:
    """The document in pieces, each from one table's header to the next, and whether each is ours to replace."""
    lines = text.splitlines(keepends=True)
    starts = [0] + [index for index in range(1, len(lines)) if _is_header(lines, index)]
    pieces: list[tuple[bool, str]] = []
    if not lines:
        return pieces
    borders = [*starts, len(lines)]
    for first, last in itertools.pairwise(borders):
        ours = _is_header(lines, first) and _names_us(lines[first])
        end = last
        if ours:  # what stands directly above the next header belongs to that, and so does the gap before it
            while end > first + 1 and last < len(lines) and lines[end - 1].lstrip().startswith("#"):
                end -= 1
            if end < last and lines[end - 1].strip():
                end = last  # no gap: it is a comment on our own last key
            while end > first + 1 and not lines[end - 1].strip():
                end -= 1
        pieces.append((ours, "".join(lines[first:end])))
        if end < last:
            pieces.append((False, "".join(lines[end:last])))
    return pieces


def _is_header(lines: list[str], index: int) -> bool:
    """Whether a line begins a table: it looks so, and what is before it is complete without it."""
    if not lines[index].lstrip().startswith("["):
        return False
    try:
        tomllib.loads("".join(lines[:index]))
        tomllib.loads(lines[index])
    except ValueError:
        return False
    return True


def _names_us(header: str) -> bool:
    tool = tomllib.loads(header).get("tool")
    tool = tool[-1] if isinstance(tool, list) and tool else tool
    return isinstance(tool, dict) and "blueprint" in tool
