"""Several flows in one file, and a function that is none."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed


def helper() -> int:
    """Not a flow."""
    return 1


@flow
def first() -> int:
    """The first of them."""
    return helper()


@flow(name="The second one")
def second() -> int:
    """The second, under a name of its own."""
    return helper() + 1


@flow
def always_fails() -> State:
    """Returns a failed state."""
    return Failed(message="this flow has nothing to offer")
