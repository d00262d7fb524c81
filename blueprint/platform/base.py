"""The platform as its users see it: an API, and services that run here or elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from blueprint.core import http
from blueprint.core.errors import ApiError
from blueprint.core.task import TaskControl
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.log import ServiceLog
from blueprint.processes.manager import ServiceManager
from blueprint.processes.spec import Change, ServiceSpec

PROBE_SECONDS = 3.0


class Service:
    """A server, worker or support process, wherever it runs; what is not overridden holds for one elsewhere."""

    def begin(self, control: TaskControl) -> None:
        """Start it without waiting, if it is managed here and not running."""

    def ensure(self, control: TaskControl) -> Change:
        """Have it up: start it if it is managed here, else wait for it."""
        raise NotImplementedError

    def check(self) -> None:
        """Require that it can do its work, else raise `NotReady`."""
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
    """A service whose process is started, adopted and stopped here."""

    spec: ServiceSpec
    manager: ServiceManager
    instead_of: str = ""  # another service of ours that must not run beside it

    def begin(self, control: TaskControl) -> None:
        """Start it without waiting, unless something of it runs already."""
        self.manager.begin(self.spec, control)

    def ensure(self, control: TaskControl) -> Change:
        """Adopt it or start it, and wait until it is ready."""
        if self.instead_of:
            self.manager.stop(self.instead_of, control)
        return self.manager.ensure(self.spec, control)

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
    """A service that somebody else runs: it can be asked, but not started or looked into."""

    title: str
    probe: Callable[[], None]  # raises `NotReady` if it cannot do its work

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
    """The server's API."""

    url: str  # for programs on this machine, without a slash at the end
    public_url: str  # for browsers, which the UI is told
    # The header that it asks for, if any: sent only to a server that is proven ours or was named by the user.
    authorization: str | None = field(default=None, repr=False)

    @property
    def root(self) -> str:
        """The server's address, where its UI is."""
        return self.url.removesuffix("/api")

    def get(self, path: str, *, query: Any = None) -> http.Response:
        """Ask the API for a path below it once, as `http.get_ok` does."""
        return http.get_ok(f"{self.url}{path}", timeout=PROBE_SECONDS, auth=self.authorization, query=query)


@contextlib.contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn an answer in another form, which another Prefect's API may give, into an expected error.

    Raises:
        ApiError: The answer about `what` has another form.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ApiError(
            f"The server's answer about {what} cannot be understood ({type(error).__name__}: {error}).",
            "Run `python run_blueprint.py verify`: another Prefect's server may be in the place of this platform's.",
        ) from error


@dataclass(frozen=True)
class Platform:
    """An API with the services behind it."""

    api: ApiEndpoint
    servers: tuple[Service, ...]
    workers: tuple[Service, ...]  # or the process that serves the flows in place of one
    support: tuple[Service, ...] = ()  # such as the bundled data source

    @property
    def server(self) -> Service:
        """The first server."""
        return self.servers[0]

    @property
    def worker(self) -> Service:
        """The first worker, or the serving process."""
        return self.workers[0]
