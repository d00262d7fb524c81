"""Reads pyproject.toml, and says in a sentence why it cannot be read. Standard library only."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from blueprint.config.excerpt import excerpt
from blueprint.core.errors import UsageError


def read(path: Path) -> str:
    """Return the document with its line ends as they are."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path} is missing.", "Restore it from the repository.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not valid TOML: it is not UTF-8.", "Correct it and run again.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Make it a readable file.") from None


def parse(text: str, path: Path) -> dict[str, Any]:
    """Return what the document says."""
    try:
        return tomllib.loads(text)
    except ValueError as error:  # also a number with thousands of digits
        raise UsageError(f"{path} is not valid TOML: {excerpt(error, 200)}.", "Correct it and run again.") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deep.", "Correct it and run again.") from None


def tool_table(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return `[tool.blueprint]`; empty if there is none."""
    tool = document.get("tool", {})
    table = tool.get("blueprint", {}) if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise UsageError(f"{path}: tool.blueprint must be a table.", "Write it as [tool.blueprint].")
    return table
