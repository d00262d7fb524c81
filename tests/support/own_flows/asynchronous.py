"""Asynchronous from end to end."""

import anyio
from prefect import flow, task


@task
async def double(number: int) -> int:
    """Give others a turn first."""
    await anyio.sleep(0)
    return 2 * number


@flow
async def asynchronous(numbers: tuple[int, ...] = (1, 2, 3)) -> int:
    """Add up the doubles."""
    return sum([await double(number) for number in numbers])
