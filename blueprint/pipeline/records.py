"""The shape of a source's answer: a page of records, validated straight from its bytes into compact objects."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from blueprint.pipeline.errors import SourceError

# Strict: "5" is not a number and 5 is not a time. Unknown keys are another API's business and are left out.
_CONFIG = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
_NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]*$"  # PostgreSQL has no room for NUL, and a log line none for the rest

# The bound keeps sums and differences of many values finite.
Value = Annotated[float, Field(ge=-1e300, le=1e300)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_NO_CONTROL_CHARACTERS)]
Unit = Annotated[str, Field(max_length=50, pattern=_NO_CONTROL_CHARACTERS)]


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Reading:
    """One record of the source: what was read, where, and when."""

    id: Name
    observed_at: Annotated[datetime, AwareDatetime]
    host: Name
    metric: Name
    value: Value
    unit: Unit


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Page:
    """One answer: some records, and where to go on (None: there is nothing more)."""

    records: list[Reading]
    next_cursor: Annotated[str, Field(min_length=1, max_length=2000)] | None


_PAGE = TypeAdapter(Page)
_OUT_OF_RANGE = ("greater_than_equal", "less_than_equal")  # Pydantic's own text spells the bound out in 300 digits


def parse_page(body: bytes | bytearray, *, before: int = 0) -> Page:
    """Validate one answer, with so many records on earlier pages.

    Raises:
        SourceError: It is not JSON, or a record is not valid; says which record and which field.
    """
    try:
        return _PAGE.validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        message = "Input is too large" if first["type"] in _OUT_OF_RANGE else first["msg"]
        raise SourceError(_sentence(first["type"], first["loc"], message, before)) from None


def _sentence(kind: str, location: tuple[Any, ...], message: str, before: int) -> str:
    if kind == "json_invalid":
        return f"The source's answer is not valid JSON: {message.removeprefix('Invalid JSON: ')}."
    what = "The source's answer does not have the expected shape"
    if location[:1] == ("records",) and len(location) > 1:
        what = f"Record {before + location[1] + 1} of the source is not valid"
        location = location[2:]
    return ": ".join([what, *(str(field) for field in location[:1]), message]) + "."
