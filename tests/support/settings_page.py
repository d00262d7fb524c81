"""docs/settings.md, made from the table of keys and the model: `python -m tests.support.settings_page` writes it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from blueprint.config import cron
from blueprint.config.defaults import BUNDLED_DEFAULTS
from blueprint.config.deployment_settings import Acceptance
from blueprint.config.keys import KEYS, OF_DEPLOYMENT, SECRETS
from blueprint.config.scaffold import table
from blueprint.config.settings import Settings

_PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
_INTRODUCTION = """\
# Settings

This page is generated from the code (`python -m tests.support.settings_page`).

Settings are keys of `[tool.blueprint]` in pyproject.toml. A variable `BLUEPRINT_<KEY>` overrides the file, and
`--set KEY=VALUE` on the command line overrides both; tables, lists and switches are written as JSON there. Secrets
({secrets}) are taken from the environment or the file, never from arguments.
Prefer the environment: pyproject.toml is usually committed.

As long as no `entrypoint` is configured, the bundled pipeline is deployed, with [its own
values](#the-bundled-pipeline). As soon as you name one, none of those apply, and a case of `acceptance` that is not
configured is skipped with its reason.
"""
_CRON = """\
## Cron expressions

Five fields (minute, hour, day, month, weekday), or one of {aliases}.

Some expressions that Prefect accepts are refused with their reason, because Prefect reads them otherwise than a person
does, differently from one start to the next, or never finds a run: a day that never comes (`0 0 30 2 *`), a range whose
ends are the same (`5-5`), days of the month beside an n-th weekday, and lists of days of which Prefect misses some
around the end of February (`0 0 1,30 * *`).
"""


def text() -> str:
    """Return the page."""
    of_deployment = ("## Of a deployment", "", "A table of `deployments` may set these too; `deployment` it must.", "")
    parts = [
        _INTRODUCTION.format(secrets=", ".join(f"`{name}`" for name in SECRETS)),
        "\n".join([*of_deployment, *_table(OF_DEPLOYMENT)]),
        "\n".join(["## Of the platform", "", *_table(name for name in KEYS if name not in OF_DEPLOYMENT)]),
        "\n".join(["## Cases of acceptance", "", inspect.cleandoc(Acceptance.__doc__ or ""), *_acceptance()]),
        _CRON.format(aliases=", ".join(f"`{alias}`" for alias in cron.ALIASES)).rstrip(),
        "\n".join(["## The bundled pipeline", "", "```toml", "[tool.blueprint]", *_bundled(), "```"]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(names: Iterable[str]) -> list[str]:
    rows = [f"| `{name}` | {KEYS[name].help} | {KEYS[name].accepted} | {_default(name)} |" for name in names]
    return ["| key | meaning | accepted | default |", "|---|---|---|---|", *rows]


def _default(name: str) -> str:
    if KEYS[name].default:
        return KEYS[name].default
    field = Settings.model_fields[name]
    value = field.default if field.default_factory is None else field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "the bundled pipeline's"
    return "none" if value in (None, (), {}, Acceptance()) else f"`{json.dumps(value)}`"


def _acceptance() -> list[str]:
    rows = [f"| `acceptance.{name}` | {field.description} |" for name, field in Acceptance.model_fields.items()]
    return ["", "| key | meaning |", "|---|---|", *rows]


def _bundled() -> list[str]:
    return [line for name, value in BUNDLED_DEFAULTS.items() for line in _assignments(name, value)]


def _assignments(name: str, value: Any) -> list[str]:
    """One line for each entry of a table: as wide as a page can show."""
    if name not in ("tasks", "acceptance"):
        return [f"{name} = {table.value(value)}"]
    return [f"{name}.{table.key(key)} = {table.value(entry)}" for key, entry in value.items()]


if __name__ == "__main__":
    _PAGE.parent.mkdir(exist_ok=True)
    _PAGE.write_text(text(), encoding="utf-8")
