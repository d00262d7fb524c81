"""Identity of a process that survives reused pids, changed clocks and restarts of the machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blueprint.processes.table import Process, look

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FIRST_PID = 2  # 1 is init, and 0 and below mean "a whole group" to kill(2): a damaged record must never name those


@dataclass(frozen=True)
class ProcessIdentity:
    """One process and no other.

    Attributes:
        pid: Its number.
        boot_id: The start of the machine in which it ran; empty where the system has none.
        start_ticks: Its start in clock ticks since boot (Linux).
        create_time: Its start in seconds since the epoch (where there are no ticks).
    """

    pid: int
    boot_id: str
    start_ticks: int | None
    create_time: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProcessIdentity:
        """Make it from the values that `to_json` returned.

        Raises:
            ValueError: They are something else; an identity that proves nothing is refused too.
        """
        pid, boot_id = values.get("pid"), values.get("boot_id")
        ticks, created = values.get("start_ticks"), values.get("create_time")
        if type(pid) is not int or pid < _FIRST_PID or not isinstance(boot_id, str):
            raise ValueError("pid or boot_id is not that of a process")
        if type(ticks) is int and created is None:
            return cls(pid, boot_id, ticks)
        if type(created) is float and ticks is None:
            return cls(pid, boot_id, None, created)
        raise ValueError("neither start_ticks nor create_time tells its start")


def boot_id() -> str:
    """Return the id of this start of the machine; empty where the system has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def identity_of(process: Process) -> ProcessIdentity:
    """Return the identity of a process that was looked at."""
    return ProcessIdentity(process.pid, boot_id(), process.start_ticks, process.create_time)


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the process with this number, be it a zombie; None if there is none."""
    process = look(pid)
    return None if process is None else identity_of(process)


def find_again(identity: ProcessIdentity) -> Process | None:
    """Return this very process as it is now, also as a zombie; None if it is gone."""
    process = look(identity.pid)
    return process if process is not None and identity_of(process) == identity else None


def is_same(identity: ProcessIdentity) -> bool:
    """Tell whether this very process runs; False when in doubt, because what is not proven ours is not ours."""
    process = find_again(identity)
    return process is not None and process.running


def send(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Send a signal to this very process and to no other; tell whether it was there to get it.

    On Linux the number is held by a pidfd between the proof and the signal, so that it cannot change hands meanwhile.

    Raises:
        PermissionError: It is there, and belongs to another user.
    """
    try:
        held = os.pidfd_open(identity.pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return False
    except OSError:  # a kernel or a sandbox without it: prove and send, as close together as can be
        held = None
    try:
        if not is_same(identity):
            return False
        if held is None:
            os.kill(identity.pid, number)
        else:
            signal.pidfd_send_signal(held, number)
    except ProcessLookupError:
        return False
    finally:
        if held is not None:
            os.close(held)
    return True
