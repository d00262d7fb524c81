"""The text of `[tool.blueprint]` for a flow: every key that matters, with a comment that explains it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from blueprint.config.keys import KEYS
from blueprint.config.scaffold.schema import Parameter, Refusal

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ELSEWHERE = "the variable BLUEPRINT_PARAMETERS takes all parameters as JSON"
_WIDTH = 46  # where the comments begin
_OPTIONAL: tuple[tuple[str, str, str], ...] = (
    ("cron", '"0 9 * * *"', "a schedule; or `interval` in seconds, or `rrule`"),
    ("timezone", '"America/Chicago"', "the schedule's time zone"),
    ("tags", '["mine"]', "tags of the deployment and its runs"),
    ("concurrency_limit", "1", "runs of the deployment at a time"),
    ("run_seconds", "600", "how long a run takes, if longer than a minute"),
    ("requirements", '["polars>=1"]', "packages that the flow needs beside Prefect"),
    ("check", '"my_checks:effect_is_there"', "called with a run's id and parameters; proves its effect"),
    ("pool", '"local-process-pool"', "the work pool"),
    ("port", "4200", "the server's port; the next two are the worker's and the data source's"),
)


def value(json_value: Any) -> str:
    """Return a JSON value as TOML; null has no such form."""
    match json_value:
        case bool():
            return "true" if json_value else "false"
        case int() | float():
            return repr(json_value)
        case str():
            return json.dumps(json_value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            entries = ", ".join(f"{key(name)} = {value(part)}" for name, part in json_value.items())
            return f"{{ {entries} }}" if entries else "{}"
        case list() | tuple():
            return "[" + ", ".join(map(value, json_value)) + "]"
    raise ValueError(f"TOML has no {type(json_value).__name__}")


def key(name: str) -> str:
    """Return a key, quoted where it must be."""
    return name if _BARE.fullmatch(name) else value(name)


def text(
    target: str, settings: Mapping[str, Any], flow_parameters: Sequence[Parameter], refused: Sequence[Refusal]
) -> str:
    """Return the whole table; `parameters` and `acceptance` are among the settings only if the user gave them."""
    comments = {name: KEYS[name].help for name in ("entrypoint", "source", "deployment")}
    comments |= {name: comment for name, _, comment in _OPTIONAL}
    plain = {name: setting for name, setting in settings.items() if name not in ("parameters", "acceptance", "tasks")}
    lines = [
        "[tool.blueprint]",
        f"# Written by `python run_blueprint.py init {_one_line(target)}`. docs/settings.md explains every key.",
    ]
    lines += [_line(key(name), value(setting), comments.get(name, "")) for name, setting in plain.items()]
    timed = {"cron", "interval", "rrule"} & plain.keys()
    lines += [
        _line(f"# {name}", example, comment)
        for name, example, comment in _OPTIONAL
        if name not in plain and not (name == "cron" and timed)
    ]
    lines += ["", *_parameters(settings.get("parameters", {}), flow_parameters)]
    lines += ["", *_acceptance(settings.get("acceptance"), flow_parameters, refused)]
    if settings.get("tasks"):
        lines += ["", "[tool.blueprint.tasks]", *(_line(key(k), value(v), "") for k, v in settings["tasks"].items())]
    return "\n".join(lines) + "\n"


def _parameters(given: Mapping[str, Any], flow_parameters: Iterable[Parameter]) -> list[str]:
    lines = ["[tool.blueprint.parameters]", "# The deployment's default parameters; a run may override each."]
    for parameter in flow_parameters:
        name, description = key(parameter.name), _one_line(parameter.description)
        if parameter.name in given:
            lines.append(_line(name, value(given[parameter.name]), description))
        elif parameter.secret:
            lines.append(f"# {name}: a secret, so not for this file; {_ELSEWHERE}")
        elif parameter.default is not None:
            lines.append(_line(name, value(parameter.default), description))
        elif parameter.required:
            lines.append(f"# {name} = …  # {description}; has no default, so give a value here")
        else:
            lines.append(f"# {name}: {description}; the flow's own default applies")
    known = {parameter.name for parameter in flow_parameters}
    return lines + [_line(key(name), value(given[name]), "") for name in given if name not in known]


def _acceptance(
    given: Mapping[str, Any] | None, flow_parameters: Sequence[Parameter], refused: Sequence[Refusal]
) -> list[str]:
    lines = ["[tool.blueprint.acceptance]", "# Cases that tasks 23, 24 and 28 run; one that is not given is skipped."]
    if given:
        return lines + [_line(key(name), value(cases), "") for name, cases in given.items()]
    example = next((parameter for parameter in flow_parameters if parameter.default is not None), None)
    sample = value({example.name: example.default}) if example else "{ … }"
    lines += [
        f"# overrides = {sample}  # task 23: must complete",
        f"# json_parameters = {sample}  # task 24: must complete",
        "# failing = { … }  # task 28: must fail",
    ]
    if not refused:
        return [*lines, "# refused = [{ … }]  # task 28: must be refused; the flow declares no bound to break"]
    lines += ["refused = [  # task 28: the server must refuse these, by what the flow declares"]
    lines += [f"    {value(case.parameters)},  # {_one_line(case.reason)}" for case in refused]
    return [*lines, "]"]


def _line(name: str, shown: str, comment: str) -> str:
    line = f"{name} = {shown}"
    return f"{line:<{_WIDTH}}  # {_one_line(comment)}" if comment else line


def _one_line(comment: str) -> str:
    return "".join(char if char.isprintable() else " " for char in comment)
