"""A workspace with services for the tests of the platform."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.processes.helpers import House, kill_all, make_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A workspace whose processes are gone after the test."""
    made = make_house(tmp_path / "house")
    yield made
    kill_all(made.carriers())
