"""What an execution leaves for the next command, however it ended."""

from __future__ import annotations

import json
import shutil
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest

from blueprint.cli import session as sessions
from blueprint.cli.commands import run
from blueprint.cli.options import parse
from blueprint.cli.remembered import accept, remembered
from blueprint.cli.session import Session
from blueprint.config import sources
from blueprint.core.errors import EnvironmentRefused, ExitCode, UsageError
from blueprint.core.workspace import Workspace
from blueprint.execution import journal
from blueprint.execution.events import ExecutionStarted, Unit
from blueprint.execution.executor import Executor
from blueprint.execution.history import ExecutionRecord, load
from blueprint.execution.interruption import Interruption
from blueprint.execution.journal import Journal

ALL = ("--phase", "all")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "project")


def begin(workspace: Workspace, *argv: str) -> Session:
    workspace.root.mkdir(exist_ok=True)
    (workspace.root / "pyproject.toml").touch()
    begun = sessions.begin(parse(argv), workspace, Interruption())
    assert begun is not None
    return begun


def end(session: Session) -> None:
    session.close()
    session.lock.release()


def last(workspace: Workspace) -> ExecutionRecord:
    found = load(workspace.journal).last
    assert found is not None
    return found


def test_a_bug_in_the_middle_of_an_execution_is_in_its_record(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> NoReturn:
        raise ZeroDivisionError("division by zero")

    session = begin(workspace, *ALL)
    monkeypatch.setattr(Executor, "run", bug)
    with pytest.raises(ZeroDivisionError):
        run._carry_out(session, parse(ALL))
    end(session)
    assert (last(workspace).status, last(workspace).exit_code) == ("failed", ExitCode.BUG)
    assert "ZeroDivisionError: division by zero" in workspace.journal.read_text()


def test_an_execution_whose_folder_was_removed_under_it_stops_in_one_sentence(workspace: Workspace) -> None:
    first = begin(workspace, *ALL)
    shutil.rmtree(workspace.state)
    second = begin(workspace, *ALL)  # nothing is left that could tell it of the first
    with pytest.raises(EnvironmentRefused, match="was removed while this execution was using it") as refusal:
        first.executor.run({Unit(1): lambda _handle: pytest.fail("a task was started")})
    assert first.finish("", refusal.value) == ExitCode.ENVIRONMENT
    end(first)
    assert last(workspace).id == second.record.id
    assert last(workspace).status is None
    end(second)


def test_a_value_that_is_refused_once_it_can_be_judged_is_not_remembered(workspace: Workspace) -> None:
    good = begin(workspace, *ALL, "--port", "5200", "--set", "cron=0 6 * * *")
    accept(workspace)
    end(good)
    bad = begin(workspace, "--resume", "--set", "cron=nonsense")
    assert set(remembered(workspace)) == {"port=5200", "cron=nonsense"}  # a kill now, and `--resume` says so again
    (workspace.root / "pyproject.toml").write_text("[tool.blueprint]\n")
    with pytest.raises(UsageError, match="cron"):
        run._judged_settings(bad)
    end(bad)
    assert set(remembered(workspace)) == {"port=5200", "cron=0 6 * * *"}


def test_values_of_an_execution_killed_before_they_could_be_judged_stay_and_never_lock_the_user_out(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BLUEPRINT_PORT", raising=False)
    end(begin(workspace, *ALL, "--port", "5200", "--set", "jobs=0"))
    assert set(remembered(workspace)) == {"port=5200", "jobs=0"}
    again = begin(workspace, "--resume")
    (workspace.root / "pyproject.toml").write_text("[tool.blueprint]\n")
    with pytest.raises(UsageError, match="command line of the last execution: jobs"):
        run._judged_settings(again)
    end(again)
    assert remembered(workspace) == ()


def test_settings_that_an_older_version_kept_in_its_journal_still_hold(workspace: Workspace) -> None:
    workspace.root.mkdir()
    workspace.prepare()
    record = {"v": 1, "at": "2026-01-01T00:00:00+00:00", "kind": "execution started", "execution": "E1"}
    line = json.dumps({**record, "settings": ["port=5200"], "plan": {"1": "run"}}, separators=(",", ":"))[:-1].encode()
    workspace.journal.write_bytes(line + b',"crc":"%08x"}\n' % zlib.crc32(line))
    assert remembered(workspace) == ("port=5200",)
    end(begin(workspace, *ALL, "--set", "jobs=2"))
    assert set(remembered(workspace)) == {"port=5200", "jobs=2"}
    assert "port=5200" not in workspace.journal.read_text().splitlines()[1]


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"accepted": 1}',
        '{"accepted": "port=1"}',
        '{"accepted": {"port=1": 2}}',
        "{",
        "[" * 60_000,
    ],
)
def test_a_damaged_file_of_settings_is_one_sentence(workspace: Workspace, damage: str) -> None:
    workspace.root.mkdir()
    workspace.prepare()
    workspace.remembered_settings.write_text(damage)
    with pytest.raises(EnvironmentRefused, match=r"settings.json.* is damaged"):
        begin(workspace, *ALL)


