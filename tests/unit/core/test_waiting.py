"""Waiting until a probe passes."""

from __future__ import annotations

import threading
import time

import pytest

from blueprint.core.errors import TimedOut
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed, TaskStopped, within
from blueprint.core.waiting import try_a_few_times, wait_until


class Probe:
    """Fails so many times, then gives its value."""

    def __init__(self, failures: float, reason: str = "not yet") -> None:
        self.calls = 0
        self._failures = failures
        self._reason = reason

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise NotReady(self._reason)
        return "value"


def test_what_is_there_at_once_costs_no_wait() -> None:
    began = time.monotonic()
    assert wait_until(within(5), Probe(0), first=3) == "value"
    assert time.monotonic() - began < 1


def test_it_tries_again_until_the_probe_passes() -> None:
    probe = Probe(3)
    assert wait_until(within(10), probe, first=0.01) == "value"
    assert probe.calls == 4


def test_it_backs_off_instead_of_hammering() -> None:
    probe = Probe(float("inf"))
    with pytest.raises(TimedOut):
        wait_until(within(1), probe, first=0.02, most=0.2)
    assert 5 <= probe.calls <= 16, "about 0.02, 0.04, 0.08, 0.16, then 0.2 s each"


def test_out_of_time_is_a_failure_that_tells_the_last_reason_and_where_to_look() -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        wait_until(within(0.3), Probe(99, "connection refused"), what="the server to be up", where_to_look="server.log")
    assert caught.value.what == "Timed out after 0 s waiting for the server to be up: connection refused."
    assert caught.value.where_to_look == "server.log"
    assert time.monotonic() - began < 1


def test_a_tighter_bound_than_the_tasks_own_is_kept() -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut):
        wait_until(within(60), Probe(float("inf")), seconds=0.2)
    assert time.monotonic() - began < 1


def test_an_interrupt_ends_a_long_wait_at_once_and_without_another_attempt() -> None:
    control = within(60)
    probe = Probe(float("inf"))
    threading.Timer(0.2, control.stopped.set).start()
    began = time.monotonic()
    with pytest.raises(TaskStopped):
        wait_until(control, probe, first=30, most=30)
    assert time.monotonic() - began < 1.5
    assert probe.calls == 1


def test_another_error_of_the_probe_ends_the_wait_at_once() -> None:
    calls = []

    def probe() -> None:
        calls.append(1)
        raise TaskFailed("it died")

    with pytest.raises(TaskFailed, match="it died"):
        wait_until(within(60), probe)
    assert len(calls) == 1


def test_the_user_is_told_each_reason_once() -> None:
    told: list[str] = []
    reasons = iter(["refused", "refused", "503", "503", "503"])

    def probe() -> None:
        for reason in reasons:
            raise NotReady(reason)

    control = TaskControl(number=8, deadline=time.monotonic() + 10, tell=told.append)
    wait_until(control, probe, first=0.01)
    assert told == ["refused", "503"]


def test_a_few_tries_end_with_the_reason_or_with_nothing() -> None:
    probe = Probe(float("inf"), "no answer")
    assert try_a_few_times(within(5), probe, attempts=3, first=0.01) == "no answer"
    assert probe.calls == 3
    assert try_a_few_times(within(5), Probe(2), attempts=3, first=0.01) == ""


def test_a_few_tries_are_interrupted_too() -> None:
    control = within(60)
    threading.Timer(0.2, control.stopped.set).start()
    with pytest.raises(TaskStopped):
        try_a_few_times(control, Probe(float("inf")), attempts=1000, first=1)
