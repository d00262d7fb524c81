"""A flow in a file of its own, for what can be told of a flow and its deployment without a server."""

from __future__ import annotations

import itertools
from pathlib import Path

from blueprint.config.settings import Settings

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