@pytest.mark.parametrize("setting", ["data_source=http://h/x?token=abc", "zzz"])
def test_a_setting_that_is_accepted_no_more_locks_nobody_out(workspace: Workspace, setting: str) -> None:
    workspace.root.mkdir()
    (workspace.root / "pyproject.toml").write_text("[tool.blueprint]\n")
    with pytest.raises(UsageError, match=r"kept in \.blueprint/settings\.json") as refusal:
        sources.read(workspace.root, {}, (), (setting,))
    assert "remove that file" in str(refusal.value)
    replaced = {"BLUEPRINT_DATA_SOURCE": "http://h/x?token=abc"}
    values, _ = sources.read(workspace.root, replaced, (), ("data_source=http://h/x?token=abc", "port=5200"))
    assert (values["data_source"], values["port"]) == (replaced["BLUEPRINT_DATA_SOURCE"], 5200)


def test_a_large_journal_with_a_torn_end_is_sealed_and_no_bug(workspace: Workspace) -> None:
    workspace.root.mkdir()
    workspace.prepare()
    for number in range(25):
        with closing(Journal(workspace.journal, f"E{number:02}")) as journal:
            journal.append(ExecutionStarted(plan={"1": "run"}, command="x" * 100_000))
    with workspace.journal.open("ab") as file:
        file.write(b'{"v":1,"at":"2026-01-01T00:00:00+00:00","kind":"execution started","execut\xff')
    end(begin(workspace, *ALL))
    end(begin(workspace, *ALL))  # this one rotates
    assert list(workspace.archive.iterdir())


def test_secrets_of_the_command_line_reach_neither_journal_nor_log_nor_lock(workspace: Workspace) -> None:
    secret = ("--set", 'parameters={"password": "hunter22", "plain": "word"}')
    workspace.root.mkdir()
    (workspace.root / "pyproject.toml").write_text("[tool.blueprint]\n")
    run._values(parse((*ALL, *secret)), workspace)
    session = begin(workspace, *ALL, *secret)
    assert "hunter22" not in workspace.lock.read_text()
    session.finish("", UsageError("hunter22 is refused."))
    end(session)
    written = [path for path in workspace.root.rglob("*") if path.is_file() and b"hunter22" in path.read_bytes()]
    assert written == [workspace.remembered_settings]  # private, and needed by the next command
    assert workspace.remembered_settings.stat().st_mode & 0o077 == 0


def test_a_command_parses_the_journal_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    end(begin(workspace, *ALL))
    lines = len(workspace.journal.read_bytes().splitlines())
    parsed: list[bytes] = []
    original = journal._parsed

    def counts(line: bytes) -> dict[str, Any]:
        parsed.append(line)
        return original(line)

    monkeypatch.setattr(journal, "_parsed", counts)
    end(begin(workspace, "--resume"))
    assert len(parsed) == lines
