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
from blueprint.core.task import Handle, TaskFailed, TaskStopped

__all__ = ["NotReady", "try_a_few_times", "wait_until"]

T = TypeVar("T")


def wait_until(
    handle: Handle,
    probe: Callable[[], T],
    *,
    first: float = 0.05,
    most: float = 1.0,
    seconds: float | None = None,
    what: str = "",
    where_to_look: str = "",
    what_to_do: str = "",
) -> T:
    """Call `probe` until it returns, and give back what it returned.

    Args:
        handle: Gives the deadline and the wish to stop, and is told what is waited for.
        probe: Raises `NotReady` for "not yet"; anything else that it raises ends the wait. Must bound itself in time.
        first: About how long to wait before the second attempt, in seconds; doubled from there.
        most: The longest wait between two attempts, in seconds.
        seconds: A bound of its own, when it should be tighter than the task's deadline.
        what: What is waited for; begins the failure's sentence.
        where_to_look: For the failure.
        what_to_do: For the failure.

    Raises:
        TaskFailed: Out of time; names the last reason.
        TaskStopped: The execution was interrupted.
    """
    began = handle.clock()
    end = handle.deadline if seconds is None else min(handle.deadline, began + seconds)
    try:
        return _attempts(handle, _OutOfTime(handle, end), first, most)(_unless_stopped(handle, probe))
    except NotReady as error:
        if handle.stopped.is_set():
            raise TaskStopped("interrupted") from None
        raise TaskFailed(
            f"{what or 'What was waited for'}: not so within {handle.clock() - began:.0f} s ({error.reason}).",
            where_to_look=where_to_look,
            what_to_do=what_to_do,
        ) from error


def try_a_few_times(handle: Handle, probe: Callable[[], object], *, attempts: int = 3, first: float = 0.1) -> str:
    """Call `probe` until it passes, at most `attempts` times; gives the last reason, or "" if it passed.

    Raises:
        TaskStopped: The execution was interrupted.
    """
    try:
        _attempts(handle, stop_after_attempt(attempts) | _OutOfTime(handle, handle.deadline), first, 1.0)(
            _unless_stopped(handle, probe)
        )
    except NotReady as error:
        if handle.stopped.is_set():
            raise TaskStopped("interrupted") from None
        return error.reason
    return ""


def _attempts(handle: Handle, stop: stop_base, first: float, most: float) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(NotReady),
        wait=wait_exponential_jitter(multiplier=first, max=most, jitter=first),
        stop=stop,
        sleep=sleep_using_event(handle.stopped),
        before_sleep=_Telling(handle),
        reraise=True,
    )


def _unless_stopped(handle: Handle, probe: Callable[[], T]) -> Callable[[], T]:
    """The sleep ends early when the execution is interrupted: no further attempt then."""

    def attempt() -> T:
        if handle.stopped.is_set():
            raise TaskStopped("interrupted")
        return probe()

    return attempt


class _OutOfTime(stop_base):
    """Stop rather than begin a wait that ends after the deadline; by the handle's clock, which tests replace."""

    def __init__(self, handle: Handle, end: float) -> None:
        self._handle = handle
        self._end = end

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._handle.stopped.is_set() or self._handle.clock() + retry_state.upcoming_sleep >= self._end


class _Telling:
    """Tells each reason once, however many attempts it takes."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._told = ""

    def __call__(self, retry_state: RetryCallState) -> None:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        reason = error.reason if isinstance(error, NotReady) else ""
        if reason and reason != self._told:
            self._told = reason
            self._handle.waiting(reason)
