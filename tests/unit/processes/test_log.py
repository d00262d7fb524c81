"""The logs of services: rotated, read across rotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blueprint.core.task import within
from blueprint.processes import log as service_log
from blueprint.processes.log import LogPosition, ServiceLog
from tests.unit.processes.helpers import House


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """A log is rotated when it is longer than so many bytes."""
    monkeypatch.setattr(service_log, "MOST_BYTES", 100)
    return 100


def _write(log: ServiceLog, text: str) -> None:
    with log.open_to_append() as file:
        file.write(text.encode())


def test_a_log_that_has_grown_large_is_rotated_when_its_service_starts(house: House, small: int) -> None:
    spec = house.service()
    spec.log.parent.mkdir()
    spec.log.write_text("x" * (small + 1))
    house.manager.ensure(spec, within(20))
    assert spec.log.with_name("web.log.1").read_text() == "x" * (small + 1)
    assert spec.log.read_text().startswith("serving")


def test_a_log_that_is_not_large_goes_on(house: House) -> None:
    spec = house.service()
    spec.log.parent.mkdir()
    spec.log.write_text("of before\n")
    house.manager.ensure(spec, within(20))
    assert spec.log.read_text().startswith("of before\nserving")


@pytest.mark.usefixtures("small")
def test_three_rotated_files_are_kept_and_the_oldest_goes(tmp_path: Path) -> None:
    log = ServiceLog(tmp_path / "web.log")
    for number in range(6):
        _write(log, f"{number}" * 101)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.log", "web.log.1", "web.log.2", "web.log.3"]
    assert [line[0] for line in ServiceLog(tmp_path / "web.log.3").lines()] == ["2"]


@pytest.mark.usefixtures("small")
def test_all_that_was_written_since_a_position_is_read_whatever_was_rotated_meanwhile(tmp_path: Path) -> None:
    log = ServiceLog(tmp_path / "web.log")
    assert list(log.lines()) == []
    never = log.position()
    _write(log, "before\n")
    kept = json.loads(json.dumps(log.position()))
    expected = []
    for number in range(3):
        expected.append(f"line {number} {'x' * 100}")
        _write(log, expected[-1] + "\n")
    assert log.path.with_name("web.log.2").exists(), "nothing was rotated, so that nothing is tested"
    assert list(log.lines(LogPosition(*kept))) == expected
    assert list(log.lines(never)) == ["before", *expected]
    assert list(log.lines(log.position())) == []


def test_all_that_is_kept_is_read_when_the_positions_file_is_gone(tmp_path: Path) -> None:
    log = ServiceLog(tmp_path / "web.log")
    _write(log, "one\ntwo\n")
    assert list(log.lines(LogPosition(inode=1, offset=10**6))) == ["one", "two"]


def test_a_log_that_was_emptied_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = ServiceLog(tmp_path / "web.log")
    _write(log, "one\ntwo\n")
    position = log.position()
    log.path.write_text("new\n")
    assert list(log.lines(position)) == ["new"]


def test_only_the_last_lines_are_searched_for_the_cause_of_a_later_death(tmp_path: Path) -> None:
    log = ServiceLog(tmp_path / "web.log")
    _write(log, "ValueError: hours ago\n" + "all is well\n" * 30)
    assert log.telling_line() == "ValueError: hours ago"
    assert log.telling_line(most_lines=20) == "all is well"
