"""A flow that calls flows."""

from prefect import flow, task


@task
def half(number: int) -> int:
    """A task of the inner flow."""
    return number // 2


@flow
def inner(number: int) -> int:
    """Called twice."""
    return half(number)


@flow
def outer(number: int = 8) -> int:
    """Calls the inner flow, and gives its result to the next call."""
    return inner(inner(number))
