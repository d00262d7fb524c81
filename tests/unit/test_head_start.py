"""The other runs must not begin before the longest one is at work, and must never wait for long or in vain."""

from __future__ import annotations

import threading
import time

import pytest

from blueprint.task import TaskStopped, within
from blueprint.tasks.head_start import HEAD_START_SECONDS, HeadStart


def waited(head_start: HeadStart) -> float:
    began = time.monotonic()
    head_start.await_end(within(30))
    return time.monotonic() - began


def test_where_none_is_given_nobody_waits() -> None:
    assert waited(HeadStart(given=False)) < 0.1


def test_the_others_go_on_as_soon_as_the_longest_is_at_work() -> None:
    head_start = HeadStart(given=True)
    threading.Timer(0.5, head_start.end).start()
    assert 0.4 < waited(head_start) < 2
    assert waited(head_start) < 0.1


def test_the_others_do_not_wait_for_one_that_never_begins() -> None:
    assert HEAD_START_SECONDS - 0.5 < waited(HeadStart(given=True)) < HEAD_START_SECONDS + 2


def test_an_interruption_ends_the_waiting() -> None:
    handle = within(30)
    threading.Timer(0.3, handle.stopped.set).start()
    began = time.monotonic()
    with pytest.raises(TaskStopped):
        HeadStart(given=True).await_end(handle)
    assert time.monotonic() - began < 2
