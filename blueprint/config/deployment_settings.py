"""The settings of one deployment, in `[tool.blueprint]` itself or in a table of its `deployments`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_serializer, model_validator

from blueprint.config import validators
from blueprint.config.keys import KEYS


def _to_the_microsecond(seconds: float) -> float:
    return timedelta(seconds=seconds).total_seconds()  # as the server keeps it


Number = BeforeValidator(validators.not_boolean)
Count = Annotated[int, Field(ge=0, le=1_000_000), Number]
Limit = Annotated[int, Field(ge=1, le=1_000_000), Number]
Interval = Annotated[float, Field(ge=1, le=3_153_600_000), Number, AfterValidator(_to_the_microsecond)]
Text = Annotated[str, Field(max_length=1000), AfterValidator(validators.printable)]
Name = Annotated[
    Text, Field(min_length=1, max_length=200, pattern=r"^[^/%&><]+$"), AfterValidator(validators.trimmed)
]  # Prefect's own rule for names
Entrypoint = Annotated[Text, AfterValidator(validators.entrypoint)]
Rrule = Annotated[str, Field(max_length=6500), AfterValidator(validators.rrule)]  # Prefect's own limit
Parameters = Annotated[dict[str, Any], BeforeValidator(validators.json_value)]


class Table(BaseModel):
    """A table of pyproject.toml: it takes no other keys, and its errors tell no values."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class RetryPolicy(Table):
    """The number of retries, and the seconds between them."""

    retries: Count
    retry_delay_seconds: Annotated[float, Field(ge=0), Number] = 0


class TaskExpectation(RetryPolicy):
    """Retries and tags that task 7 must find on one of the flow's tasks."""

    tags: frozenset[Text] = frozenset()

    @field_serializer("tags")
    def _sorted(self, tags: frozenset[str]) -> list[str]:
        """Return the same text for the same settings: a service is restarted when they change."""
        return sorted(tags)


class Acceptance(Table):
    """The cases that tasks 23, 24 and 28 run; one that is not given is skipped.

    In a text value `{source_url}` stands for the data source's address and `{key}` for a text that is new in every try.
    """

    overrides: Parameters | None = Field(None, description="parameters of task 23's run, which must complete")
    json_parameters: Parameters | None = Field(None, description="parameters of task 24's run, given as JSON")
    retried: Parameters | None = Field(None, description="task 28: a fault that passes; retried, then Completed")
    failing: Parameters | None = Field(None, description="task 28: retried by failing_policy, then Failed")
    failing_policy: RetryPolicy | None = Field(None, description="the retries that these two must show")
    refused: tuple[Parameters, ...] = Field((), description="task 28: parameters that the server must refuse")


class OfDeployment(Table):
    """The keys that belong to a deployment, but for its flow and its name."""

    source: Text = Field(".", min_length=1)
    parameters: Parameters = Field(default_factory=dict)
    tags: tuple[Name, ...] = ()
    concurrency_limit: Limit | None = None

    cron: Annotated[Text, AfterValidator(validators.cron)] | None = None
    interval: Interval | None = None
    rrule: Rrule | None = None
    timezone: Annotated[Text, AfterValidator(validators.timezone)] = "UTC"

    tasks: dict[Text, TaskExpectation] = Field(default_factory=dict)
    check: Annotated[Text, AfterValidator(validators.function)] | None = None
    acceptance: Acceptance = Field(default_factory=lambda: Acceptance.model_validate({}))
    run_seconds: Annotated[float, Field(ge=0, le=604_800), Number] = 0

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Give each field its help text from the table of keys."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            field.description = KEYS[name].help

    @model_validator(mode="after")
    def _has_one_schedule(self) -> Self:
        if sum(value is not None for value in (self.cron, self.interval, self.rrule)) > 1:
            raise ValueError("cron, interval and rrule exclude each other; give one of them or none")
        return self

    @property
    def has_schedule(self) -> bool:
        """True if the deployment runs by itself."""
        return any((self.cron, self.interval, self.rrule))


class DeploymentTable(OfDeployment):
    """A table of `deployments`; `Settings.each` adds what it takes over from `[tool.blueprint]`."""

    deployment: Name
    entrypoint: Entrypoint | None = None
