"""Ctrl-C and SIGTERM at any moment: the prompt is back, the record says so, and nothing of the platform is touched."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from blueprint.execution.history import History
from tests.support.checkout import Checkout, Finished, Running, make_checkout

MOMENTS = 10
PROMPT_SECONDS = 2.0
GO_ON = "To go on: python run_blueprint.py --resume"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def interrupted(checkout: Checkout, running: Running, number: signal.Signals) -> Finished | None:
    """Send the signal and hold what comes of it against the promise; None if the program had ended before it."""
    if running.process.poll() is not None:
        return None
    sent = time.monotonic()
    running.interrupt(number)
    finished = running.finish(30)
    if finished.code == 0:  # it was at its end
        return None
    assert time.monotonic() - sent < PROMPT_SECONDS, finished.output
    if "Fatal Python error: init" in finished.output:  # the interpreter's own start: no line of ours has run yet
        assert not checkout.records_of(running)
        return None
    assert "Traceback" not in finished.output
    if not checkout.records_of(running):  # nothing had begun: ended by the signal itself, or by the error boundary
        assert finished.code in (-number, CODES[number]), finished.output
        return None
    assert finished.code == CODES[number], finished.output
    assert checkout.last().status == "interrupted"
    assert checkout.last().exit_code == CODES[number]
    assert finished.last_line == GO_ON
    return finished


def test_interrupted_at_random_moments_the_platform_stays_as_it_was(
    installed: Checkout, chance: random.Random, record_property: Callable[[str, object], None]
) -> None:
    installed.must("--phase", "2")
    services = {name: installed.pid(name) for name in ("server", "worker", "source")}
    took_effect = 0
    for turn in range(MOMENTS):
        running = installed.start("--phase", "all")
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(timeout=math.exp(chance.uniform(math.log(0.02), math.log(8.0))))
        took_effect += interrupted(installed, running, (signal.SIGINT, signal.SIGTERM)[turn % 2]) is not None
        assert {name: installed.pid(name) for name in services} == services
        assert all(os.getsid(pid) == pid for pid in services.values())
    record_property("interrupts of an execution", took_effect)
    assert took_effect, "no moment fell into an execution"


def test_interrupted_while_the_environment_is_made_or_filled(tmp_path: Path) -> None:
    fresh = make_checkout(tmp_path, installed=False)
    for task, number in ((2, signal.SIGINT), (4, signal.SIGTERM), (4, signal.SIGINT)):
        running = fresh.start("--phase", "all")
        fresh.await_record(running, "task started", task=task)
        finished = interrupted(fresh, running, number)
        assert finished, "it was over before the signal came"
        ended = ("interrupted", "changed") if task == 2 else ("interrupted",)  # an environment is soon made
        assert fresh.last().tasks[task].status in ended, finished.output
        assert set(fresh.last().tasks) <= set(range(1, task + 1)), finished.output


def test_a_second_execution_is_refused_at_once_and_told_who_is_at_work(installed: Checkout) -> None:
    first = installed.start("--phase", "all")
    installed.await_record(first, "task started", task=1)
    for command in (("--resume-from", "3"), ("stop",)):
        second = installed.run(*command, seconds=30)
        assert second.code == 4, second.output
        assert f"pid {first.pid}" in second.output
        assert "run_blueprint.py --phase all" in second.output
        assert second.seconds < 5
    first.kill()
    before = len(History(installed.records()).executions)
    third = installed.start("--resume")
    installed.await_record(third, "task started", task=1)
    assert len(History(installed.records()).executions) == before + 1
    third.interrupt()
    assert third.finish(30).code == 130
