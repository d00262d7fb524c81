"""A module of the package."""

from prefect import task


@task
def price(item: str) -> int:
    """What it costs."""
    return len(item)
