"""The mark in the environment of what we start, and which processes it (or a proven leader) shows to be ours.

A record can be lost and a child can leave its process group; the mark goes wherever a child goes. A process with the
mark of another workspace or another service is never counted as ours, whoever its parent is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from blueprint.processes.identity import ProcessIdentity, identity_of
from blueprint.processes.table import Process, everyone, variable

SERVICE_VARIABLE = "_BLUEPRINT_SERVICE"
FINGERPRINT_VARIABLE = "_BLUEPRINT_SERVICE_FINGERPRINT"

SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # it becomes a file's name, also when it comes from a process


@dataclass(frozen=True)
class OwnershipTag:
    """Whose process it is.

    Attributes:
        workspace: The id of the workspace that started it.
        service: The name of the service.
    """

    workspace: str
    service: str

    def environment(self, fingerprint: str) -> Mapping[str, str]:
        """The variables that carry the mark, and the settings that the process was started with."""
        return {SERVICE_VARIABLE: f"{self.workspace}:{self.service}", FINGERPRINT_VARIABLE: fingerprint}


def tag_of(pid: int) -> OwnershipTag | None:
    """The mark that this process carries; None if it has none or its environment is not to be seen."""
    text = variable(pid, SERVICE_VARIABLE)
    if text is None:
        return None
    workspace, _, service = text.rpartition(":")
    return OwnershipTag(workspace, service) if SERVICE_NAME.fullmatch(service) else None


def fingerprint_of(pid: int) -> str | None:
    """The fingerprint of the settings that this process was started with."""
    return variable(pid, FINGERPRINT_VARIABLE)


def tagged_processes(workspace: str) -> dict[str, list[Process]]:
    """What runs with this workspace's mark, by service."""
    found: dict[str, list[Process]] = {}
    for seen in everyone():
        mark = tag_of(seen.pid) if seen.running else None
        if mark is not None and mark.workspace == workspace and seen.pid != os.getpid():
            found.setdefault(mark.service, []).append(seen)
    return found


def owned_processes(mark: OwnershipTag, proven: Collection[ProcessIdentity] = ()) -> list[Process]:
    """All running processes that are proven to be of this service, the oldest first.

    Proof is: it carries the mark; or it is in a session that a process of the service made (nobody can join a
    session from outside); or its line of parents leads to such a process.

    Args:
        mark: Whose.
        proven: Processes known to be of it, such as the recorded one: they need no readable mark (some programs
            overwrite their environment).
    """
    table = {seen.pid: seen for seen in everyone() if seen.pid != os.getpid()}
    marks = {pid: tag_of(pid) for pid in table}
    ours = {pid for pid, found in marks.items() if found == mark}
    ours |= {one.pid for one in proven if one.pid in table and identity_of(table[one.pid]) == one}
    ours -= {pid for pid in ours if marks[pid] not in (None, mark)}
    sessions = {table[pid].session for pid in ours} - {0}  # 0: a session that lies outside this pid namespace
    candidates = {pid for pid, found in marks.items() if found is None}
    ours |= {pid for pid in candidates if table[pid].session in sessions}
    while more := {pid for pid in candidates - ours if table[pid].parent in ours}:
        ours |= more
    return sorted((table[pid] for pid in ours if table[pid].running), key=_age)


def _age(seen: Process) -> tuple[float, int]:
    return (seen.start_ticks if seen.start_ticks is not None else seen.create_time or 0.0, seen.pid)
