"""Expected errors of the pipeline: one sentence each, shown in the run's state message."""

from __future__ import annotations


class PipelineError(Exception):
    """A cause outside the pipeline; the text is one sentence and never holds a password."""


class SourceError(PipelineError):
    """The source did not deliver what was asked for."""


class WarehouseError(PipelineError):
    """The warehouse cannot be reached or refuses the rows."""


class RowsMissing(PipelineError, AssertionError):
    """The warehouse does not hold the rows that a flow run should have landed."""
