"""What a user can configure: one model for pyproject.toml's `[tool.blueprint]`, the environment and the command line.

Where the values come from, and how a bad one is reported, is in `blueprint.configuration`.
Never imports Prefect: `plan`, `verify` and `stop` read settings too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_serializer,
    model_validator,
)

from blueprint import checks
from blueprint.accepted import SECRETS

__all__ = ["BUNDLED", "SECRETS", "Acceptance", "RetryPolicy", "Settings", "TaskExpectation"]


def _secret(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda value: SecretStr(check(value.get_secret_value())))


def _to_the_microsecond(seconds: float) -> float:
    return timedelta(seconds=seconds).total_seconds()  # as the server keeps it


_Number = BeforeValidator(checks.not_boolean)
Count = Annotated[int, Field(ge=0, le=1_000_000), _Number]
Limit = Annotated[int, Field(ge=1, le=1_000_000), _Number]
Port = Annotated[int, Field(ge=1, le=65535), _Number]
Interval = Annotated[float, Field(ge=1, le=3_153_600_000), _Number, AfterValidator(_to_the_microsecond)]
Text = Annotated[str, Field(max_length=1000), AfterValidator(checks.printable)]
Name = Annotated[
    Text, Field(min_length=1, max_length=200, pattern=r"^[^/%&><]+$"), AfterValidator(checks.trimmed)
]  # Prefect's own rule for names
Rrule = Annotated[str, Field(max_length=6500), AfterValidator(checks.rrule)]  # Prefect's own limit
Parameters = Annotated[dict[str, Any], AfterValidator(checks.json_value), BeforeValidator(checks.without_dates)]
AuthString = Annotated[SecretStr, Field(max_length=1000), _secret(checks.auth_string)]
DatabaseUrl = Annotated[SecretStr, Field(max_length=1000), _secret(checks.database_url)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class RetryPolicy(_Table):
    """How often a task is tried again, and how many seconds apart."""

    retries: Count
    retry_delay_seconds: Annotated[float, Field(ge=0), _Number] = 0


class TaskExpectation(RetryPolicy):
    """What task 7 must find on one of the flow's tasks."""

    tags: frozenset[Text] = frozenset()

    @field_serializer("tags")
    def _in_order(self, tags: frozenset[str]) -> list[str]:
        """Always the same text for the same settings: a service is restarted when they change."""
        return sorted(tags)


class Acceptance(_Table):
    """The cases that tasks 23, 24 and 28 run. One that is not given is skipped, and says so.

    In a text value `{source_url}` stands for the data source's address and `{key}` for a text that is new in every try.
    """

    overrides: Parameters | None = Field(None, description="parameters of task 23's run, which must complete")
    json_parameters: Parameters | None = Field(None, description="parameters of task 24's run, given as JSON")
    retried: Parameters | None = Field(None, description="task 28a: a fault that passes; retried, then Completed")
    failing: Parameters | None = Field(None, description="task 28b: must be retried by this policy, then Failed")
    failing_policy: RetryPolicy | None = Field(None, description="the retries that 28a and 28b must show")
    refused: tuple[Parameters, ...] = Field((), description="task 28c: parameters that the server must refuse")


