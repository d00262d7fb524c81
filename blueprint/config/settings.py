"""What a user can configure: one model for pyproject.toml's `[tool.blueprint]`, the environment and the command line.

Where the values come from, and how a bad one is reported, is in `blueprint.config.sources`; what belongs to a single
deployment is in `blueprint.config.deployment_settings`. Never imports Prefect: `plan`, `verify` and `stop` read
settings too.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from blueprint.config import validators
from blueprint.config.accepted import SECRETS
from blueprint.config.defaults import BUNDLED_DEFAULTS
from blueprint.config.deployment_settings import (
    Acceptance,
    DeploymentTable,
    Entrypoint,
    Limit,
    Name,
    Number,
    OfDeployment,
    RetryPolicy,
    TaskExpectation,
    Text,
)

__all__ = ["BUNDLED_DEFAULTS", "SECRETS", "Acceptance", "RetryPolicy", "Settings", "TaskExpectation", "unique_labels"]


SETTINGS_VARIABLE = "_BLUEPRINT_SETTINGS"  # how the serving process gets its settings; no secret is among them


def _secret(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda value: SecretStr(check(value.get_secret_value())))


Port = Annotated[int, Field(ge=1, le=65535), Number]
AuthString = Annotated[SecretStr, Field(max_length=1000), _secret(validators.auth_string)]
WarehouseUrl = Annotated[SecretStr, Field(max_length=1000), _secret(validators.warehouse_url)]
Switch = Annotated[bool, Field(strict=True)]

# What a table of `deployments` takes over from `[tool.blueprint]` itself where it does not say it: these always, ...
_SHARED = frozenset(("source", "tags", "concurrency_limit", "timezone", "run_seconds"))
# ... and these if its flow is the same. A schedule it has only if it says so: no deployment runs by itself unasked.
_OF_FLOW = frozenset(("entrypoint", "parameters", "tasks", "check", "acceptance"))


class Settings(OfDeployment):
    """The platform to build, and the flow to deploy and prove on it."""

    entrypoint: Entrypoint = Field(description="path/to/file.py:flow_function or package.module.flow_function")
    deployment: Name = Field("production-etl", description="the deployment's name")
    deploy_with: Literal["deploy", "serve"] = Field("deploy", description="a work pool and a worker, or flow.serve")

    pool: Name = Field("local-process-pool", description="the work pool's name")
    pool_concurrency_limit: Limit | None = Field(10, description="runs in the pool at a time")
    host: Annotated[Text, AfterValidator(validators.host)] = Field(
        "127.0.0.1", description="the address that the server listens on"
    )
    port: Port = Field(4200, description="the server's port")
    public_url: Annotated[Text, AfterValidator(validators.public_url)] = Field(
        default_factory=lambda values: _default_public_url(values["host"], values["port"]),
        description=(
            "the address that browsers reach the server at, which the UI is told; http://HOST:PORT if not given, "
            "with this machine's host name as HOST where `host` is 0.0.0.0 or ::"
        ),
    )
    worker_port: Port = Field(
        default_factory=lambda values: values["port"] + 1,
        validate_default=True,
        description="the worker's health port; the server's + 1",
    )
    source_port: Port = Field(
        default_factory=lambda values: values["port"] + 2,
        validate_default=True,
        description="the bundled data source's port; the server's + 2",
    )
    api_auth_string: AuthString | None = Field(None, description="user:password that the API asks for")

    data_source: Annotated[Text, AfterValidator(validators.data_source)] | None = Field(
        None, description='"bundled", or the http(s) address that the flow reads from'
    )
    warehouse_url: WarehouseUrl | None = Field(None, description="the warehouse; an embedded SQLite file if not given")
    requirements: tuple[Annotated[Text, AfterValidator(validators.requirement)], ...] = Field(
        (), description="further packages that the flow needs"
    )
    sqlite_locking: Switch = Field(
        True, description="the server's SQLite transactions wait for locks instead of failing; no effect on PostgreSQL"
    )
    warm_start: Switch = Field(
        True, description="the worker starts runs from a process that has imported Prefect already (Linux only)"
    )
    jobs: Annotated[int, Field(ge=1, le=30), Number] = Field(
        8, description="tasks at a time; 1 runs them strictly in order"
    )

    deployments: tuple[DeploymentTable, ...] = Field(
        (), max_length=100, description="one table for each further deployment"
    )
    _given: frozenset[str] = PrivateAttr(frozenset())  # the keys that the user gave

    @model_validator(mode="wrap")
    @classmethod
    def _bundled(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """The bundled pipeline is what is meant as long as no other flow is named."""
        given = frozenset(key for key, one in values.items() if one is not None) if isinstance(values, dict) else ()
        if isinstance(values, dict) and "entrypoint" not in values:
            is_scheduled = any(values.get(key) is not None for key in ("interval", "rrule"))
            values = {
                key: value for key, value in BUNDLED_DEFAULTS.items() if not (is_scheduled and key == "cron")
            } | values
        made = handler(values)
        made._given = frozenset(given)
        made._see_that_each_is_another()
        return made

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len({self.port, self.worker_port, self.source_port}) < 3:
            raise ValueError(
                f"port {self.port}, worker_port {self.worker_port} and source_port {self.source_port} must be different"
            )
        if not self.is_loopback and self.api_auth_string is None:
            raise ValueError(
                f"host {self.host} is open to others: set BLUEPRINT_API_AUTH_STRING=user:password, or use 127.0.0.1"
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def serves(self) -> bool:
        """Whether `flow.serve` takes the place of pool and worker."""
        return self.deploy_with == "serve"

    @property
    def client_host(self) -> str:
        """The address under which programs on this machine reach the server."""
        if _is_unspecified(self.host):
            return "127.0.0.1" if "." in self.host else "[::1]"
        return _in_url(self.host)

    @property
    def server_url(self) -> str:
        """The server's address, without a slash at the end."""
        return f"http://{self.client_host}:{self.port}"

    @property
    def api_url(self) -> str:
        """What Prefect calls PREFECT_API_URL."""
        return f"{self.server_url}/api"

    @property
    def public_api_url(self) -> str:
        """The API's address for browsers, which the UI is told."""
        return f"{self.public_url}/api"

    @property
    def worker_url(self) -> str:
        """The address of the worker's health server, or of the serving process's."""
        return f"http://127.0.0.1:{self.worker_port}"

    @property
    def source_url(self) -> str | None:
        """The address that the flow reads from; None if the flow has no source that we know of."""
        if self.data_source == "bundled":
            return f"http://127.0.0.1:{self.source_port}/api/v1/metrics"
        return self.data_source

    @property
    def is_deployment(self) -> bool:
        """Whether `[tool.blueprint]` itself is one of the deployments: it names one, or there is no other."""
        return not self.deployments or "deployment" in self._given

    def each(self) -> tuple[Settings, ...]:
        """The settings of each deployment: its own, and those of the platform, which are the same for all."""
        itself = (self.model_copy(update={"deployments": ()}),) if self.is_deployment else ()
        return (*itself, *map(self._of, self.deployments))

    def _taken_over(self, table: DeploymentTable) -> frozenset[str]:
        """The keys that a table takes over where it does not set them itself."""
        there, its = _place(self), _place(self.model_copy(update=_set_in(table)))
        if there == its:
            return _SHARED | _OF_FLOW
        if "entrypoint" not in self._given:
            return _SHARED & self._given  # nothing of the bundled pipeline's
        return _SHARED

    def _of(self, table: DeploymentTable) -> Settings:
        taken = self._taken_over(table)
        blank = {
            name: field.get_default(call_default_factory=True)
            for name, field in OfDeployment.model_fields.items()
            if name not in taken
        }
        if "entrypoint" not in taken and "data_source" not in self._given:
            blank["data_source"] = None
        return self.model_copy(update={**blank, **_set_in(table), "deployments": ()})

    def _see_that_each_is_another(self) -> None:
        seen: dict[tuple[str, ...], str] = {}
        itself = ("[tool.blueprint] itself",) if self.is_deployment else ()
        numbers = (f"no. {number}" for number in range(1, len(self.deployments) + 1))
        for one, told in zip(self.each(), (*itself, *numbers), strict=True):
            other = seen.setdefault((*_place(one), one.deployment), told)
            if other != told:
                raise ValueError(
                    f"deployments {told} is the same as {other}: {one.entrypoint} as {one.deployment!r}; "
                    "give it another name"
                )
        if not self.is_deployment:
            taken = frozenset[str]().union(*map(self._taken_over, self.deployments))
            for key in sorted(self._given & OfDeployment.model_fields.keys() | self._given & {"entrypoint"}):
                if key not in taken:
                    raise ValueError(
                        f"{key} belongs to a deployment, but [tool.blueprint] itself names none, and no table of "
                        "deployments takes it over; write it into those, or add a `deployment` to it"
                    )


