"""Ending processes: SIGTERM first, SIGKILL for those that ignore it, and a wait until each is gone."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Set
from dataclasses import dataclass, field

from blueprint.core.errors import EnvironmentRefused, ProcessError
from blueprint.core.task import TaskControl
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.ownership import OwnershipTag, owned_processes
from blueprint.processes.table import Process, send

_KILL_SECONDS = 5.0  # a killed process is gone at once, unless the kernel holds it (a dead network disk)
_STRAY_GRACE_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2


@dataclass(frozen=True)
class Ended:
    """The processes that were ended, in the order in which they were found, and those that had to be killed."""

    processes: dict[ProcessIdentity, Process] = field(default_factory=dict)
    killed: dict[ProcessIdentity, Process] = field(default_factory=dict)


def end_service(tag: OwnershipTag, recorded: Set[ProcessIdentity], control: TaskControl, grace: float) -> Ended:
    """End a service: its leader's session first, so that it can end its children in order, then the rest.

    A process that is proven ours at the start stays so, also when the leader that proved it is gone.

    Args:
        tag: Workspace and service.
        recorded: Its main process, if it is known.
        control: Gives the deadline and the wish to stop.
        grace: Seconds between SIGTERM and SIGKILL.
    """
    known = {process.identity for process in owned_processes(tag, recorded)}
    ended = Ended()

    def left(session: int | None = None) -> list[Process]:
        found = owned_processes(tag, known | ended.processes.keys())
        return [process for process in found if session in (None, process.session)]

    for leader in recorded & known:
        _end(functools.partial(left, leader.pid), ended, control, grace)
        grace = min(grace, _STRAY_GRACE_SECONDS)
    _end(left, ended, control, grace)
    return ended


def _end(find: Callable[[], list[Process]], ended: Ended, control: TaskControl, grace: float) -> None:
    """End the processes that `find` returns, until it returns none: new children are found on the way.

    Each process gets SIGTERM once (and SIGCONT if it is stopped, else it would never see it); what is left after
    `grace` seconds, or when half of the control's time is over, gets SIGKILL, which also ends a stopped one.
    """
    signalled: set[ProcessIdentity] = set()
    patience = control.clock() + min(grace, control.remaining() / 2)
    pause = _FIRST_PAUSE
    while left := find():
        now = control.clock()
        names = ", ".join(map(str, left))
        if now >= patience + _KILL_SECONDS:
            raise ProcessError(f"{names} still runs {_KILL_SECONDS:.0f} s after SIGKILL.")
        for process in left:
            ended.processes.setdefault(process.identity, process)
            if now >= patience:
                if _send(process, signal.SIGKILL):
                    ended.killed[process.identity] = process
            elif process.identity not in signalled:
                signalled.add(process.identity)
                _send(process, signal.SIGTERM)
                if process.frozen:
                    _send(process, signal.SIGCONT)
        control.waiting(f"the end of {names}")
        control.pause(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _send(process: Process, number: signal.Signals) -> bool:
    try:
        return send(process.identity, number)
    except PermissionError as error:
        raise EnvironmentRefused(
            f"{process} is ours but belongs to another user and cannot be ended.",
            "Run `stop` as the user that started it.",
        ) from error
