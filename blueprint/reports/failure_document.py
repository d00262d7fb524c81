"""Markdown document of task 28: the failures that were provoked and what followed, with times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple


class Moment(NamedTuple):
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
    moments: Sequence[Moment] = ()


def render(cases: Sequence[Case], *, of: str = "") -> str:
    """Return the document's text, titled with the deployment if there are several."""
    lines = [
        f"# What this platform does when something fails{f': {of}' if of else ''}\n",
        f"Seen on {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC.\n",
    ]
    for case in cases:
        lines.append(f"## {case.title}\n")
        lines.append(f"Parameters: `{json.dumps(dict(case.parameters))}`\n\nOutcome: {case.outcome}\n")
        if case.moments:
            lines += ["| time (UTC) | after | what | message |", "|---|---|---|---|"]
            for moment in case.moments:
                after = (moment.at - case.moments[0].at).total_seconds()
                message = " ".join(moment.message.split())[:200].replace("|", "\\|")
                lines.append(f"| {moment.at.astimezone(UTC):%H:%M:%S.%f} | {after:.1f} s | {moment.what} | {message} |")
            lines.append("")
    return "\n".join(lines)
