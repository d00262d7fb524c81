"""Ending processes: asked first, killed when they do not listen, and waited for until each is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Set
from dataclasses import dataclass

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.processes.identity import ProcessIdentity, identity_of, send
from blueprint.processes.launching import reap
from blueprint.processes.ownership import OwnershipTag, owned_processes
from blueprint.processes.table import Process

_KILL_SECONDS = 5.0  # a killed process is gone at once, unless the kernel holds it (a dead network disk)
_STRAY_GRACE_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2


@dataclass(frozen=True)
class Ended:
    """What was ended.

    Attributes:
        seen: Every process, in the order in which they were found.
        killed: Those that had to be killed.
    """

    seen: tuple[Process, ...]
    killed: tuple[Process, ...]

    def __add__(self, other: Ended) -> Ended:
        return Ended(self.seen + other.seen, self.killed + other.killed)


def end_family(mark: OwnershipTag, leader: ProcessIdentity | None, control: TaskControl, grace: float) -> Ended:
    """End a service: the session of its leader first, so that it can end its children in order, then what is left.

    Whoever is proven ours at the start stays so, also when the leader, that proved it, is gone.
    The rest of it raises what `end` raises.
    """
    proven = {identity_of(seen) for seen in owned_processes(mark, {leader} if leader else ())}
    if leader is None or leader not in proven:
        return end(lambda told: owned_processes(mark, proven | told), control, grace)
    session = end(
        lambda told: [seen for seen in owned_processes(mark, proven | told) if seen.session == leader.pid],
        control,
        grace,
    )
    proven |= {identity_of(seen) for seen in session.seen}
    return session + end(lambda told: owned_processes(mark, proven | told), control, min(grace, _STRAY_GRACE_SECONDS))


def end(find: Callable[[Set[ProcessIdentity]], list[Process]], control: TaskControl, grace: float) -> Ended:
    """End what `find` gives, and go on until it gives nothing: new children are found on the way.

    Each process gets SIGTERM once (and SIGCONT if it is stopped, else it would never see it); what is left after
    `grace` seconds, or when half of the handle's time is over, gets SIGKILL, which also ends a stopped one.

    Args:
        find: Gives the processes, proven ours and running, as they are at that moment; gets those that it gave before.
        control: Gives the deadline and the wish to stop.
        grace: Seconds between SIGTERM and SIGKILL.

    Raises:
        TaskFailed: One cannot be killed.
        EnvironmentRefused: One belongs to another user.
        TaskStopped: Interrupted, or the deadline passed.
    """
    told: dict[ProcessIdentity, Process] = {}
    killed: dict[ProcessIdentity, Process] = {}
    patience = control.clock() + min(grace, control.remaining() / 2)
    pause = _FIRST_PAUSE
    while True:
        reap()
        left = {identity_of(seen): seen for seen in find(told.keys())}
        if not left:
            return Ended(tuple(told.values()), tuple(killed.values()))
        now = control.clock()
        if now >= patience + _KILL_SECONDS:
            names = ", ".join(map(str, left.values()))
            raise TaskFailed(f"Killed, and still there after {_KILL_SECONDS:.0f} s: {names}.")
        for identity, seen in left.items():
            if now >= patience:
                if _send(identity, seen, signal.SIGKILL):
                    killed[identity] = seen
            elif identity not in told:
                _send(identity, seen, signal.SIGTERM)
                if seen.frozen:
                    _send(identity, seen, signal.SIGCONT)
            told.setdefault(identity, seen)
        control.waiting("the end of " + ", ".join(map(str, left.values())))
        control.pause(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _send(identity: ProcessIdentity, seen: Process, number: signal.Signals) -> bool:
    try:
        return send(identity, number)
    except PermissionError as error:
        raise EnvironmentRefused(
            f"{seen} is ours and belongs to another user, so that it cannot be ended.",
            "Run `stop` as the user that started it.",
        ) from error
