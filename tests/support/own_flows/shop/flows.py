"""Flows of a package, with a relative import."""

from prefect import flow

from .prices import price


@flow
def sell(item: str = "pear") -> int:
    """Ask the price."""
    return price(item)
