"""The description of a service: a command that runs in the background, and how to know that it is up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.ownership import SERVICE_NAME


@dataclass(frozen=True)
class ServiceSpec:
    """A command to keep running in the background.

    Attributes:
        argv: The program and its arguments. Everybody on the machine can read them: never a secret.
        env: The settings that it is started with. When they (or `argv`, `cwd`, the address) change, it is restarted.
        ready: Raises `NotReady` until it can do its work. Each call bounds itself in time.
        alive: Raises `NotReady` if it does not answer at all. Each call bounds itself in time.
        inherit: Further environment, which may differ from one start to the next without a restart
            (`PATH`, `HOME`, `LANG`); `env` wins.
    """

    name: str  # unique in the workspace, and part of files' names
    title: str  # for people
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path  # private to the user
    host: str
    port: int | None
    ready: Callable[[], object]
    alive: Callable[[], object]
    inherit: Mapping[str, str] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()  # services that it uses until its end: it is stopped before them

    def __post_init__(self) -> None:
        if not SERVICE_NAME.fullmatch(self.name):
            raise ValueError(f"not a service's name: {self.name!r}")

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return f"{self.host}, port {self.port}"

    def fingerprint(self, salt: str) -> str:
        """Return a hash of the settings, salted with the workspace's id because `env` may hold a secret."""
        settings = [salt, self.argv, sorted(self.env.items()), str(self.cwd), self.host, self.port]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Change:
    """The result of ensuring that a service is up."""

    changed: bool  # whether it had to be started (else it was found running and healthy)
    reason: str = ""  # if so, what had been found


@dataclass(frozen=True, kw_only=True)
class ServiceChange(Change):
    """The change of a service that is managed here, with its process."""

    identity: ProcessIdentity
