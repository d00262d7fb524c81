"""The journal under what happens to files: kills in the middle of a write, torn ends, full disks, damage, clocks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blueprint.core.errors import EnvironmentRefused, ExitCode
from blueprint.core.task import Status
from blueprint.execution import journal as journal_module
from blueprint.execution.events import Event, ExecutionStarted, TaskFinished, Unit
from blueprint.execution.history import ExecutionRecord, History, load
from blueprint.execution.journal import Journal, JournalDamaged, read
from blueprint.execution.outcome import TaskOutcome

ROOT = Path(__file__).resolve().parents[3]

# Appends numbered records for ever and acknowledges each on its stdout once the append has returned.
WRITER = """
    import os, sys
    from contextlib import closing
    from pathlib import Path
    from blueprint.execution.journal import Journal
    from blueprint.execution.events import Event

    class Note(Event):
        kind = "task finished"

        def __init__(self, fields):
            self.__dict__["noted"] = fields

        def fields(self):
            return self.__dict__["noted"]

        @classmethod
        def from_record(cls, record):
            return cls(record)

    path, size, first = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with closing(Journal(path, "E1")) as journal:
        number = first
        while True:
            journal.append(Note({"number": number, "summary": "x" * size}))
            os.write(1, b"%d\\n" % number)
            number += 1
"""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Note(Event):
    """An event of any kind with any fields."""

    def __init__(self, kind: str, **fields: Any) -> None:
        self.__dict__.update(kind=kind, noted=fields)

    def fields(self) -> dict[str, Any]:
        return dict(self.__dict__["noted"])

    @classmethod
    def from_record(cls, record: Any) -> Note:
        return cls("", **record)


def executions(records: list[dict[str, Any]]) -> list[ExecutionRecord]:
    return History(records).executions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def written(path: Path, summaries: list[str]) -> list[bytes]:
    """A journal of such records, and its lines."""
    path.unlink(missing_ok=True)
    with closing(Journal(path, "E1")) as journal:
        for summary in summaries:
            journal.append(Note("task finished", task=1, status="ok", summary=summary))
    return path.read_bytes().splitlines(keepends=True)


def summaries_in(path: Path) -> list[str]:
    return [record["summary"] for record in read(path) if "summary" in record]


def in_child(work: Callable[[], None]) -> int:
    """Do it in a forked process and return that process's wait status: limits and kills must not meet the tests."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


