"""The surroundings of tasks 1 to 4, which run before the settings can be judged. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from blueprint.core.workspace import Workspace


@dataclass(frozen=True)
class SetupContext:
    """The surroundings of a task that sets the environment up.

    Attributes:
        workspace: The folders.
        lock: The lock file to install, from the project's root.
        requirements: Further requirements of the user's flows.
    """

    workspace: Workspace
    lock: str = "requirements.lock"
    requirements: tuple[str, ...] = ()
