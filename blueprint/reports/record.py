"""The machine-readable record beside the log: one JSON document per execution, derived from the journal.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from blueprint.core.files import write_whole
from blueprint.execution.history import ExecutionRecord


def write(execution: ExecutionRecord, log: Path, titles: Mapping[int, str]) -> Path:
    """Write the record of a finished execution beside its log; returns its path.

    Raises:
        EnvironmentRefused: It cannot be written.
    """
    document = dataclasses.asdict(execution)
    document["tasks"] = [
        {"title": titles[number], **dataclasses.asdict(task)} for number, task in sorted(execution.tasks.items())
    ]
    path = log.with_suffix(".json")
    write_whole(path, json.dumps(document, indent=1, default=str) + "\n")
    return path
