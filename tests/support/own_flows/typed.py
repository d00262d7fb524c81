"""Parameters of many types: nested models, an enum, dates, a secret."""

import hashlib
from datetime import date, datetime
from enum import Enum
from typing import Annotated

from prefect import flow, get_run_logger, task
from pydantic import BaseModel, Field, SecretStr


class Region(Enum):
    """Where the report is for."""

    NORTH = "north"
    SOUTH = "south"


class Login(BaseModel):
    """A secret inside a model."""

    user: str
    password: SecretStr


class Window(BaseModel):
    """A model inside a model."""

    first: date
    hours: Annotated[int, Field(ge=1)] = 24


class Report(BaseModel):
    """What to report on."""

    window: Window
    regions: list[Region] = Field(default_factory=lambda: [Region.NORTH])
    labels: dict[str, str] = Field(default_factory=dict)


@task
def digest(login: Login, token: SecretStr) -> str:
    """Prove that the real secrets came through, without telling them."""
    return hashlib.sha256((login.password.get_secret_value() + token.get_secret_value()).encode()).hexdigest()


@flow
def typed(
    report: Report, login: Login, token: SecretStr, at: datetime | None = None, region: Region = Region.SOUTH
) -> None:
    """Every parameter arrives as what it was declared to be."""
    assert isinstance(report.window.first, date)
    assert isinstance(region, Region)
    assert at is None or isinstance(at, datetime)
    get_run_logger().info("digest %s", digest(login, token))
