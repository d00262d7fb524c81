"""Whether the one who listens on a service's port is the service, and the sentence for when it is not."""

from __future__ import annotations

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.http import NotReady
from blueprint.processes.identity import ProcessIdentity, is_same
from blueprint.processes.ownership import OwnershipTag, owned_processes
from blueprint.processes.ports import Listener, listeners
from blueprint.processes.spec import Service


def require_listener(service: Service, mark: OwnershipTag, leader: ProcessIdentity) -> None:
    """See that the service's port, if it has one, is held by a process of the service.

    Raises:
        NotReady: Nobody listens there.
        EnvironmentRefused: Somebody else does; names the process.
    """
    if service.port is None:
        return
    found = listeners(service.port, service.host)
    if not found:
        raise NotReady(f"nothing listens on {service.address}")
    if not any(is_of(mark, leader, one) for one in found):
        raise port_held(service, found[0])


def is_of(mark: OwnershipTag, leader: ProcessIdentity, listener: Listener) -> bool:
    """Whether a process of the service, led by `leader`, has this listener open."""
    if leader.pid in listener.pids and is_same(leader):
        return True
    return any(seen.pid in listener.pids for seen in owned_processes(mark, {leader}))


def port_held(service: Service, found: Listener | None) -> EnvironmentRefused:
    """The error for a port that somebody else has."""
    whom = str(found) if found else "a process that cannot be seen"
    return EnvironmentRefused(
        f"{service.title} needs {service.address}, which is held by {whom}.",
        "End that process, or configure another port.",
    )
