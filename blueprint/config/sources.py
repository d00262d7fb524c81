"""Reads the settings: pyproject.toml's `[tool.blueprint]`, then BLUEPRINT_… variables, then the command line.

A later source overrides an earlier one, key by key. Everything unusable is one sentence that names source and key, and
one that says what is accepted. Standard library only at import: unknown keys are refused before anything is installed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint.config import toml_file
from blueprint.config.defaults import BUNDLED_DEFAULTS
from blueprint.config.excerpt import excerpt
from blueprint.config.keys import KEYS, OF_DEPLOYMENT, RENAMED
from blueprint.core.credentials import passwords
from blueprint.core.errors import UsageError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from blueprint.config.settings import Settings

ENVIRONMENT_PREFIX = "BLUEPRINT_"
_KNOWN = ", ".join(sorted(KEYS))
_MOST_SHOWN = 5


def load(
    root: Path, environment: Mapping[str, str], arguments: Iterable[str] = (), remembered: Iterable[str] = ()
) -> Settings:
    """Read and judge the settings. Arguments and errors as for `read`; a value that is not accepted is an error too."""
    return judge(*read(root, environment, arguments, remembered))


def judge(values: Mapping[str, Any], sources: Mapping[str, str]) -> Settings:
    """Return the settings that the values are; an error about one names its source by `sources`."""
    from pydantic import ValidationError

    from blueprint.config.settings import Settings

    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(*_explain(error, values, sources)) from None


def read(
    root: Path, environment: Mapping[str, str], arguments: Iterable[str] = (), remembered: Iterable[str] = ()
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the values without judging them, before Pydantic is installed.

    Args:
        root: The folder whose pyproject.toml is read.
        environment: Variables named BLUEPRINT_<KEY> override the file; tables and lists are given as JSON.
        arguments: `key=value` from the command line; override both.
        remembered: What the last execution's command line gave: it stays until something newer than the file says
            otherwise, so that `verify` or `--resume` mean the platform that was set up.

    Returns:
        The value of each key, and the source of each.

    Raises:
        UsageError: The file cannot be read, a key is unknown, or a secret is among the arguments.
    """
    path = root / "pyproject.toml"
    table = toml_file.tool_table(toml_file.parse(toml_file.read(path), path), path)
    for key in table:
        _require_known(key, f"pyproject.toml [tool.blueprint]: {excerpt(key)}", f"KEY = VALUE with one of {_KNOWN}")
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    in_environment, given = _from_environment(environment), from_arguments(arguments)
    for found, source in (
        (table, "pyproject.toml [tool.blueprint]"),
        (_from_earlier(remembered, {*in_environment, *given}), "command line of the last execution"),
        (in_environment, "environment"),
        (given, "command line"),
    ):
        values.update(found)
        sources.update(dict.fromkeys(found, source))
    _require_deployment_keys(values.get("deployments"), sources.get("deployments", ""))
    return values, sources


def _from_earlier(remembered: Iterable[str], replaced: Collection[str]) -> dict[str, Any]:
    """Read the settings of earlier command lines; one that is replaced now need not be acceptable any more."""
    kept = [setting for setting in remembered if setting.partition("=")[0].strip().replace("-", "_") not in replaced]
    try:
        return from_arguments(kept)
    except UsageError as error:
        raise UsageError(
            f"An earlier command line's setting, kept in .blueprint/settings.json, is not accepted: {error.what}",
            f"{error.hint} Or remove that file, and give the settings that you need once more.",
        ) from None