class Settings(_Table):
    """The platform to build, and the flow to deploy and prove on it."""

    entrypoint: Annotated[Text, AfterValidator(checks.entrypoint)] = Field(
        description="path/to/file.py:flow_function or package.module.flow_function"
    )
    source: Text = Field(".", min_length=1, description="the folder that the flow's code is run from")
    deployment: Name = Field("production-etl", description="the deployment's name")
    deploy_with: Literal["deploy", "serve"] = Field("deploy", description="a work pool and a worker, or flow.serve")
    parameters: Parameters = Field(default_factory=dict, description="the deployment's default parameters")
    tags: tuple[Name, ...] = Field((), description="tags of the deployment and its runs")
    concurrency_limit: Limit | None = Field(None, description="runs of the deployment at a time")

    cron: Annotated[Text, AfterValidator(checks.cron)] | None = Field(
        None, description="a schedule as a cron expression"
    )
    interval: Interval | None = Field(None, description="a schedule as seconds between two runs")
    rrule: Rrule | None = Field(None, description="a schedule as an iCalendar recurrence rule")
    timezone: Annotated[Text, AfterValidator(checks.timezone)] = Field(
        "UTC", description="the schedule's IANA time zone"
    )

    pool: Name = Field("local-process-pool", description="the work pool's name")
    pool_concurrency_limit: Limit | None = Field(10, description="runs in the pool at a time")
    host: Annotated[Text, AfterValidator(checks.host)] = Field(
        "127.0.0.1", description="the address that the server listens on"
    )
    port: Port = Field(4200, description="the server's port")
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

    data_source: Annotated[Text, AfterValidator(checks.data_source)] | None = Field(
        None, description='"bundled", or the http(s) address that the flow reads from'
    )
    database_url: DatabaseUrl | None = Field(None, description="the warehouse; an embedded SQLite file if not given")
    requirements: tuple[Annotated[Text, AfterValidator(checks.requirement)], ...] = Field(
        (), description="further packages that the flow needs"
    )
    tasks: dict[Text, TaskExpectation] = Field(default_factory=dict, description="what task 7 must find in the flow")
    check: Annotated[Text, AfterValidator(checks.function)] | None = Field(
        None, description="module:function called with a run's id and parameters"
    )
    acceptance: Acceptance = Field(default_factory=lambda: Acceptance.model_validate({}))
    run_seconds: Annotated[float, Field(ge=0, le=604_800), _Number] = Field(
        0, description="how long a run takes, if it is long: tasks that wait for runs are given that much more time"
    )
    jobs: Annotated[int, Field(ge=1, le=30), _Number] = Field(
        8, description="tasks at a time; 1 runs them strictly in order"
    )

    @model_validator(mode="before")
    @classmethod
    def _bundled(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "entrypoint" in values:
            return values
        is_scheduled = any(values.get(key) is not None for key in ("interval", "rrule"))
        return {key: value for key, value in BUNDLED.items() if not (is_scheduled and key == "cron")} | values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(value is not None for value in (self.cron, self.interval, self.rrule)) > 1:
            raise ValueError("cron, interval and rrule exclude each other; give one of them or none")
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
    def has_schedule(self) -> bool:
        """Whether the deployment runs by itself."""
        return any((self.cron, self.interval, self.rrule))

    @property
    def serves(self) -> bool:
        """Whether `flow.serve` takes the place of pool and worker."""
        return self.deploy_with == "serve"

    @property
    def client_host(self) -> str:
        """The address under which programs on this machine reach the server."""
        if self.host == "localhost":
            return self.host
        address = ipaddress.ip_address(self.host)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "[::1]"
        return f"[{address}]" if address.version == 6 else str(address)

    @property
    def server_url(self) -> str:
        """The server's address, without a slash at the end."""
        return f"http://{self.client_host}:{self.port}"

    @property
    def api_url(self) -> str:
        """What Prefect calls PREFECT_API_URL."""
        return f"{self.server_url}/api"

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


_TAGS = {"extract-task": ("raw", "extract"), "transform-task": ("silver", "transform"), "load-task": ("gold", "load")}

# The pipeline that ships is only the default of the table: it applies as long as no entrypoint is configured.
BUNDLED: Mapping[str, Any] = {
    "entrypoint": "blueprint/pipeline/data_pipeline.py:enterprise_data_pipeline",
    "deployment": "production-etl",
    "parameters": {"batch_size": 500},
    "cron": "0 9 * * *",
    "timezone": "America/Chicago",
    "tags": ("blueprint",),
    "data_source": "bundled",
    "check": "blueprint.pipeline.checks:rows_landed",
    "tasks": {
        name: {
            "tags": (f"layer:{layer}", f"op:{operation}"),
            "retries": 3 if operation == "extract" else 0,
            "retry_delay_seconds": 2 if operation == "extract" else 0,
        }
        for name, (layer, operation) in _TAGS.items()
    },
    "acceptance": {
        "overrides": {"batch_size": 50},
        "json_parameters": {"batch_size": 200, "target_table": "warehouse.test.metrics"},
        "retried": {"source_url": "{source_url}?fail_first=2&fail_key={key}"},
        "failing": {"source_url": "invalid://url"},
        "failing_policy": {"retries": 3, "retry_delay_seconds": 2},
        "refused": ({"batch_size": -1}, {"batch_size": "invalid"}),
    },
}
