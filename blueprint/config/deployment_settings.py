"""What a user can configure of one deployment: in `[tool.blueprint]` itself, or in a table of its `deployments`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_serializer, model_validator

from blueprint.config import validators


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
Parameters = Annotated[dict[str, Any], AfterValidator(validators.json_value), BeforeValidator(validators.without_dates)]


class Table(BaseModel):
    """A table in pyproject.toml: no other keys, and no value of it in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class RetryPolicy(Table):
    """How often a task is tried again, and how many seconds apart."""

    retries: Count
    retry_delay_seconds: Annotated[float, Field(ge=0), Number] = 0


class TaskExpectation(RetryPolicy):
    """What task 7 must find on one of the flow's tasks."""

    tags: frozenset[Text] = frozenset()

    @field_serializer("tags")
    def _in_order(self, tags: frozenset[str]) -> list[str]:
        """Always the same text for the same settings: a service is restarted when they change."""
        return sorted(tags)


class Acceptance(Table):
    """The cases that tasks 23, 24 and 28 run. One that is not given is skipped, and says so.

    In a text value `{source_url}` stands for the data source's address and `{key}` for a text that is new in every try.
    """

    overrides: Parameters | None = Field(None, description="parameters of task 23's run, which must complete")
    json_parameters: Parameters | None = Field(None, description="parameters of task 24's run, given as JSON")
    retried: Parameters | None = Field(None, description="task 28a: a fault that passes; retried, then Completed")
    failing: Parameters | None = Field(None, description="task 28b: must be retried by this policy, then Failed")
    failing_policy: RetryPolicy | None = Field(None, description="the retries that 28a and 28b must show")
    refused: tuple[Parameters, ...] = Field((), description="task 28c: parameters that the server must refuse")


class OfDeployment(Table):
    """The keys that belong to a deployment, but for its flow and its name."""

    source: Text = Field(".", min_length=1, description="the folder that the flow's code is run from")
    parameters: Parameters = Field(default_factory=dict, description="the deployment's default parameters")
    tags: tuple[Name, ...] = Field((), description="tags of the deployment and its runs")
    concurrency_limit: Limit | None = Field(None, description="runs of the deployment at a time")

    cron: Annotated[Text, AfterValidator(validators.cron)] | None = Field(
        None, description="a schedule as a cron expression"
    )
    interval: Interval | None = Field(None, description="a schedule as seconds between two runs")
    rrule: Rrule | None = Field(None, description="a schedule as an iCalendar recurrence rule")
    timezone: Annotated[Text, AfterValidator(validators.timezone)] = Field(
        "UTC", description="the schedule's IANA time zone"
    )

    tasks: dict[Text, TaskExpectation] = Field(default_factory=dict, description="what task 7 must find in the flow")
    check: Annotated[Text, AfterValidator(validators.function)] | None = Field(
        None, description="module:function called with a run's id and parameters"
    )
    acceptance: Acceptance = Field(default_factory=lambda: Acceptance.model_validate({}))
    run_seconds: Annotated[float, Field(ge=0, le=604_800), Number] = Field(
        0, description="how long a run takes, if it is long: tasks that wait for runs are given that much more time"
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if sum(value is not None for value in (self.cron, self.interval, self.rrule)) > 1:
            raise ValueError("cron, interval and rrule exclude each other; give one of them or none")
        return self

    @property
    def has_schedule(self) -> bool:
        """Whether the deployment runs by itself."""
        return any((self.cron, self.interval, self.rrule))


class DeploymentTable(OfDeployment):
    """One of `deployments`; what is not given may come from `[tool.blueprint]` itself, see `Settings.each`."""

    deployment: Name = Field(description="the deployment's name")
    entrypoint: Entrypoint | None = Field(None, description="the flow, if it is another one")
