"""Rotation of the journal: nothing is lost or doubled, wherever it is killed."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from blueprint.core.task import Status
from blueprint.execution.events import ExecutionStarted, TaskFinished
from blueprint.execution.history import load
from blueprint.execution.journal import Journal, rotate
from blueprint.execution.outcome import TaskOutcome


def journal_of(path: Path, first: int, last: int) -> None:
    for number in range(first, last + 1):
        with closing(Journal(path, f"E{number:02}")) as journal:
            journal.append(ExecutionStarted(plan={"1": "run"}))
            journal.append(TaskFinished(1, None, TaskOutcome(Status.OK, f"of {number}"), 1.0))


def ids(path: Path, folder: Path | None = None) -> list[str]:
    return [record.id for record in load(path, folder).executions]


def test_the_newest_executions_stay_and_the_older_ones_can_still_be_read(tmp_path: Path) -> None:
    path, folder = tmp_path / "journal.jsonl", tmp_path / "archive"
    journal_of(path, 1, 9)
    rotate(path, folder, keep=3, largest=100)
    assert ids(path) == ["E07", "E08", "E09"]
    journal_of(path, 10, 12)
    rotate(path, folder, keep=3, largest=100)
    assert ids(path) == ["E10", "E11", "E12"]
    assert ids(path, folder) == [f"E{number:02}" for number in range(1, 13)]
    assert all(record.passed(1) for record in load(path, folder).executions)
    assert [file.stat().st_mode & 0o077 for file in folder.iterdir()] == [0, 0]


def test_a_small_journal_and_one_with_few_executions_stay_as_they_are(tmp_path: Path) -> None:
    path, folder = tmp_path / "journal.jsonl", tmp_path / "archive"
    rotate(path, folder, keep=1, largest=0)
    journal_of(path, 1, 3)
    before = path.read_bytes()
    rotate(path, folder, keep=3, largest=0)
    rotate(path, folder, keep=1, largest=len(before))
    assert path.read_bytes() == before
    assert not folder.exists()


@pytest.mark.parametrize("more", [0, 2])
def test_killed_between_its_two_writes_nothing_is_lost_or_doubled(tmp_path: Path, more: int) -> None:
    path, folder = tmp_path / "journal.jsonl", tmp_path / "archive"
    journal_of(path, 1, 5)
    whole = tmp_path / "whole.jsonl"
    shutil.copy(path, whole)
    rotate(path, folder, keep=2, largest=100)
    shutil.copy(whole, path)  # as it is when the kill came before the journal was cut
    assert ids(path, folder) == ["E01", "E02", "E03", "E04", "E05"]
    journal_of(path, 6, 5 + more)
    rotate(path, folder, keep=2, largest=100)
    assert ids(path, folder) == [f"E{number:02}" for number in range(1, 6 + more)]
    assert len(list(folder.iterdir())) == 1
