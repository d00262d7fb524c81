"""A head start for the flow runs that take longest.

Flow runs that begin at one moment keep each other from the processor while they start. Those that decide the end are
task 28's, with their retries and the delays before them. So they go first, and the others begin in their pauses.
"""

from __future__ import annotations

import threading

from blueprint.task import Handle

HEAD_START_SECONDS = 4.0  # that the others wait at most: a run is at work after 1.5 s on a quiet machine
_LOOK_SECONDS = 0.1


class HeadStart:
    """What the others wait for, but never for long."""

    def __init__(self, *, given: bool) -> None:
        """Args:
        given: Whether the longest run is started in this execution, beside the others.
        """
        self._over = threading.Event()
        if not given:
            self._over.set()

    def end(self) -> None:
        """Say that the longest run is at work, or that there is none after all."""
        self._over.set()

    def await_end(self, handle: Handle) -> None:
        """Wait until it is at work.

        Raises:
            TaskStopped: The execution was interrupted, or the task's deadline has passed.
        """
        until = handle.clock() + HEAD_START_SECONDS
        while not self._over.is_set() and handle.clock() < until:
            handle.pause(_LOOK_SECONDS)
