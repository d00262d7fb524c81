"""Parameters of a pipeline run and their bounds, defined once for the flow and for `ExtractConfig`.

The bounds stand on the flow's own parameters, so the server knows them and refuses a bad value at the trigger.
"""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from blueprint.pipeline.errors import SourceError
from blueprint.pipeline.table_name import PATTERN

SOURCE_URL_VARIABLE = "PIPELINE_SOURCE_URL"
DEFAULT_BATCH_SIZE = 100
DEFAULT_TIMEOUT_SECONDS = 30
DEFAULT_TARGET_TABLE = "warehouse.public.daily_metrics"

BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
TimeoutSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
TargetTable = Annotated[str, Field(pattern=PATTERN)]


class ExtractConfig(BaseModel):
    """Request for a batch of records.

    Attributes:
        source_url: Address of the JSON API. Any text: whether it can be reached is found out by the extract task.
        timeout_seconds: Seconds that one attempt may take, all its pages included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source_url: Annotated[str, Field(min_length=1, max_length=8000, repr=False)]
    batch_size: BatchSize = DEFAULT_BATCH_SIZE
    timeout_seconds: TimeoutSeconds = DEFAULT_TIMEOUT_SECONDS

    @property
    def shown_url(self) -> str:
        """The address as it may be logged; see `without_secrets`."""
        return without_secrets(self.source_url)


def chosen_source_url(given: str | None) -> str:
    """Return the address to fetch from: the given one, or the one in the environment.

    Raises:
        SourceError: There is neither.
    """
    url = given or os.environ.get(SOURCE_URL_VARIABLE)
    if not url:
        raise SourceError(f"No source: give the parameter source_url or set {SOURCE_URL_VARIABLE}.")
    return url


def without_secrets(url: str) -> str:
    """Return scheme, host, port and path only: user, password and query may be secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(not a URL)"
    if not parts.scheme or not host:
        return "(not a URL)"
    shown_host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{parts.path}"[:300]
