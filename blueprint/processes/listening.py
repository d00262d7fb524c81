"""Owner of a service's port: the service itself, or a stranger, which is an error."""

from __future__ import annotations

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.http import NotReady
from blueprint.processes.identity import ProcessIdentity, is_same
from blueprint.processes.ownership import OwnershipTag, owned_processes
from blueprint.processes.ports import Listener, listeners
from blueprint.processes.spec import ServiceSpec


def require_listener(spec: ServiceSpec, tag: OwnershipTag, leader: ProcessIdentity) -> None:
    """Require that the service's port, if it has one, is held by a process of the service.

    Raises:
        NotReady: Nobody listens there.
        EnvironmentRefused: Somebody else does; names the process.
    """
    if spec.port is None:
        return
    found = listeners(spec.port, spec.host, expected=leader.pid)
    if not found:
        raise NotReady(f"nothing listens on {spec.address}")
    if not any(is_of(tag, leader, listener) for listener in found):
        raise port_held(spec, found[0])


def is_of(tag: OwnershipTag, leader: ProcessIdentity, listener: Listener) -> bool:
    """Tell whether a process of the service, led by `leader`, has this listener open."""
    if leader.pid in listener.pids and is_same(leader):
        return True
    return any(process.pid in listener.pids for process in owned_processes(tag, {leader}))


def port_held(spec: ServiceSpec, listener: Listener | None) -> EnvironmentRefused:
    """Make the error for a port that somebody else has."""
    holder = str(listener) if listener else "a process that cannot be seen"
    return EnvironmentRefused(
        f"{spec.title} needs {spec.address}, which is held by {holder}.",
        "End that process, or configure another port.",
    )
