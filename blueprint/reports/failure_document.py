"""Markdown document of task 28: the failures that were provoked and what followed, with times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, order=True)
class Moment:
    """One event of a failure case."""

    at: datetime
    what: str
    message: str


@dataclass(frozen=True)
class Case:
    """A failure that was made to happen; `short` is its part of the task's summary line."""

    title: str
    parameters: Mapping[str, Any]
    outcome: str
    short: str
    moments: Sequence[Moment]


def render(cases: Sequence[Case], *, of: str = "") -> str:
    """Return the document's text, titled with the deployment if there are several."""
    parts = [
        f"# What this platform does when something fails{f': {of}' if of else ''}\n",
        f"Seen on {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC.\n",
    ]
    for case in cases:
        parts.append(f"## {case.title}\n")
        parts.append(f"Parameters: `{json.dumps(dict(case.parameters))}`\n\nOutcome: {case.outcome}\n")
        if case.moments:
            parts += ["| time (UTC) | after | what | message |", "|---|---|---|---|"]
            start = case.moments[0].at
            parts += [_row(moment, start) for moment in case.moments]
            parts.append("")
    return "\n".join(parts)


def _row(moment: Moment, start: datetime) -> str:
    after = (moment.at - start).total_seconds()
    message = " ".join(moment.message.split())[:200].replace("|", "\\|")
    return f"| {moment.at.astimezone(UTC):%H:%M:%S.%f} | {after:.1f} s | {moment.what} | {message} |"
