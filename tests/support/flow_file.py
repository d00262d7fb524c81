"""A flow in a file of its own, for what can be told of a flow and its deployment without a server."""

from __future__ import annotations

import itertools
from pathlib import Path

from blueprint.config.settings import Settings
from blueprint.prefect_adapter import flow_loading
from blueprint.prefect_adapter.desired_state import DesiredDeployment, desired_deployment
from blueprint.prefect_adapter.flow_definition import FlowDefinition, describe, folder_of

FLOW = """
from typing import Annotated
from prefect import flow, task
from pydantic import Field

@task(name="copy", retries=2, retry_delay_seconds=[3, 6], tags=["a"])
def copy(): ...

@flow(name="Mine", retries=1, retry_delay_seconds=4)
def mine(size: Annotated[int, Field(ge=1)], name: str = "x"):
    print("imported")
"""
_numbers = itertools.count()


def configured(root: Path, code: str = FLOW, **values: object) -> Settings:
    """Settings of a flow in a file of its own: what was loaded once is remembered by its name."""
    name = f"flow_{next(_numbers)}.py"
    (root / name).write_text(code)
    return Settings.model_validate({"entrypoint": f"{name}:mine", **values})


def described(settings: Settings, root: Path) -> FlowDefinition:
    """What the flow's code says, loaded into this process."""
    return describe(flow_loading.load(settings.entrypoint, folder_of(settings, root)))


def desired(settings: Settings, root: Path) -> DesiredDeployment:
    """The deployment that the settings and the flow's code describe."""
    return desired_deployment(described(settings, root), settings, root)
