"""Run a flow by its entrypoint as a plain process, the way its author would."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

from blueprint.prefect_runtime import own_listener

STATE_MARK = "flow run ended "


def main() -> int:
    """Run the flow once; its tags come as arguments, its parameters from the environment (they may be private)."""
    parser = argparse.ArgumentParser(prog="blueprint.prefect_runtime.local_run", description=__doc__)
    parser.add_argument("entrypoint")
    parser.add_argument("--folder", type=Path, required=True, help="the folder that the flow is run from")
    parser.add_argument("--tag", action="append", default=[], help="a tag for the run; may be repeated")
    options = parser.parse_args()
    os.chdir(options.folder)
    sys.path.insert(0, str(options.folder))

    own_listener.require(os.environ.get("PREFECT_API_URL", ""))
    from prefect import Flow, tags
    from prefect.flows import load_flow_from_entrypoint

    flow: Flow[..., Any] = load_flow_from_entrypoint(options.entrypoint, use_placeholder_flow=False)
    with tags(*options.tag):
        state: Any = flow(**json.loads(os.environ.get("_BLUEPRINT_PARAMETERS", "{}")), return_state=True)
        if inspect.iscoroutine(state):
            state = asyncio.run(state)
    print(f"{STATE_MARK}{state.name}: {' '.join((state.message or '').split())}")
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
