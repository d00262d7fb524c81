"""The work pool and its workers."""

from __future__ import annotations

import contextlib

from blueprint.prefect_adapter.client import asking, client
from blueprint.prefect_adapter.models import Pool


def pool(name: str) -> Pool | None:
    """Return the work pool of that name, or None."""
    from prefect.exceptions import ObjectNotFound

    try:
        found = asking(f"read the work pool {name!r}", lambda: client().read_work_pool(name))
    except ObjectNotFound:
        return None
    status = found.status.value if found.status else "UNKNOWN"
    return Pool(found.name, found.type, found.is_paused, found.concurrency_limit, status)


def create_process_pool(name: str, concurrency_limit: int | None) -> None:
    """Create a work pool of type process. One made by somebody else in the same moment is as good."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    wanted = WorkPoolCreate(name=name, type="process", concurrency_limit=concurrency_limit)
    with contextlib.suppress(ObjectAlreadyExists):
        asking(f"create the work pool {name!r}", lambda: client().create_work_pool(wanted))


def update_pool(name: str, *, paused: bool, concurrency_limit: int | None) -> None:
    """Bring a work pool back to what is configured."""
    from prefect.client.schemas.actions import WorkPoolUpdate

    wanted = WorkPoolUpdate(is_paused=paused, concurrency_limit=concurrency_limit)
    asking(f"update the work pool {name!r}", lambda: client().update_work_pool(name, wanted))
