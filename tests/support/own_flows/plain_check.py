"""The check beside `plain.py`: importable from the flow's folder only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


async def noted(run_id: str, parameters: Mapping[str, Any]) -> dict[str, object]:
    """The run's note is in the folder, and names the last caller."""
    note = (Path(parameters["folder"]) / f"{run_id}.txt").read_text()
    if note != f"caller {parameters['times'] - 1}":
        raise ValueError(f"the note says {note!r}")
    return {"note": note}


def never(_run_id: str, _parameters: Mapping[str, Any]) -> bool:
    """Says that the effect is not there."""
    return False
