"""Waiting until a probe passes: fast at first, backing off, within the task's time, and ended at once by Ctrl-C.

The back-off is tenacity's. It does not bound an attempt that hangs, so each probe bounds itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_base

from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed, TaskStopped

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
    """Call `probe` until it returns, and give back what it returned.

    Args:
        control: Gives the deadline and the wish to stop, and is told what is waited for.
        probe: Raises `NotReady` for "not yet"; anything else that it raises ends the wait. Must bound itself in time.
        first: About how long to wait before the second attempt, in seconds; doubled from there.
        most: The longest wait between two attempts, in seconds.
        seconds: A bound of its own, when it should be tighter than the task's deadline.
        what: What is waited for; begins the failure's sentence.
        where_to_look: For the failure.
        hint: For the failure.

    Raises:
        TaskFailed: Out of time; names the last reason.
        TaskStopped: The execution was interrupted.
    """
    began = control.clock()
    end = control.deadline if seconds is None else min(control.deadline, began + seconds)
    try:
        return _attempts(control, _OutOfTime(control, end), first, most)(_unless_stopped(control, probe))
    except NotReady as error:
        if control.stopped.is_set():
            raise TaskStopped("interrupted") from None
        raise TaskFailed(
            f"{what or 'What was waited for'}: not so within {control.clock() - began:.0f} s ({error.reason}).",
            where_to_look=where_to_look,
            hint=hint,
        ) from error


def try_a_few_times(control: TaskControl, probe: Callable[[], object], *, attempts: int = 3, first: float = 0.1) -> str:
    """Call `probe` until it passes, at most `attempts` times; gives the last reason, or "" if it passed.

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
    """The sleep ends early when the execution is interrupted: no further attempt then."""

    def attempt() -> T:
        if control.stopped.is_set():
            raise TaskStopped("interrupted")
        return probe()

    return attempt


class _OutOfTime(stop_base):
    """Stop rather than begin a wait that ends after the deadline; by the handle's clock, which tests replace."""

    def __init__(self, control: TaskControl, end: float) -> None:
        self._handle = control
        self._end = end

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._handle.stopped.is_set() or self._handle.clock() + retry_state.upcoming_sleep >= self._end


class _Announcing:
    """Tells each reason once, however many attempts it takes."""

    def __init__(self, control: TaskControl) -> None:
        self._handle = control
        self._told = ""

    def __call__(self, retry_state: RetryCallState) -> None:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        reason = error.reason if isinstance(error, NotReady) else ""
        if reason and reason != self._told:
            self._told = reason
            self._handle.waiting(reason)
