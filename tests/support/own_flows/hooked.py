"""A flow that waits, tells of the process that it runs in, and leaves a note when it is cancelled or crashes."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger


def _note(kind: str) -> Any:
    def hook(flow: object, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect gives them by name
        Path(flow_run.parameters["folder"], f"{kind}-{flow_run.id}").write_text(str(state.name), encoding="utf-8")

    return hook


@flow(on_cancellation=[_note("cancelled")], on_crashed=[_note("crashed")], on_completion=[_note("completed")])
def hooked(folder: str, seconds: float = 0) -> None:
    """Write down what the process is like, then wait."""
    about = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "cwd": str(Path.cwd()),
        "path": sys.path[0],
        "argv": sys.argv,
        "main": sys.modules["__main__"].__spec__.name,  # type: ignore[union-attr]
        "ours": sorted(name for name in sys.modules if name.partition(".")[0] == "blueprint"),
        "run": os.environ.get("PREFECT__FLOW_RUN_ID"),
        "forked": "blueprint.prefect_runtime.worker" in Path("/proc/self/cmdline").read_text(encoding="utf-8"),
    }
    get_run_logger().info("Waiting for %s s", seconds)
    print("printed by the flow", flush=True)
    Path(folder, "about.json").write_text(json.dumps(about), encoding="utf-8")
    time.sleep(seconds)
