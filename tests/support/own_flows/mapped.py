"""One task over many items."""

from prefect import flow, task


@task
def square(number: int) -> int:
    """One of many."""
    return number * number


@flow
def mapped(items: int = 200) -> int:
    """Map, and wait for all."""
    return sum(future.result() for future in square.map(range(items)))
