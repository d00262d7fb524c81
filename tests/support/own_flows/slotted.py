"""A flow that holds a slot of a global concurrency limit while it waits."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import flow
from prefect.concurrency.sync import concurrency


@flow
def slotted(folder: str, limit: str, seconds: float) -> None:
    """Hold a slot, and say which process does."""
    with concurrency(limit, occupy=1, lease_duration=60, strict=True):
        Path(folder, os.environ["PREFECT__FLOW_RUN_ID"]).write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(seconds)
