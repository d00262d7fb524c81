"""The JSON record beside the log: one document for each execution, derived from its events.

Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blueprint.core.files import write_whole
from blueprint.execution.history import ExecutionRecord


def write(execution: ExecutionRecord, titles: Mapping[int, str], settings: Sequence[str]) -> Path:
    """Write the record of a finished execution beside its log, and return its path.

    Args:
        execution: Its events have lost their secrets already.
        titles: The tasks' titles by their numbers.
        settings: `key=value` for each setting of a command line, without secrets.

    Raises:
        EnvironmentRefused: It cannot be written.
    """
    document: dict[str, Any] = {
        "id": execution.id,
        "origin": execution.origin,
        "command": execution.started.command,
        "started_at": execution.started_at,
        "log": execution.started.log,
        "plan": dict(execution.plan),
        "tasks": [{"title": titles[number], **task.as_record()} for number, task in sorted(execution.tasks.items())],
        "status": execution.status,
        "exit_code": execution.exit_code,
        "pid": execution.started.pid,
        "settings": list(settings),
    }
    path = Path(execution.started.log).with_suffix(".json")
    write_whole(path, json.dumps(document, indent=1, default=str) + "\n")
    return path
