"""The errors that a user of the pipeline is expected to meet: one sentence each, shown in the run's state message.

Standard library only.
"""

from __future__ import annotations


class PipelineError(Exception):
    """Something outside the pipeline is wrong. The text is one sentence, and never holds a password."""


class SourceError(PipelineError):
    """The source did not deliver what was asked for."""


class WarehouseError(PipelineError):
    """The warehouse cannot be reached or refuses the rows."""


class RowsMissing(PipelineError, AssertionError):
    """The warehouse does not hold the rows that a flow run should have landed."""
