"""Ending processes: SIGTERM first, SIGKILL for those that ignore it, and a wait until each is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Set
from dataclasses import dataclass

from blueprint.core.errors import EnvironmentRefused, ProcessError
from blueprint.core.task import TaskControl
from blueprint.processes.identity import ProcessIdentity, identity_of, send
from blueprint.processes.launching import reap
from blueprint.processes.ownership import OwnershipTag, owned_processes
from blueprint.processes.table import Process

_KILL_SECONDS = 5.0  # a killed process is gone at once, unless the kernel holds it (a dead network disk)
_STRAY_GRACE_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2


@dataclass(frozen=True)
class Ended:
    """The processes that were ended.

    Attributes:
        processes: All of them, in the order in which they were found.
        killed: Those that had to be killed.
    """

    processes: tuple[Process, ...]
    killed: tuple[Process, ...]

    def __add__(self, other: Ended) -> Ended:
        """Join what two steps ended."""
        return Ended(self.processes + other.processes, self.killed + other.killed)


def end_service(tag: OwnershipTag, leader: ProcessIdentity | None, control: TaskControl, grace: float) -> Ended:
    """End a service: its leader's session first, so that it can end its children in order, then the rest.

    A process that is proven ours at the start stays so, also when the leader that proved it is gone.

    Args:
        tag: Workspace and service.
        leader: Its main process, if it is known.
        control: Gives the deadline and the wish to stop.
        grace: Seconds between SIGTERM and SIGKILL.

    Raises:
        BlueprintError: As `end`.
        TaskStopped: As `end`.
    """
    known = {identity_of(process) for process in owned_processes(tag, {leader} if leader else ())}

    def everything(signalled: Set[ProcessIdentity]) -> list[Process]:
        return owned_processes(tag, known | signalled)

    if leader is None or leader not in known:
        return end(everything, control, grace)
    session = end(
        lambda signalled: [process for process in everything(signalled) if process.session == leader.pid],
        control,
        grace,
    )
    known |= {identity_of(process) for process in session.processes}
    return session + end(everything, control, min(grace, _STRAY_GRACE_SECONDS))


def end(find: Callable[[Set[ProcessIdentity]], list[Process]], control: TaskControl, grace: float) -> Ended:
    """End the processes that `find` returns, until it returns none: new children are found on the way.

    Each process gets SIGTERM once (and SIGCONT if it is stopped, else it would never see it); what is left after
    `grace` seconds, or when half of the control's time is over, gets SIGKILL, which also ends a stopped one.

    Args:
        find: Returns the processes, proven ours and running, as they are now; is given those that it returned before.
        control: Gives the deadline and the wish to stop.
        grace: Seconds between SIGTERM and SIGKILL.

    Raises:
        ProcessError: One cannot be killed.
        EnvironmentRefused: One belongs to another user.
        TaskStopped: Interrupted, or the deadline passed.
    """
    signalled: dict[ProcessIdentity, Process] = {}
    killed: dict[ProcessIdentity, Process] = {}
    patience = control.clock() + min(grace, control.remaining() / 2)
    pause = _FIRST_PAUSE
    while True:
        reap()
        left = {identity_of(process): process for process in find(signalled.keys())}
        if not left:
            return Ended(tuple(signalled.values()), tuple(killed.values()))
        now = control.clock()
        names = ", ".join(map(str, left.values()))
        if now >= patience + _KILL_SECONDS:
            raise ProcessError(f"{names} still runs {_KILL_SECONDS:.0f} s after SIGKILL.")
        for identity, process in left.items():
            if now >= patience:
                if _send(identity, process, signal.SIGKILL):
                    killed[identity] = process
            elif identity not in signalled:
                _send(identity, process, signal.SIGTERM)
                if process.frozen:
                    _send(identity, process, signal.SIGCONT)
            signalled.setdefault(identity, process)
        control.waiting(f"the end of {names}")
        control.pause(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _send(identity: ProcessIdentity, process: Process, number: signal.Signals) -> bool:
    try:
        return send(identity, number)
    except PermissionError as error:
        raise EnvironmentRefused(
            f"{process} is ours but belongs to another user and cannot be ended.",
            "Run `stop` as the user that started it.",
        ) from error
