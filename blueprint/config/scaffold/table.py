"""The text of `[tool.blueprint]` for a flow: every key that matters, with a comment that explains it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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


def value(one: Any) -> str:
    """A JSON value as TOML.

    Raises:
        ValueError: TOML has no such value.
    """
    if isinstance(one, bool):
        return "true" if one else "false"
    if isinstance(one, int | float):
        return repr(one)
    if isinstance(one, str):
        return json.dumps(one, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(one, Mapping):
        return "{ " + ", ".join(f"{key(name)} = {value(part)}" for name, part in one.items()) + " }" if one else "{}"
    if isinstance(one, list | tuple):
        return "[" + ", ".join(map(value, one)) + "]"
    raise ValueError(f"TOML has no {type(one).__name__}")


def key(name: str) -> str:
    """A key, quoted where it must be."""
    return name if _BARE.fullmatch(name) else value(name)


def text(
    target: str, settings: Mapping[str, Any], flow_parameters: Sequence[Parameter], refused: Sequence[Refusal]
) -> str:
    """The whole table.

    Args:
        target: Where the user said that the flow is, for the first line.
        settings: The keys to set, `parameters` and `acceptance` not among them unless the user gave them.
        flow_parameters: What the flow takes.
        refused: Cases for task 28.
    """
    told = {"entrypoint": "the flow", "source": "the folder that its code is run from", "deployment": "its name"}
    told |= {name: comment for name, _, comment in _OPTIONAL}
    plain = {name: one for name, one in settings.items() if name not in ("parameters", "acceptance", "tasks")}
    lines = [
        "[tool.blueprint]",
        f"# Written by `python run_blueprint.py init {_one_line(target)}`. docs/settings.md explains every key.",
    ]
    lines += [_line(key(name), value(one), told.get(name, "")) for name, one in plain.items()]
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
    for one in flow_parameters:
        if one.name in given:
            lines.append(_line(key(one.name), value(given[one.name]), one.told))
        elif one.secret:
            lines.append(f"# {key(one.name)}: a secret, so not for this file; {_ELSEWHERE}")
        elif one.default is not None:
            lines.append(_line(key(one.name), value(one.default), one.told))
        elif one.required:
            lines.append(f"# {key(one.name)} = …  # {_one_line(one.told)}; has no default, so give a value here")
        else:
            lines.append(f"# {key(one.name)}: {_one_line(one.told)}; the flow's own default applies")
    known = {one.name for one in flow_parameters}
    return lines + [_line(key(name), value(one), "") for name, one in given.items() if name not in known]


def _acceptance(
    given: Mapping[str, Any] | None, flow_parameters: Sequence[Parameter], refused: Sequence[Refusal]
) -> list[str]:
    lines = ["[tool.blueprint.acceptance]", "# Cases that tasks 23, 24 and 28 run; one that is not given is skipped."]
    if given:
        return lines + [_line(key(name), value(one), "") for name, one in given.items()]
    example = next((one for one in flow_parameters if one.default is not None), None)
    sample = value({example.name: example.default}) if example else "{ … }"
    lines += [
        f"# overrides = {sample}  # task 23: must complete",
        f"# json_parameters = {sample}  # task 24: must complete",
        "# failing = { … }  # task 28: must fail",
    ]
    if not refused:
        return [*lines, "# refused = [{ … }]  # task 28: must be refused; the flow declares no bound to break"]
    lines += ["refused = [  # task 28: the server must refuse these, by what the flow declares"]
    lines += [f"    {value(one.parameters)},  # {_one_line(one.reason)}" for one in refused]
    return [*lines, "]"]


def _line(name: str, shown: str, comment: str) -> str:
    line = f"{name} = {shown}"
    return f"{line:<{_WIDTH}}  # {_one_line(comment)}" if comment else line


def _one_line(comment: str) -> str:
    return "".join(char if char.isprintable() else " " for char in comment)
