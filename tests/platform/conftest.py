"""One real platform for all tests of the tasks: brought up once by tasks 5 to 30, then broken piece by piece.

The tasks are called in a process of their own (`tests.support.task_process`), in a copy of the checkout on free ports.
A test breaks the system, never a task's code: it kills or freezes processes, deletes rows and runs, changes what the
server remembers, and deploys flows that are worse than they should be. It reads the facts without Prefect's client,
and leaves the platform as it found it; what cannot be mended is done to a deployment, an execution's origin or a
folder (`spare`) of the test's own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live_platform import Platform, Tasks, copy_checkout, running_platform, tasks_of
from tests.support.ports import free_ports

# Those that start the services and make the pool; the other tasks prove the bundled flow.
_BRINGING_UP = (5, 6, 7, 8, 11, 12, 13, 19)


@pytest.fixture(scope="package")  # an idle platform costs others its time: none is left to what comes after
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform on which all 26 tasks were run once."""
    with running_platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture(scope="package")
def bare_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that has no runs of the bundled flow, for the tests that deploy flows of their own."""
    with running_platform(tmp_path_factory.mktemp("platform"), _BRINGING_UP) as running:
        yield running


@pytest.fixture
def origin() -> str:
    """The origin of an execution of the test's own: it has no flow runs yet."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def spare(tmp_path: Path) -> Path:
    """A copy of the checkout in which nothing has been done."""
    return copy_checkout(tmp_path / "spare", bytecode=True)


@pytest.fixture
def spare_tasks(spare: Path) -> Iterator[Tasks]:
    """Its tasks, on free ports of its own."""
    port, worker_port, source_port = free_ports(3)
    with tasks_of(spare, f"port={port}", f"worker_port={worker_port}", f"source_port={source_port}") as tasks:
        yield tasks


@pytest.fixture
def beside(platform: Platform, spare: Path) -> Iterator[Tasks]:
    """The tasks of a spare folder that uses the platform's server, with a worker and a data source of its own."""
    worker_port, source_port = free_ports(2)
    with tasks_of(spare, f"port={platform.port}", f"worker_port={worker_port}", f"source_port={source_port}") as tasks:
        yield tasks


@pytest.fixture
def mended(platform: Platform) -> Iterator[None]:
    """Server and worker run again after the test, whatever it did to them and however it ended."""
    yield
    for number in (8, 13):
        outcome = platform.call(number, seconds=120)
        assert outcome.passed, outcome