def _is_unspecified(host: str) -> bool:
    """Whether a server on this host listens on every address of the machine: 0.0.0.0 or ::."""
    return host != "localhost" and ipaddress.ip_address(host).is_unspecified


def _in_url(host: str) -> str:
    return f"[{ipaddress.ip_address(host)}]" if ":" in host else host


def _default_public_url(host: str, port: int) -> str:
    return f"http://{socket.gethostname() if _is_unspecified(host) else _in_url(host)}:{port}"


def _set_in(table: DeploymentTable) -> dict[str, Any]:
    return {name: getattr(table, name) for name in table.model_fields_set if getattr(table, name) is not None}


def _place(settings: Settings) -> tuple[str, str]:
    return os.path.normpath(settings.source), settings.entrypoint


def unique_labels(each: Sequence[Settings]) -> tuple[str, ...]:
    """A name for each deployment that no other of them has: its own, with its flow's where that is needed."""
    for told in (
        [one.deployment for one in each],
        [f"{one.entrypoint.replace(':', '.').rpartition('.')[2]}/{one.deployment}" for one in each],
        [f"{one.entrypoint}/{one.deployment}" for one in each],
    ):
        if len(set(told)) == len(told):
            return tuple(told)
    return tuple(f"{one.source}/{one.entrypoint}/{one.deployment}" for one in each)