def requirements(
    root: Path, environment: Mapping[str, str], arguments: Iterable[str] = (), remembered: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the further packages of the flows before Pydantic is installed; a bad list is refused later, by `load`."""
    found = read(root, environment, arguments, remembered)[0].get("requirements")
    return tuple(text for text in found if isinstance(text, str)) if isinstance(found, list) else ()


def requirements_lock(
    root: Path, environment: Mapping[str, str], arguments: Iterable[str] = (), remembered: Iterable[str] = ()
) -> Path | None:
    """Return the lock file of these packages, as early as `requirements`."""
    found = read(root, environment, arguments, remembered)[0].get("requirements_lock")
    return root / found if isinstance(found, str) and found else None


def _require_deployment_keys(deployments: object, source: str) -> None:
    for index, table in enumerate(deployments if isinstance(deployments, list) else ()):
        for key in table if isinstance(table, dict) else ():
            where = f"{source}: {_which(deployments, index)}: {excerpt(key)}"
            if key in KEYS and key not in OF_DEPLOYMENT:
                raise UsageError(f"{where} is of the platform, not of one deployment.", "Set it in [tool.blueprint].")
            _require_known(key, where, f"KEY = VALUE with one of {', '.join(OF_DEPLOYMENT)}")


def _which(deployments: object, index: int) -> str:
    """Name one of the tables for people, who count from 1 and know it by its name."""
    table = deployments[index] if isinstance(deployments, list | tuple) else None
    name = table.get("deployment") if isinstance(table, dict) else None
    return f"deployments no. {index + 1}{f' ({excerpt(name)})' if isinstance(name, str) else ''}"


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for variable, text in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            where = f"The environment variable {excerpt(variable)}"
            _require_known(key, where, f"BLUEPRINT_<KEY> with one of {_KNOWN}")
            values[key] = _value(key, text)
    return values


def from_arguments(arguments: Iterable[str]) -> dict[str, Any]:
    """Return the values of `key=value` arguments, not judged yet."""
    return {key: _value(key, text) for key, text in map(setting, arguments)}


def setting(argument: str) -> tuple[str, str]:
    """Split one `key=value` of the command line; an error names the key only, as the value may be a secret.

    Raises:
        UsageError: It names no setting, or a secret.
    """
    name, equals, text = argument.partition("=")
    key = name.strip().replace("-", "_")
    _require_known(key if equals else "", f"--set {excerpt(name)}", f"--set KEY=VALUE with one of {_KNOWN}")
    if KEYS[key].is_secret or (key == "data_source" and passwords(text)):
        is_one = "is" if KEYS[key].is_secret else "holds"
        raise UsageError(
            f"{key} {is_one} a secret, and arguments can be seen by every user of the machine.",
            f"Set the environment variable {ENVIRONMENT_PREFIX}{key.upper()} instead.",
        )
    return key, text


def _value(key: str, text: str) -> Any:
    """Return a text as it is, or as JSON where the key takes any; Pydantic judges it."""
    if KEYS[key].is_text:
        return text or None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _require_known(key: str, where: str, accepted: str) -> None:
    """Refuse a key that names no setting; `where` names its source."""
    if key in RENAMED:
        new = RENAMED[key]
        raise UsageError(
            f"{where} is now named {new}.", f"Set {new}, or {ENVIRONMENT_PREFIX}{new.upper()} in the environment."
        )
    if key not in KEYS:
        raise UsageError(f"{where} names no setting.", f"Accepted: {accepted}.")


def _explain(error: ValidationError, values: Mapping[str, Any], sources: Mapping[str, str]) -> tuple[str, str]:
    """Say what is wrong where, and what is accepted there, but no value: it may be a secret."""
    sentences = []
    keys = []
    for problem in error.errors(include_url=False, include_input=False):
        if problem["type"] == "default_factory_not_called":  # a port that follows from one that is refused itself
            continue
        message = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"]
        message = message.removeprefix("Value error, ")
        place = problem["loc"]
        key = str(place[0]) if place else ""
        source = sources.get(
            key or message.partition(" ")[0], "derived from port" if key.endswith("_port") else "settings"
        )
        if key == "deployments" and len(place) > 1:
            source += f": {_which(values[key], int(place[1]))}"
            key, place = (str(place[2]) if len(place) > 2 else key), place[2:]
        path = excerpt(".".join(str(part) for part in place), 100)
        sentences.append(f"{source}: {path}{': ' if path else ''}{message}")
        keys += [key] if key in KEYS and key not in keys else []
    more = f"; and {len(sentences) - _MOST_SHOWN} more" if len(sentences) > _MOST_SHOWN else ""
    accepted = [f"Accepted for {key}: {KEYS[key].accepted}." for key in keys[:_MOST_SHOWN]]
    return "; ".join(sentences[:_MOST_SHOWN]) + more + ".", " ".join(accepted) or "Correct it and run again."


def describe_flow(values: Mapping[str, Any]) -> str:
    """Return a line that tells which flows a run proves, by settings that need not be judged yet."""
    own = values.get("entrypoint") or BUNDLED_DEFAULTS["entrypoint"]
    tables = values.get("deployments")
    tables = [table for table in tables if isinstance(table, Mapping)] if isinstance(tables, list) else []
    flows = [own] if not tables or values.get("deployment") else []
    flows = list(dict.fromkeys(map(str, (*flows, *(table.get("entrypoint") or own for table in tables)))))
    line = f"Flow{'s' if len(flows) > 1 else ''}: {', '.join(map(excerpt, flows))}"
    if not values.get("entrypoint") and own in flows:
        line += " (the bundled pipeline; no entrypoint is configured)"
    return line
