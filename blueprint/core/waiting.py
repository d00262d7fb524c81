"""Waiting until a probe passes: fast at first, backing off, within the task's time, ended at once by Ctrl-C.

The back-off is tenacity's. It does not bound an attempt that hangs, so each probe bounds itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from blueprint.core.errors import TimedOut
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskStopped

T = TypeVar("T")


def wait_until(
    control: TaskControl,
    probe: Callable[[], T],
    *,
    first: float = 0.05,
    most: float = 1.0,
    seconds: float | None = None,
    what: str = "",
    where_to_look: str = "",
    hint: str = "",
) -> T:
    """Call `probe` until it returns, and return its value.

    Args:
        control: Gives the deadline and the wish to stop, and is told what is waited for.
        probe: Raises `NotReady` for "not yet"; anything else that it raises ends the wait. Must bound itself in time.
        first: About how long to wait before the second attempt, in seconds; doubled from there.
        most: The longest wait between two attempts, in seconds.
        seconds: A bound of its own, when it should be tighter than the task's deadline.
        what: Completes "waiting for …" in the error, such as "Prefect server to be ready".
        where_to_look: For the error.
        hint: For the error.

    Raises:
        TimedOut: Time is over; names the last reason.
        TaskStopped: The execution was interrupted.
    """
    began = control.clock()
    end = control.deadline if seconds is None else min(control.deadline, began + seconds)
    try:
        return _attempt(control, probe, end, first, most, math.inf)
    except NotReady as error:
        purpose = f" waiting for {what}" if what else ""
        reason = error.reason.rstrip(".")
        raise TimedOut(
            f"Timed out after {control.clock() - began:.0f} s{purpose}: {reason}.", hint, where_to_look
        ) from error


def try_a_few_times(control: TaskControl, probe: Callable[[], object], *, attempts: int = 3, first: float = 0.1) -> str:
    """Call `probe` until it passes, at most `attempts` times; return the last reason, empty if it passed."""
    try:
        _attempt(control, probe, control.deadline, first, 1.0, attempts)
    except NotReady as error:
        return error.reason
    return ""


def _attempt(control: TaskControl, probe: Callable[[], T], end: float, first: float, most: float, attempts: float) -> T:
    told = ""

    def attempt() -> T:
        if control.stopped.is_set():  # also during the sleep before this, which it ended
            raise TaskStopped("interrupted")
        return probe()

    def is_last(state: RetryCallState) -> bool:
        over = state.attempt_number >= attempts or control.clock() + state.upcoming_sleep >= end
        return over and not control.stopped.is_set()

    def announce(state: RetryCallState) -> None:
        nonlocal told
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, NotReady) and error.reason != told:
            told = error.reason
            control.waiting(told)

    retrying = Retrying(
        retry=retry_if_exception_type(NotReady),
        wait=wait_exponential_jitter(multiplier=first, max=most, jitter=first),
        stop=is_last,
        sleep=sleep_using_event(control.stopped),
        before_sleep=announce,
        reraise=True,
    )
    return retrying(attempt)
