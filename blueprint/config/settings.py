"""The settings: one model for pyproject.toml's `[tool.blueprint]`, the environment and the command line.

Where the values come from, and how a bad one is reported, is in `blueprint.config.sources`; what each key means is in
`blueprint.config.keys`. Never imports Prefect: `plan`, `verify` and `stop` read settings too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, PrivateAttr, SecretStr, model_validator

from blueprint.config import addresses, validators
from blueprint.config.defaults import BUNDLED_DEFAULTS
from blueprint.config.deployment_settings import DeploymentTable, Entrypoint, Limit, Name, Number, OfDeployment, Text
from blueprint.config.keys import SECRETS

SETTINGS_VARIABLE = "_BLUEPRINT_SETTINGS"  # how the serving process gets its settings; no secret is among them


def _secret(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda value: SecretStr(check(value.get_secret_value())))


Port = Annotated[int, Field(ge=1, le=65535), Number]
Switch = Annotated[bool, Field(strict=True)]
AuthString = Annotated[SecretStr, Field(max_length=1000), _secret(validators.auth_string)]
WarehouseUrl = Annotated[SecretStr, Field(max_length=1000), _secret(validators.warehouse_url)]

# A table of `deployments` takes these over from `[tool.blueprint]` where it does not set them, …
_SHARED = frozenset(("source", "tags", "concurrency_limit", "timezone", "run_seconds"))
# … and these if its flow is the same. It never takes over a schedule: no deployment runs by itself unasked.
_OF_FLOW = frozenset(("entrypoint", "parameters", "tasks", "check", "acceptance"))


class Settings(OfDeployment):
    """The platform to build, and the flow to deploy and prove on it."""

    entrypoint: Entrypoint
    deployment: Name = "production-etl"
    deployments: tuple[DeploymentTable, ...] = Field((), max_length=100)
    deploy_with: Literal["deploy", "serve"] = "deploy"

    pool: Name = "local-process-pool"
    pool_concurrency_limit: Limit | None = 10
    host: Annotated[Text, AfterValidator(validators.host)] = "127.0.0.1"
    port: Port = 4200
    worker_port: Port = Field(default_factory=lambda values: values["port"] + 1, validate_default=True)
    source_port: Port = Field(default_factory=lambda values: values["port"] + 2, validate_default=True)
    public_url: Annotated[Text, AfterValidator(validators.public_url)] = Field(
        default_factory=lambda values: f"http://{addresses.public(values['host'])}:{values['port']}"
    )
    allowed_origins: tuple[Annotated[Text, AfterValidator(validators.origin)], ...] = ()
    auth: Literal["none", "generated", "given"] | None = None
    api_auth_string: AuthString | None = None

    data_source: Annotated[Text, AfterValidator(validators.data_source)] | None = None
    warehouse_url: WarehouseUrl | None = None
    requirements: tuple[Annotated[Text, AfterValidator(validators.requirement)], ...] = ()
    requirements_lock: Text | None = None
    keep_variables: tuple[Annotated[Text, AfterValidator(validators.kept_variable)], ...] = ()
    sqlite_locking: Switch = True
    warm_start: Switch = True
    jobs: Annotated[int, Field(ge=1, le=30), Number] = 8

    _given: frozenset[str] = PrivateAttr(frozenset())  # the keys that the user gave

    @model_validator(mode="wrap")
    @classmethod
    def _with_defaults(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Take the bundled pipeline's values as long as no other flow is named."""
        if not isinstance(values, dict):
            return handler(values)
        given = frozenset(key for key, value in values.items() if value is not None)
        if "entrypoint" not in values:
            bundled = dict(BUNDLED_DEFAULTS)
            if {"interval", "rrule"} & given:
                del bundled["cron"]
            values = bundled | values
        made = handler(values)
        made._given = given
        made._require_distinct_deployments()
        made._require_owners()
        return made

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len({self.port, self.worker_port, self.source_port}) < 3:
            raise ValueError(
                f"port {self.port}, worker_port {self.worker_port} and source_port {self.source_port} must be different"
            )
        if self.auth == "given" and self.api_auth_string is None:
            raise ValueError("auth = given needs a password: set BLUEPRINT_API_AUTH_STRING=user:password")
        if self.api_auth_string is not None and self.auth in ("none", "generated"):
            raise ValueError(f"auth is {self.auth}, but api_auth_string gives a password: leave one of them out")
        if not addresses.is_loopback(self.host) and self.api_auth_string is None and self.auth != "generated":
            raise ValueError(
                f"host {self.host} is open to others: set auth = generated or BLUEPRINT_API_AUTH_STRING=user:password, "
                "or use 127.0.0.1"
            )
        return self

    @property
    def chosen_auth(self) -> str | None:
        """The kind of password that the user has chosen; None if the machine's accounts decide."""
        return self.auth or ("given" if "api_auth_string" in self._given else None)

    @property
    def serves(self) -> bool:
        """True if `flow.serve` takes the place of pool and worker."""
        return self.deploy_with == "serve"

    @property
    def server_url(self) -> str:
        """The server's address for programs on this machine, without a slash at the end."""
        return f"http://{addresses.local(self.host)}:{self.port}"

    @property
    def api_url(self) -> str:
        """The API's address for programs on this machine: their PREFECT_API_URL."""
        return f"{self.server_url}/api"

    @property
    def public_api_url(self) -> str:
        """The API's address for browsers, which the UI is told."""
        return f"{self.public_url}/api"

    @property
    def origins(self) -> tuple[str, ...]:
        """The sites whose pages may ask the server: its own addresses and the configured ones; `*` for every site."""
        if "*" in self.allowed_origins:
            return ("*",)
        loopback = (f"http://{name}:{self.port}" for name in ("127.0.0.1", "localhost", "[::1]"))
        known = (*loopback, self.server_url, self.public_url, *self.allowed_origins)
        return tuple(dict.fromkeys(map(addresses.origin, known)))

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

    def without_secrets(self) -> dict[str, Any]:
        """Return these settings as JSON values that `Settings` accepts, without passwords."""
        # The address is the local one: another is refused without a password, and who reads this does not listen.
        public = {**dict.fromkeys(SECRETS), "auth": None, "host": "127.0.0.1"}
        return self.model_copy(update=public).model_dump(mode="json")

    @property
    def is_deployment(self) -> bool:
        """True if `[tool.blueprint]` itself is one of the deployments: it names one, or there is no other."""
        return not self.deployments or "deployment" in self._given

    def each(self) -> tuple[Settings, ...]:
        """Return the settings of each deployment: its own, and the platform's, which are the same for all."""
        itself = (self.model_copy(update={"deployments": ()}),) if self.is_deployment else ()
        return (*itself, *map(self._of, self.deployments))

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

    def _taken_over(self, table: DeploymentTable) -> frozenset[str]:
        """Return the keys that a table takes over where it does not set them itself."""
        if _place(self) == _place(self.model_copy(update=_set_in(table))):
            return _SHARED | _OF_FLOW
        if "entrypoint" not in self._given:
            return _SHARED & self._given  # nothing of the bundled pipeline's
        return _SHARED

    def _require_distinct_deployments(self) -> None:
        seen: dict[tuple[str, ...], str] = {}
        itself = ("[tool.blueprint] itself",) if self.is_deployment else ()
        numbers = (f"no. {number}" for number in range(1, len(self.deployments) + 1))
        for deployment, name in zip(self.each(), (*itself, *numbers), strict=True):
            other = seen.setdefault((*_place(deployment), deployment.deployment), name)
            if other != name:
                raise ValueError(
                    f"deployments {name} is the same as {other}: {deployment.entrypoint} as "
                    f"{deployment.deployment!r}; give it another name"
                )

    def _require_owners(self) -> None:
        """Refuse a key of a deployment that no deployment would have."""
        if self.is_deployment:
            return
        taken = frozenset[str]().union(*map(self._taken_over, self.deployments))
        for key in sorted(self._given & {*OfDeployment.model_fields, "entrypoint"} - taken):
            raise ValueError(
                f"{key} belongs to a deployment, but [tool.blueprint] itself names none, and no table of "
                "deployments takes it over; write it into those, or add a `deployment` to it"
            )


def _set_in(table: DeploymentTable) -> dict[str, Any]:
    return {name: getattr(table, name) for name in table.model_fields_set if getattr(table, name) is not None}


def _place(settings: Settings) -> tuple[str, str]:
    return os.path.normpath(settings.source), settings.entrypoint


def unique_labels(each: Sequence[Settings]) -> tuple[str, ...]:
    """Return a name for each deployment that no other one has: its own, with its flow's where that is needed."""
    for labels in (
        [settings.deployment for settings in each],
        [f"{settings.entrypoint.replace(':', '.').rpartition('.')[2]}/{settings.deployment}" for settings in each],
        [f"{settings.entrypoint}/{settings.deployment}" for settings in each],
        [f"{settings.source}/{settings.entrypoint}/{settings.deployment}" for settings in each],
    ):
        if len(set(labels)) == len(labels):
            break
    return tuple(labels)
