"""What a user can configure: one model for pyproject.toml's `[tool.blueprint]`, the environment and the command line.

Where the values come from, and how a bad one is reported, is in `blueprint.configuration`.
Never imports Prefect: `plan`, `verify` and `stop` read settings too.
"""

from __future__ import annotations

import ipaddress
import math
import re
import zoneinfo
from collections.abc import Mapping
from datetime import date, time
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

SECRETS = ("api_auth_string", "database_url")  # never in arguments, logs, records
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/%&><\x00-\x1f]+$")]


def _as_json(value: Any) -> Any:
    """TOML has dates and times, and the API speaks JSON: they become the texts that Pydantic reads them from."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("inf and nan cannot be given to a flow: JSON has no such numbers")
    if isinstance(value, Mapping):
        return {key: _as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    return value


Parameters = Annotated[dict[str, Any], BeforeValidator(_as_json)]

_ENTRYPOINT = re.compile(r"^[^:\x00]+\.py:[A-Za-z_]\w*$|^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
_CRON_ALIASES = frozenset(("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"))


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RetryPolicy(_Table):
    """How often a task is tried again, and how many seconds apart."""

    retries: Annotated[int, Field(ge=0)]
    retry_delay_seconds: Annotated[float, Field(ge=0)] = 0


class TaskExpectation(RetryPolicy):
    """What task 7 must find on one of the flow's tasks."""

    tags: frozenset[str] = frozenset()


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

    entrypoint: str = Field(description="path/to/file.py:flow_function or package.module.flow_function")
    source: str = Field(".", min_length=1, description="the folder that the flow's code is run from")
    deployment: Name = Field("production-etl", description="the deployment's name")
    deploy_with: Literal["deploy", "serve"] = Field("deploy", description="a work pool and a worker, or flow.serve")
    parameters: Parameters = Field(default_factory=dict, description="the deployment's default parameters")
    tags: tuple[Name, ...] = Field((), description="tags of the deployment and its runs")
    concurrency_limit: Annotated[int, Field(ge=1)] | None = Field(None, description="runs of the deployment at a time")

    cron: str | None = Field(None, description="a schedule as a cron expression")
    interval: Annotated[float, Field(gt=0)] | None = Field(None, description="a schedule as seconds between two runs")
    rrule: str | None = Field(None, description="a schedule as an iCalendar recurrence rule")
    timezone: str = Field("UTC", description="the schedule's IANA time zone")

    pool: Name = Field("local-process-pool", description="the work pool's name")
    pool_concurrency_limit: Annotated[int, Field(ge=1)] | None = Field(10, description="runs in the pool at a time")
    host: str = Field("127.0.0.1", description="the address that the server listens on")
    port: Port = Field(4200, description="the server's port")
    worker_port: Port = Field(0, validate_default=False, description="the worker's health port; the server's + 1")
    source_port: Port = Field(0, validate_default=False, description="the bundled data source's port; the server's + 2")
    api_auth_string: SecretStr | None = Field(None, description="user:password that the API asks for")

    data_source: str | None = Field(None, description='"bundled", or the http(s) address that the flow reads from')
    database_url: SecretStr | None = Field(None, description="the warehouse; an embedded SQLite file if not given")
    requirements: tuple[str, ...] = Field((), description="further packages that the flow needs")
    tasks: dict[str, TaskExpectation] = Field(default_factory=dict, description="what task 7 must find in the flow")
    check: str | None = Field(None, description="module:function called with a run's id and parameters")
    run_seconds: Annotated[float, Field(ge=0, le=604_800)] = Field(
        0, description="how long a run takes, if it is long: tasks that wait for runs are given that much more time"
    )
    acceptance: Acceptance = Field(default_factory=lambda: Acceptance.model_validate({}))
    jobs: Annotated[int, Field(ge=1, le=30)] = Field(8, description="tasks at a time; 1 runs them strictly in order")

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = {**(BUNDLED if "entrypoint" not in values else {}), **values}
        port = values.get("port", cls.model_fields["port"].default)
        if str(port).isdecimal():
            values.setdefault("worker_port", int(port) + 1)
            values.setdefault("source_port", int(port) + 2)
        return values

    @field_validator("entrypoint")
    @classmethod
    def _entrypoint(cls, value: str) -> str:
        if not _ENTRYPOINT.match(value):
            raise ValueError("expected path/to/file.py:flow_function or package.module.flow_function")
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; expected an IANA name such as America/Chicago") from None
        return value

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is None or value in _CRON_ALIASES:
            return value
        from datetime import UTC, datetime

        from cronsim import CronSim, CronSimError

        try:
            CronSim(value, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError:
            raise ValueError("not a cron expression; expected five fields such as '0 9 * * *'") from None
        return value

    @field_validator("rrule")
    @classmethod
    def _rrule(cls, value: str | None) -> str | None:
        if value is None:
            return None
        from dateutil.rrule import rrulestr  # type: ignore[import-untyped]

        try:
            rrulestr(value)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError):
            raise ValueError("not a recurrence rule; expected one such as 'FREQ=DAILY;BYHOUR=9'") from None
        return value

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if value != "localhost":
            try:
                ipaddress.ip_address(value)
            except ValueError:
                raise ValueError("expected an IP address or localhost") from None
        return value

    @field_validator("data_source")
    @classmethod
    def _data_source(cls, value: str | None) -> str | None:
        if value not in (None, "bundled") and not re.match(r"^https?://[^\s/]+", str(value)):
            raise ValueError('expected "bundled" or an http(s) address')
        return value

    @field_validator("check")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", value):
            raise ValueError("expected module:function")
        return value

    @field_validator("api_auth_string")
    @classmethod
    def _auth(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"^[^:\s]+:\S+$", value.get_secret_value()):
            raise ValueError("expected user:password")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(value is not None for value in (self.cron, self.interval, self.rrule)) > 1:
            raise ValueError("cron, interval and rrule exclude each other; give one of them or none")
        if len({self.port, self.worker_port, self.source_port}) < 3:
            raise ValueError("port, worker_port and source_port must be three different ports")
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
