"""Ownership tag in the environment of started processes, and the processes that it proves ours.

A record can be lost and a child can leave its process group; the tag goes wherever a child goes. A process with the
tag of another workspace or another service is never counted as ours, whoever its parent is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.table import Process, all_processes, variable

SERVICE_VARIABLE = "_BLUEPRINT_SERVICE"
FINGERPRINT_VARIABLE = "_BLUEPRINT_SERVICE_FINGERPRINT"

SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # it becomes a file's name, also when it comes from a process


@dataclass(frozen=True)
class OwnershipTag:
    """The owner of a process: the id of the workspace that started it, and the name of the service."""

    workspace: str
    service: str

    def environment(self, fingerprint: str) -> Mapping[str, str]:
        """Return the variables that carry the tag, and the settings that the process is started with."""
        return {SERVICE_VARIABLE: f"{self.workspace}:{self.service}", FINGERPRINT_VARIABLE: fingerprint}


def tag_of(pid: int) -> OwnershipTag | None:
    """Read the tag of a process; None if it has none or its environment cannot be read."""
    text = variable(pid, SERVICE_VARIABLE)
    if text is None:
        return None
    workspace, _, service = text.rpartition(":")
    return OwnershipTag(workspace, service) if SERVICE_NAME.fullmatch(service) else None


def fingerprint_of(pid: int) -> str | None:
    """Read the fingerprint of the settings that a process was started with."""
    return variable(pid, FINGERPRINT_VARIABLE)


def tagged_processes(workspace: str) -> dict[str, list[Process]]:
    """Return the running processes that carry this workspace's tag, by service."""
    found: dict[str, list[Process]] = {}
    for process in all_processes():
        tag = tag_of(process.pid) if process.running else None
        if tag is not None and tag.workspace == workspace and process.pid != os.getpid():
            found.setdefault(tag.service, []).append(process)
    return found


def owned_processes(tag: OwnershipTag, known: Collection[ProcessIdentity] = ()) -> list[Process]:
    """Return the running processes of a service, oldest first.

    A process belongs to the service if it carries the tag, is in a session that a process of the service made (nobody
    can join a session from outside), or descends from such a process.

    Those of `known` identities, such as the recorded one, need no readable environment: some programs overwrite theirs.
    """
    table = {process.pid: process for process in all_processes() if process.pid != os.getpid()}
    tags = {pid: tag_of(pid) for pid in table}
    ours = {
        pid for pid, process in table.items() if tags[pid] == tag or (tags[pid] is None and process.identity in known)
    }
    sessions = {table[pid].session for pid in ours} - {0}  # 0: a session that lies outside this pid namespace
    untagged = {pid for pid, found in tags.items() if found is None}
    ours |= {pid for pid in untagged if table[pid].session in sessions}
    while more := {pid for pid in untagged - ours if table[pid].parent in ours}:
        ours |= more
    running = [table[pid] for pid in ours if table[pid].running]
    return sorted(running, key=lambda process: (-process.age(), process.pid))
