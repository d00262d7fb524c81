"""The platform as its users see it: an API, and services that run here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blueprint.core import http
from blueprint.core.task import TaskControl
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.log import ServiceLog
from blueprint.processes.manager import ServiceManager
from blueprint.processes.spec import ServiceSpec

PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Change:
    """The result of ensuring that a service is up.

    Attributes:
        changed: Whether it had to be started.
        reason: If so, what had been found.
    """

    changed: bool
    reason: str = ""


class Service:
    """A server, worker or support process, wherever it runs; what is not overridden holds for one elsewhere."""

    def begin(self, control: TaskControl) -> None:
        """Start it without waiting, if it is managed here and not running."""

    def ensure(self, control: TaskControl) -> Change:
        """Have it up: start it if it is managed here, else wait for it.

        Raises:
            BlueprintError: It is not up.
            TaskStopped: The execution was interrupted.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Require that it can do its work.

        Raises:
            NotReady: It cannot; says what it answered.
        """
        raise NotImplementedError

    def instances(self) -> tuple[ProcessIdentity, ...]:
        """Return its processes, proven ours and holding its port; empty if it is not managed here.

        Raises:
            NotReady: It is managed here and does not run; says how it is.
            EnvironmentRefused: A stranger holds its port.
        """
        return ()

    def log(self) -> ServiceLog | None:
        """Return its log; None if it cannot be read here."""
        return None


@dataclass(frozen=True)
class ManagedService(Service):
    """A service whose process is started, adopted and stopped here.

    Attributes:
        spec: Its command and how to see that it is up.
        manager: The workspace's processes.
        instead_of: Another service of ours that must not run beside it; empty if there is none.
    """

    spec: ServiceSpec
    manager: ServiceManager
    instead_of: str = ""

    def begin(self, control: TaskControl) -> None:
        """Start it without waiting, unless something of it runs already."""
        self.manager.begin(self.spec, control)

    def ensure(self, control: TaskControl) -> Change:
        """Adopt it or start it, and wait until it is ready."""
        if self.instead_of:
            self.manager.stop(self.instead_of, control)
        change = self.manager.ensure(self.spec, control)
        return Change(change.changed, change.reason)

    def check(self) -> None:
        """Require that it can do its work."""
        self.spec.ready()

    def instances(self) -> tuple[ProcessIdentity, ...]:
        """Return its main process, proven ours and holding its port."""
        return (self.manager.require_running(self.spec),)

    def log(self) -> ServiceLog:
        """Return its log."""
        return ServiceLog(self.spec.log)


@dataclass(frozen=True)
class ExternalService(Service):
    """A service that somebody else runs: it can be asked, but not started or looked into.

    Attributes:
        title: Its name for people.
        probe: Returns if it can do its work, else raises `NotReady`.
    """

    title: str
    probe: Callable[[], None]

    def ensure(self, control: TaskControl) -> Change:
        """Wait until it is up."""
        from blueprint.core.waiting import wait_until

        wait_until(control, self.probe, what=f"{self.title} to be ready")
        return Change(changed=False)

    def check(self) -> None:
        """Require that it can do its work."""
        self.probe()


@dataclass(frozen=True)
class ApiEndpoint:
    """The server's API.

    Attributes:
        url: Its address for programs on this machine, without a slash at the end.
        public_url: Its address for browsers, which the UI is told.
        authorization: The `Authorization` header that it asks for, if any. To be sent only to a server that is proven
            ours or was named by the user.
    """

    url: str
    public_url: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def root(self) -> str:
        """The server's address, where its UI is."""
        return self.url.removesuffix("/api")

    def get(self, path: str, *, query: Any = None) -> http.Response:
        """Ask the API for a path below it once, and require HTTP 200; with a query, POST it.

        Raises:
            NotReady: There was no answer, or one of another status.
        """
        return http.get_ok(f"{self.url}{path}", timeout=PROBE_SECONDS, auth=self.authorization, query=query)


@dataclass(frozen=True)
class Platform:
    """An API with the services behind it.

    Attributes:
        api: The server's API.
        servers: The servers.
        workers: The workers, or the process that serves the flows in place of one.
        support: Further services, such as the bundled data source.
    """

    api: ApiEndpoint
    servers: tuple[Service, ...]
    workers: tuple[Service, ...]
    support: tuple[Service, ...] = ()

    @property
    def server(self) -> Service:
        """The first server."""
        return self.servers[0]

    @property
    def worker(self) -> Service:
        """The first worker, or the serving process."""
        return self.workers[0]
