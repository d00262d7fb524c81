"""Where settings come from: pyproject.toml's `[tool.blueprint]`, then BLUEPRINT_… variables, then the command line.

A later source overrides an earlier one, key by key. Everything unusable is one sentence that names source and key.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blueprint.errors import UsageError
from blueprint.settings import SECRETS, Settings

ENVIRONMENT_PREFIX = "BLUEPRINT_"
_TEXTS = frozenset(
    (
        *SECRETS,
        *("entrypoint", "source", "deployment", "deploy_with", "cron", "rrule", "timezone"),
        *("pool", "host", "data_source", "check"),
    )
)


def load(
    root: Path, environment: Mapping[str, str], arguments: Iterable[str] = (), remembered: Iterable[str] = ()
) -> Settings:
    """Read the settings.

    Args:
        root: The folder whose pyproject.toml is read.
        environment: Variables named BLUEPRINT_<KEY> override the file; tables and lists are given as JSON.
        arguments: `key=value` from the command line; override both.
        remembered: What the last execution's command line gave: it stays until something newer than the file says
            otherwise, so that `verify` or `--resume` mean the platform that was set up.

    Raises:
        UsageError: An unknown key or a value that is not accepted, with its source and what is accepted.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for found, source in (
        (_from_file(root / "pyproject.toml"), "pyproject.toml [tool.blueprint]"),
        (_from_arguments(remembered), "command line of the last execution"),
        (_from_environment(environment), "environment"),
        (_from_arguments(arguments), "command line"),
    ):
        values.update(found)
        sources.update(dict.fromkeys(found, source))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(*_explain(error, sources)) from None


def _from_file(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing.", "Restore it from the repository.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", "Correct it and run again.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Make it a readable file.") from None
    tool = document.get("tool", {})
    table = tool.get("blueprint", {}) if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise UsageError(f"{path}: tool.blueprint must be a table.", "Write it as [tool.blueprint].")
    return table


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for variable, text in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            if key not in Settings.model_fields:
                raise UsageError(f"The environment variable {variable} names no setting.", _known("BLUEPRINT_<KEY>"))
            values[key] = _value(key, text)
    return values


def _from_arguments(arguments: Iterable[str]) -> dict[str, Any]:
    values = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or key not in Settings.model_fields:
            raise UsageError(f"--set {argument!r} names no setting.", _known("--set KEY=VALUE"))
        if key in SECRETS:
            raise UsageError(
                f"{key} is a secret, and arguments can be seen by every user of the machine.",
                f"Set the environment variable {ENVIRONMENT_PREFIX}{key.upper()} instead.",
            )
        values[key] = _value(key, text)
    return values


def _value(key: str, text: str) -> Any:
    """Texts are taken as they are; for everything else JSON is tried first, and Pydantic judges the result."""
    if key in _TEXTS:
        return text or None if Settings.model_fields[key].default is None else text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _known(form: str) -> str:
    return f"Accepted: {form} with one of {', '.join(sorted(Settings.model_fields))}."


def _explain(error: ValidationError, sources: Mapping[str, str]) -> tuple[str, str]:
    sentences = []
    accepted = ""
    for problem in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in problem["loc"])
        key = str(problem["loc"][0]) if problem["loc"] else ""
        source = sources.get(key, "settings")
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown key"
            accepted = f"Known keys: {', '.join(sorted(Settings.model_fields))}."
        sentences.append(f"{source}: {path + ': ' if path else ''}{message}")
    return "; ".join(sentences) + ".", accepted or "Correct it and run again; README.md lists every key."
