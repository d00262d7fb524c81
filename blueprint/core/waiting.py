"""Waiting until a probe passes: fast at first, backing off, within the task's time, ended at once by Ctrl-C.

The back-off is tenacity's. It does not bound an attempt that hangs, so each probe bounds itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_base

from blueprint.core.errors import TimedOut
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskStopped

__all__ = ["NotReady", "try_a_few_times", "wait_until"]

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
        return _attempts(control, _OutOfTime(control, end), first, most)(_unless_stopped(control, probe))
    except NotReady as error:
        if control.stopped.is_set():
            raise TaskStopped("interrupted") from None
        purpose = f" waiting for {what}" if what else ""
        reason = error.reason.rstrip(".")
        raise TimedOut(
            f"Timed out after {control.clock() - began:.0f} s{purpose}: {reason}.", hint, where_to_look
        ) from error


def try_a_few_times(control: TaskControl, probe: Callable[[], object], *, attempts: int = 3, first: float = 0.1) -> str:
    """Call `probe` until it passes, at most `attempts` times.

    Returns:
        The last reason for which it did not pass; empty if it passed.

    Raises:
        TaskStopped: The execution was interrupted.
    """
    try:
        _attempts(control, stop_after_attempt(attempts) | _OutOfTime(control, control.deadline), first, 1.0)(
            _unless_stopped(control, probe)
        )
    except NotReady as error:
        if control.stopped.is_set():
            raise TaskStopped("interrupted") from None
        return error.reason
    return ""


def _attempts(control: TaskControl, stop: stop_base, first: float, most: float) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(NotReady),
        wait=wait_exponential_jitter(multiplier=first, max=most, jitter=first),
        stop=stop,
        sleep=sleep_using_event(control.stopped),
        before_sleep=_Announcing(control),
        reraise=True,
    )


def _unless_stopped(control: TaskControl, probe: Callable[[], T]) -> Callable[[], T]:
    """Wrap the probe so that no attempt follows a sleep that an interruption ended early."""

    def attempt() -> T:
        if control.stopped.is_set():
            raise TaskStopped("interrupted")
        return probe()

    return attempt


class _OutOfTime(stop_base):
    """Stop rather than begin a wait that ends after the deadline; by the control's clock, which tests replace."""

    def __init__(self, control: TaskControl, end: float) -> None:
        self._control = control
        self._end = end

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._control.stopped.is_set() or self._control.clock() + retry_state.upcoming_sleep >= self._end


class _Announcing:
    """A callback that tells each reason once, however many attempts it takes."""

    def __init__(self, control: TaskControl) -> None:
        self._control = control
        self._told = ""

    def __call__(self, retry_state: RetryCallState) -> None:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        reason = error.reason if isinstance(error, NotReady) else ""
        if reason and reason != self._told:
            self._told = reason
            self._control.waiting(reason)
