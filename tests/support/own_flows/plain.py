"""A user's first flow: one file, one bound, a check of its own beside it."""

from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Failed
from pydantic import Field


@task(retries=1, retry_delay_seconds=0)
def greet(name: str, folder: str) -> str:
    """Leave a note that the check reads."""
    get_run_logger().info("hello %s", name)
    if folder:
        (Path(folder) / f"{flow_run.id}.txt").write_text(name)
    return name


@flow
def plain(times: Annotated[int, Field(ge=1, le=9)] = 3, folder: str = "", succeed: bool = True) -> list[str] | State:
    """Greet so many times, and fail by a returned state when asked to."""
    names = [greet(f"caller {number}", folder) for number in range(times)]
    return names if succeed else Failed(message=f"asked to fail after {times} greetings")
