"""Identity of a process that survives reused pids, changed clocks and restarts of the machine."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FIRST_PID = 2  # 1 is init, and 0 and below mean "a whole group" to kill(2): a damaged record must never name those


@dataclass(frozen=True)
class ProcessIdentity:
    """One process and no other."""

    pid: int  # on its own it proves nothing, numbers are used again
    boot_id: str  # the start of the machine in which it ran; empty where the system has none
    start_ticks: int | None  # its start since boot (Linux), field 22 of /proc/<pid>/stat
    create_time: float | None = None  # its start in seconds since the epoch (elsewhere)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProcessIdentity:
        """Make it from its fields.

        Raises:
            ValueError: They are something else; an identity that proves nothing is refused too.
        """
        pid, boot_id = values.get("pid"), values.get("boot_id")
        ticks, created = values.get("start_ticks"), values.get("create_time")
        if type(pid) is not int or pid < _FIRST_PID or not isinstance(boot_id, str):
            raise ValueError("pid or boot_id is not that of a process")
        if (type(ticks), type(created)) not in ((int, type(None)), (type(None), float)):
            raise ValueError("neither start_ticks nor create_time tells its start")
        return cls(pid, boot_id, ticks, created)


@functools.cache
def boot_id() -> str:
    """Return the id of this start of the machine; empty where the system has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
