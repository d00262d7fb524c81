"""A flow that takes its time: longer than many heartbeats."""

import time

from prefect import flow, task


@task
def wait(seconds: float) -> None:
    """Work, as far as anybody can tell."""
    time.sleep(seconds)


@flow
def slow(seconds: float = 60) -> None:
    """One long task."""
    wait(seconds)