class TestRecords:
    def test_everything_that_was_recorded_is_read_back(self, path: Path) -> None:
        with closing(Journal(path, "E1")) as journal:
            journal.append(Note("execution started", plan={"1": "run"}, command="run_blueprint.py --phase all"))
            entry = journal.append(Note("task started", task=1, mode="run"))
        first, second = read(path)
        assert (first["kind"], first["plan"]) == ("execution started", {"1": "run"})
        assert (second["kind"], second["task"], second["mode"]) == ("task started", 1, "run")
        assert first["v"] == 1
        assert first["execution"] == second["execution"] == entry.execution == "E1"
        assert datetime.fromisoformat(first["at"]).utcoffset() == timedelta(0)
        assert len(first["at"]) == len("2026-10-08T07:00:00.123456+00:00")
        assert entry.at == second["at"]

    def test_a_secret_is_taken_out_before_a_record_is_written(self, path: Path) -> None:
        def redact(value: Any) -> Any:
            return json.loads(json.dumps(value).replace("hunter2", "***"))

        with closing(Journal(path, "E1", redact=redact)) as journal:
            entry = journal.append(TaskFinished(1, None, TaskOutcome(Status.OK, "as hunter2", {"deep": ["hunter2"]})))
        assert b"hunter2" not in path.read_bytes()
        assert isinstance(entry.event, TaskFinished)
        assert entry.event.outcome.details == {"deep": ["***"]}

    @pytest.mark.parametrize("secret", ["ok", "changed", "run", "project", "E1", "nightly"])
    def test_a_secret_that_is_a_word_of_ours_leaves_the_journal_readable(self, path: Path, secret: str) -> None:
        def redact(value: Any) -> Any:
            return json.loads(json.dumps(value).replace(secret, "***"))

        plan, log = {"1": "run", "2": "check"}, "/home/me/project/logs/x.log"
        outcome = TaskOutcome(Status.CHANGED, f"as {secret}", {})
        with closing(Journal(path, "E1", redact=redact)) as journal:
            journal.append(ExecutionStarted(origin="E1", log=log, plan=plan))
            journal.append(TaskFinished(1, "nightly", outcome))
        (record,) = load(path).executions
        assert (record.id, record.origin, record.plan, record.started.log) == ("E1", "E1", {1: "run", 2: "check"}, log)
        ((unit, ended),) = record.units.items()
        assert (unit, ended.outcome.status) == (Unit(1, "nightly"), Status.CHANGED)
        assert ended.outcome.summary == "as ***"

    @given(fields=st.dictionaries(st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1), VALUES))
    @settings(max_examples=100, deadline=None)
    def test_no_evidence_can_break_the_line_it_is_kept_in(self, fields: dict[str, Any]) -> None:
        fields = {f"x_{name}": value for name, value in fields.items()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            with closing(Journal(path, "E1")) as journal:
                journal.append(Note("task finished", **fields))
                journal.append(Note("after"))
            first, second = read(path)
            assert {name: first[name] for name in fields} == fields
            assert second["kind"] == "after"
            assert path.read_bytes().count(b"\n") == 2

    def test_file_names_that_are_not_text_are_kept(self, path: Path) -> None:
        name = os.fsdecode(b"caf\xe9\n\x85")
        with closing(Journal(path)) as journal:
            journal.append(Note("task finished", details={"file": name, "path": Path("/x"), "crc": "kept"}))
        assert read(path)[0]["details"] == {"file": name, "path": "/x", "crc": "kept"}

    def test_each_line_can_be_read_by_any_json_reader(self, path: Path) -> None:
        for line in written(path, ["a", "ü"]):
            assert json.loads(line)["kind"] == "task finished"

    def test_a_second_execution_adds_to_the_record_of_the_first(self, path: Path) -> None:
        for execution in ("E1", "E2"):
            with closing(Journal(path, execution)) as journal:
                journal.append(Note("execution started"))
        assert [record["execution"] for record in read(path)] == ["E1", "E2"]

    def test_no_journal_yet_means_no_executions(self, path: Path) -> None:
        assert read(path) == []
        assert not path.exists()

    def test_journal_is_private_to_the_user(self, path: Path) -> None:
        path.touch(mode=0o644)
        Journal(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_records_of_many_threads_do_not_run_into_each_other(self, path: Path) -> None:
        with closing(Journal(path)) as journal:

            def append_some(name: int) -> None:
                for number in range(50):
                    journal.append(Note("service started", name=name, number=number))

            threads = [threading.Thread(target=append_some, args=(name,)) for name in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        records = read(path)
        assert len(records) == 200
        for name in range(4):
            assert [record["number"] for record in records if record["name"] == name] == list(range(50))

    def test_abandoned_task_cannot_write_into_the_journal_after_its_end(self, path: Path) -> None:
        journal = Journal(path)
        journal.close()
        journal.close()
        with pytest.raises(ValueError, match="closed: service started"):
            journal.append(Note("service started"))
        assert read(path) == []

    def test_every_record_is_on_disk_before_the_append_returns(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power failure cannot be made here; that the whole line was synced before each return can be seen."""
        calls: list[tuple[str, int]] = []
        real = os.fsync

        def fsync(fd: int) -> None:
            calls.append(("fsync", os.fstat(fd).st_size))
            real(fd)

        with closing(Journal(path)) as journal:
            monkeypatch.setattr(os, "fsync", fsync)
            for _ in range(3):
                journal.append(Note("task started"))
                calls.append(("returned", path.stat().st_size))
        assert [name for name, _ in calls] == ["fsync", "returned"] * 3
        assert [size for _, size in calls[::2]] == [size for _, size in calls[1::2]]


class TestTornEnd:
    def test_a_record_cut_at_any_byte_loses_itself_and_nothing_else(self, path: Path) -> None:
        lines = written(path, ["first", "second", "the last one: ü"])
        whole, start = b"".join(lines), len(lines[0] + lines[1])
        for cut in range(start, len(whole)):
            path.write_bytes(whole[:cut])
            assert summaries_in(path) == ["first", "second"], cut
            with closing(Journal(path, "E2")) as journal:
                journal.append(Note("task finished", summary="after"))
            assert summaries_in(path) == ["first", "second", "after"], cut
            seals = [record for record in read(path) if record["kind"] == "journal sealed"]
            torn = whole[start:cut]
            assert [(seal["bytes"], seal["torn"], seal["line"]) for seal in seals] == (
                [(len(torn), torn.decode("ascii"), 3)] if torn else []
            ), cut

    @given(garbage=st.binary(min_size=1, max_size=300).filter(lambda data: b"\n" not in data[:-1]))
    @settings(max_examples=100, deadline=None)
    def test_any_garbage_that_a_power_failure_leaves_at_the_end_is_sealed(self, garbage: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            whole = b"".join(written(path, ["first"]))
            path.write_bytes(whole + garbage)
            assert summaries_in(path) == ["first"]
            Journal(path).close()
            assert path.read_bytes().startswith(whole)
            seal = read(path)[-1]
            assert (seal["kind"], seal["bytes"]) == ("journal sealed", len(garbage))

    def test_the_fate_of_a_large_torn_record_does_not_fill_the_journal(self, path: Path) -> None:
        path.write_bytes(b"x" * 1_000_000)
        Journal(path).close()
        assert read(path)[0]["bytes"] == 1_000_000
        assert path.stat().st_size < 5_000

    def test_reading_changes_nothing(self, path: Path) -> None:
        written(path, ["first"])
        with path.open("ab") as file:
            file.write(b'{"v":1,"at"')
        before = path.read_bytes()
        read(path)
        assert path.read_bytes() == before

    def test_a_seal_that_was_itself_cut_is_sealed_again(self, path: Path) -> None:
        whole = b"".join(written(path, ["first"]))
        path.write_bytes(whole + b'{"v":1')
        Journal(path).close()
        sealed = path.read_bytes()
        for cut in range(len(whole) + 1, len(sealed)):
            path.write_bytes(sealed[:cut])
            Journal(path).close()
            assert [record["kind"] for record in read(path)] == ["task finished", "journal sealed"], cut


class TestDamage:
    @given(data=st.data())
    @settings(max_examples=250, deadline=None)
    def test_any_changed_byte_before_the_last_line_is_found_and_named(self, data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            lines = written(path, ["first", "second", "third", "last"])
            number = data.draw(st.integers(1, 3))
            at = data.draw(st.integers(0, len(lines[number - 1]) - 1))
            byte = data.draw(st.integers(0, 255).filter(lambda value: value != lines[number - 1][at]))
            damaged = bytearray(lines[number - 1])
            damaged[at] = byte
            whole = b"".join(lines[: number - 1]) + bytes(damaged) + b"".join(lines[number:])
            path.write_bytes(whole)
            for use in (read, Journal):
                with pytest.raises(JournalDamaged) as damage:
                    use(path)
                assert f"{path} is damaged in line {number}: " in damage.value.what
                assert damage.value.what.count(". ") == 0  # one sentence
            assert path.read_bytes() == whole

    @given(data=st.data())
    @settings(max_examples=100, deadline=None)
    def test_bytes_cut_out_of_the_middle_are_found(self, data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            lines = written(path, ["first", "second", "third", "last"])
            whole = b"".join(lines)
            begin = data.draw(st.integers(0, len(lines[0]) - 1))
            length = data.draw(st.integers(1, len(lines[0]) + len(lines[1]) - begin - 1))
            joined = whole[:begin] + whole[begin + length :]
            path.write_bytes(joined)
            assume(joined not in (b"".join(lines[1:]), b"".join([lines[0], *lines[2:]])))  # a whole line was cut out
            with pytest.raises(JournalDamaged, match="line 1"):
                read(path)

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_lost_newline_never_makes_two_records_look_like_one_torn_end(self, path: Path, number: int) -> None:
        lines = written(path, ["first", "second", "third", "last"])
        lines[number - 1] = lines[number - 1].replace(b"\n", b"\0")
        path.write_bytes(b"".join(lines))
        with pytest.raises(JournalDamaged, match=f"line {number}:"):
            read(path)

    def test_the_way_on_keeps_the_old_file_and_works(self, path: Path) -> None:
        path = path.with_name("a journal.jsonl")
        for expected in ("a journal.jsonl.damaged", "a journal.jsonl.damaged-2"):
            path.write_bytes(b"nonsense\n" + b"".join(written(path, ["second"])))
            damaged = path.read_bytes()
            with pytest.raises(JournalDamaged) as damage:
                Journal(path)
            assert damage.value.exit_code == ExitCode.ENVIRONMENT
            command = damage.value.hint.partition("new one: ")[2]
            subprocess.run(shlex.split(command), check=True)
            assert path.with_name(expected).read_bytes() == damaged
            Journal(path).close()
            assert read(path) == []
            path.unlink()

    def test_journal_of_a_newer_version_is_neither_cut_nor_misread(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal_module, "FORMAT", 2)
        lines = written(path, ["first"])
        monkeypatch.undo()
        for use in (read, Journal):
            with pytest.raises(EnvironmentRefused, match="another version of this program"):
                use(path)
        assert path.read_bytes() == lines[0]

    def test_a_folder_in_the_place_of_the_journal_is_one_clear_sentence(self, path: Path) -> None:
        path.mkdir()
        for use in (read, Journal):
            with pytest.raises(EnvironmentRefused, match="something else stands there"):
                use(path)


class TestKilledWriter:
    @pytest.mark.parametrize("size", [10, 2_000_000], ids=["small records", "large records"])
    def test_what_was_acknowledged_survives_a_kill_in_the_middle_of_appends(self, path: Path, size: int) -> None:
        seed = random.SystemRandom().randrange(2**32)
        print(f"seed {seed}")
        dice = random.Random(seed)
        first = 0
        for _ in range(8):
            first = self._killed_once(path, size, first, dice.uniform(0.0, 0.03))
        kinds = {record["kind"] for record in read(path)}
        assert kinds <= {"task finished", "journal sealed"}

    def _killed_once(self, path: Path, size: int, first: int, after: float) -> int:
        """Kill a writer some seconds after its first record; return the number that the next one begins with."""
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), path, str(size), str(first)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline())]
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(after)
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        assert writer.wait(timeout=10) == -signal.SIGKILL
        writer.stdout.close()
        numbers = [record["number"] for record in read(path) if "number" in record]
        assert numbers == list(range(len(numbers)))  # none lost, none twice, none out of order
        assert numbers[-1] >= acknowledged[-1]
        return len(numbers)

    @given(kept=st.integers(0, 400))
    @settings(max_examples=60, deadline=None)
    def test_a_writer_that_dies_inside_a_write_loses_only_that_record(self, kept: int) -> None:
        """The kernel kills it (SIGXFSZ) when the file has so many bytes of the record: a death at an exact byte."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            size = len(b"".join(written(path, ["first"])))

            def die() -> None:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                journal = Journal(path)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + kept, size + kept))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                journal.append(Note("task finished", summary="x" * 500))

            assert os.WTERMSIG(in_child(die)) == signal.SIGXFSZ
            assert path.stat().st_size == size + kept  # really torn at that byte
            assert summaries_in(path) == ["first"]
            with closing(Journal(path)) as journal:
                journal.append(Note("task finished", summary="after"))
            assert summaries_in(path) == ["first", "after"]


class TestFullDisk:
    @given(room=st.integers(0, 600))
    @settings(max_examples=60, deadline=None)
    def test_full_disk_is_one_sentence_and_the_journal_stays_whole_and_goes_on_when_there_is_room(
        self, room: int
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            size = len(b"".join(written(path, ["first"])))

            def fill() -> None:
                journal = Journal(path)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
                with pytest.raises(EnvironmentRefused, match="no room is left on the disk"):
                    journal.append(Note("task finished", summary="x" * 700))
                assert path.stat().st_size == size  # the part that went in was taken back
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                journal.append(Note("execution finished", status="interrupted"))

            assert in_child(fill) == 0
            assert [record["kind"] for record in read(path)] == ["task finished", "execution finished"]

    def test_a_part_that_could_not_be_taken_back_at_first_is_taken_back_before_the_next_record(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk that fails for a moment: the write, and the truncation after it too."""
        written(path, ["first"])
        with closing(Journal(path)) as journal:

            def torn_write(fd: int, data: bytes) -> None:
                os.write(fd, data[:20])
                raise OSError(5, "Input/output error")

            def no_truncation(_fd: int, _size: int) -> None:
                raise OSError(5, "Input/output error")

            with monkeypatch.context() as broken:
                broken.setattr(journal_module, "write_all", torn_write)
                broken.setattr(os, "ftruncate", no_truncation)
                with pytest.raises(EnvironmentRefused, match="Input/output error"):
                    journal.append(Note("task finished", summary="lost"))
            assert summaries_in(path) == ["first"]
            journal.append(Note("task finished", summary="after"))
        assert summaries_in(path) == ["first", "after"]

    @pytest.fixture
    def tiny(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "tiny"
        folder.mkdir()
        if (
            os.geteuid() != 0
            or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=False).returncode
        ):
            pytest.skip("no file system can be mounted here")
        yield folder
        subprocess.run(["umount", "-l", folder], check=True)

    def test_really_full_file_system_keeps_all_that_was_acknowledged(self, tiny: Path) -> None:
        path = tiny / "journal.jsonl"
        acknowledged = 0
        with closing(Journal(path)) as journal:
            with contextlib.suppress(EnvironmentRefused):
                while acknowledged < 100:
                    journal.append(Note("task finished", number=acknowledged, summary="x" * 1000))
                    acknowledged += 1
            assert 20 < acknowledged < 64
            with pytest.raises(EnvironmentRefused, match=r"no room is left on the disk \(No space left on device\)"):
                journal.append(Note("task finished", number=acknowledged, summary="x" * 4096))
            assert [record["number"] for record in read(path)] == list(range(acknowledged))
            subprocess.run(["mount", "-o", "remount,size=128k", tiny], check=True)
            journal.append(Note("execution finished", status="interrupted"))
        assert [record["kind"] for record in read(path)][-1] == "execution finished"

    def test_journal_that_cannot_even_be_made_is_one_clear_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(EnvironmentRefused, match="cannot be used"):
            Journal(tmp_path / "no such folder" / "journal.jsonl")


class TestHistory:
    def record_two(self, path: Path) -> None:
        with closing(Journal(path, "E1")) as journal:
            journal.append(
                Note("execution started", origin="E1", command="--phase all", pid=7, log="x.log", plan={"1": "run"})
            )
            journal.append(Note("task started", task=1, mode="run"))
            journal.append(
                Note(
                    "task finished",
                    task=1,
                    status="changed",
                    seconds=1.5,
                    summary="s",
                    details={"a": 1},
                    reason="was gone",
                )
            )
            journal.append(Note("task started", task=2, mode="run"))
        with closing(Journal(path, "E2")) as journal:
            journal.append(Note("execution started", origin="E1", plan={"1": "check first", "2": "run"}))
            journal.append(Note("task started", task=2, mode="run"))
            journal.append(
                Note("task finished", task=2, status="failed", what="no", where_to_look="here", hint="that", seconds=2)
            )
            journal.append(Note("task finished", task=3, status="blocked", summary="needs task 2, which failed"))
            journal.append(Note("execution finished", status="failed", exit_code=1))

    def test_a_killed_execution_is_told_as_interrupted_in_the_task_that_it_was_at(self, path: Path) -> None:
        self.record_two(path)
        killed, failed = executions(read(path))
        assert (killed.id, killed.origin, killed.started.command, killed.started.pid, killed.started.log) == (
            "E1", "E1", "--phase all", 7, "x.log",
        )  # fmt: skip
        assert (killed.status, killed.exit_code) == (None, None)
        assert killed.plan == {1: "run"}
        assert killed.passed(1)
        assert not killed.passed(2)
        assert not killed.passed(3)
        first, second = killed.tasks[1], killed.tasks[2]
        assert (first.status, first.mode, first.seconds, first.outcome.summary) == (Status.CHANGED, "run", 1.5, "s")
        assert (first.outcome.details, first.outcome.reason) == ({"a": 1}, "was gone")
        assert first.started_at < first.finished_at
        assert (second.status, second.mode, second.seconds, second.finished_at) == (Status.INTERRUPTED, "run", None, "")

        assert (failed.status, failed.exit_code) == ("failed", 1)
        assert failed.origin == "E1"
        wrong = failed.tasks[2].outcome
        assert (wrong.status, wrong.summary, wrong.where_to_look, wrong.hint) == (
            Status.FAILED, "no", "here", "that",
        )  # fmt: skip
        assert failed.tasks[3].status is Status.BLOCKED

    def test_clock_set_back_changes_neither_the_order_nor_what_ended(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hours = iter(range(100, 0, -1))  # each record is written an hour before the one before it

        class Clock:
            @staticmethod
            def now(zone: Any) -> datetime:
                return datetime(2026, 1, 1, tzinfo=zone) + timedelta(hours=next(hours))

        monkeypatch.setattr(journal_module, "datetime", Clock)
        self.record_two(path)
        records = read(path)
        times = [record["at"] for record in records]
        assert times == sorted(times, reverse=True)
        killed, failed = executions(records)
        assert [killed.id, failed.id] == ["E1", "E2"]
        assert killed.tasks[1].status is Status.CHANGED
        assert killed.tasks[1].seconds == 1.5
        assert killed.tasks[2].status is Status.INTERRUPTED
        assert failed.tasks[2].status is Status.FAILED

    def test_cut_at_any_byte_no_task_is_told_as_proven_that_was_not(self, path: Path) -> None:
        self.record_two(path)
        whole = path.read_bytes()
        complete = {record.id: record for record in executions(read(path))}
        for cut in range(0, len(whole), 7):
            path.write_bytes(whole[:cut])
            for execution in executions(read(path)):
                for number, task in execution.tasks.items():
                    assert task.status in (complete[execution.id].tasks[number].status, Status.INTERRUPTED)

    def test_records_of_an_execution_whose_start_was_put_away_are_passed_over(self, path: Path) -> None:
        with closing(Journal(path, "E1")) as journal:
            journal.append(Note("task finished", task=1, status="ok"))
            journal.append(Note("execution finished", status="passed"))
            journal.append(Note("something new", execution="E2"))
        assert executions(read(path)) == []
