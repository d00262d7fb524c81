"""Where things are, whose they are, and one execution at a time: real folders, real processes, the kernel's lock."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blueprint.bootstrap.environment import base_python
from blueprint.core.errors import EnvironmentRefused, ExitCode
from blueprint.core.workspace import Workspace, new_execution_id
from blueprint.execution.lock import ExecutionLock
from tests.support.live_platform import copy_checkout

ROOT = Path(__file__).resolve().parents[3]

HOLDER = """
    import sys, time
    from pathlib import Path
    from blueprint.execution.lock import ExecutionLock
    from blueprint.core.workspace import Workspace
    workspace = Workspace(Path(sys.argv[1]))
    workspace.prepare()
    lock = ExecutionLock.acquire(workspace, "run_blueprint.py --phase all")
    print("held", flush=True)
    sys.stdin.read()
"""

# Takes the lock and becomes another program by execv: the one that is given as the second argument.
BEFORE_EXEC = """
    import os, sys
    from pathlib import Path
    from blueprint.execution.lock import ExecutionLock
    from blueprint.core.workspace import Workspace
    workspace = Workspace(Path(sys.argv[1]))
    workspace.prepare()
    lock = ExecutionLock.acquire(workspace, "run_blueprint.py --phase all")
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[2], sys.argv[1], str(lock.fd)])
"""

# Adopts the lock, and starts a child that outlives it and inherits every file descriptor that it can.
AFTER_EXEC = """
    import subprocess, sys
    from pathlib import Path
    from blueprint.execution.lock import ExecutionLock
    from blueprint.core.workspace import Workspace
    lock = ExecutionLock.adopt(Workspace(Path(sys.argv[1])), int(sys.argv[2]))
    child = subprocess.Popen(["sleep", "60"], close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    sys.stdin.read()
    lock.release()
    print("released", flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def line_from(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "a checkout ü")
    made.root.mkdir()
    made.prepare()
    return made


@pytest.fixture
def holder(workspace: Workspace) -> Iterator[subprocess.Popen[str]]:
    process = start(HOLDER, workspace.root)
    assert line_from(process) == "held"
    yield process
    end(process)


def test_second_execution_is_refused_at_once_and_told_who_is_at_work(
    workspace: Workspace, holder: subprocess.Popen[str]
) -> None:
    begin = time.monotonic()
    with pytest.raises(EnvironmentRefused) as refusal:
        ExecutionLock.acquire(workspace, "second")
    assert time.monotonic() - begin < 0.5
    text = str(refusal.value)
    assert f"pid {holder.pid}," in text
    assert "run_blueprint.py --phase all" in text
    assert f"started {datetime.now().astimezone():%Y-%m-%d}" in text
    assert refusal.value.exit_code == ExitCode.ENVIRONMENT


def test_killed_execution_leaves_nothing_to_clean_up(workspace: Workspace, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=10)
    lock = ExecutionLock.acquire(workspace, "next")
    assert json.loads(workspace.lock.read_text())["pid"] == os.getpid()
    lock.release()


def test_refusal_never_names_the_execution_before_as_the_one_at_work(
    workspace: Workspace, holder: subprocess.Popen[str]
) -> None:
    end(holder)
    lock = ExecutionLock.acquire(workspace, "the second one")
    with pytest.raises(EnvironmentRefused) as refusal:
        ExecutionLock.acquire(workspace, "the third one")
    assert "the second one" in str(refusal.value)
    assert f"pid {holder.pid}," not in str(refusal.value)
    lock.release()


def test_refusal_in_the_instant_in_which_the_lock_is_taken_waits_for_the_new_name(
    workspace: Workspace, holder: subprocess.Popen[str]
) -> None:
    now = workspace.lock.read_text()
    gone = subprocess.Popen(["true"])
    gone.wait(timeout=10)
    workspace.lock.write_text(json.dumps({"pid": gone.pid, "started": "yesterday", "command": "a killed one"}))
    rewrite = threading.Timer(0.05, workspace.lock.write_text, [now])
    rewrite.start()
    with pytest.raises(EnvironmentRefused, match=f"pid {holder.pid},"):
        ExecutionLock.acquire(workspace, "second")
    rewrite.join()


def test_refusal_works_without_a_name_too(workspace: Workspace, holder: subprocess.Popen[str]) -> None:
    workspace.lock.write_text("")
    with pytest.raises(EnvironmentRefused, match="just starting"):
        ExecutionLock.acquire(workspace, "second")
    assert holder.poll() is None


def test_lock_is_free_after_release_and_a_second_release_harms_nobody(workspace: Workspace) -> None:
    first = ExecutionLock.acquire(workspace, "first")
    first.release()
    second = ExecutionLock.acquire(workspace, "second")
    first.release()
    with pytest.raises(EnvironmentRefused):
        ExecutionLock.acquire(workspace, "third")
    second.release()


def test_two_checkouts_work_side_by_side(tmp_path: Path) -> None:
    locks = []
    for name in ("one", "two"):
        workspace = Workspace(tmp_path / name)
        workspace.root.mkdir()
        workspace.prepare()
        locks.append(ExecutionLock.acquire(workspace, name))
    for lock in locks:
        lock.release()


def test_lock_survives_the_change_into_the_virtual_environment_and_no_service_can_keep_it(workspace: Workspace) -> None:
    process = start(BEFORE_EXEC, workspace.root, textwrap.dedent(AFTER_EXEC))
    child = int(line_from(process))
    try:
        with pytest.raises(EnvironmentRefused, match=rf"pid {process.pid}, .*--phase all"):
            ExecutionLock.acquire(workspace, "second")
        assert process.stdin is not None
        process.stdin.close()
        assert line_from(process) == "released"
        os.kill(child, 0)
        ExecutionLock.acquire(workspace, "second").release()
    finally:
        os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait(timeout=10)


def test_handover_of_something_that_is_not_the_lock_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    ExecutionLock.acquire(workspace, "makes the file").release()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    for fd in (other, 987):
        with pytest.raises(EnvironmentRefused, match="was not passed on"):
            ExecutionLock.adopt(workspace, fd)
    os.close(other)


def test_handover_without_the_lock_is_refused_while_another_execution_holds_it(
    workspace: Workspace, holder: subprocess.Popen[str]
) -> None:
    fd = os.open(workspace.lock, os.O_RDWR)
    with pytest.raises(EnvironmentRefused, match="was not passed on"):
        ExecutionLock.adopt(workspace, fd)
    os.close(fd)
    assert holder.poll() is None


def test_state_and_logs_are_private_to_the_user_whatever_they_were_before(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.logs.mkdir(mode=0o755)
    old = os.umask(0)
    try:
        workspace.prepare()
        ExecutionLock.acquire(workspace, "x").release()
        workspace.identity()
        log = workspace.new_log()
    finally:
        os.umask(old)
    for folder in (workspace.state, workspace.logs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in (workspace.lock, workspace.state / "workspace.json", log):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_preparing_twice_leaves_no_file_behind(workspace: Workspace) -> None:
    workspace.prepare()
    assert list(workspace.state.iterdir()) == []
    assert list(workspace.logs.iterdir()) == []


def test_missing_checkout_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefused, match="is not a folder"):
        Workspace(tmp_path / "gone").prepare()


def test_a_file_in_the_place_of_the_state_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".blueprint").write_text("")
    with pytest.raises(EnvironmentRefused, match=r"\.blueprint cannot be used: something else stands there"):
        Workspace(tmp_path).prepare()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount file systems and be another user")
class TestRefusedByTheSystem:
    """With real file systems and a real other user."""

    @pytest.fixture
    def tiny(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "tiny"
        folder.mkdir()
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=False)
        if made.returncode:
            pytest.skip("no file system can be mounted here")
        yield folder
        subprocess.run(["umount", "-l", folder], check=True)

    def test_full_disk_is_one_clear_sentence_before_anything_is_started(self, tiny: Path) -> None:
        (tiny / "filler").touch()
        workspace = Workspace(tiny)
        workspace.prepare()
        with (tiny / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.tell() < 2**20:
                filler.write(bytes(4096))
        with pytest.raises(EnvironmentRefused, match="no room is left on the disk") as refusal:
            workspace.prepare()
        assert "Free some space" in refusal.value.hint
        with pytest.raises(EnvironmentRefused, match="no room is left on the disk"):
            workspace.identity()
        assert list(workspace.state.iterdir()) == []

    def test_read_only_file_system_is_one_clear_sentence(self, tiny: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)
        with pytest.raises(EnvironmentRefused, match="mounted read-only"):
            Workspace(tiny).prepare()

    def test_folder_of_another_user_is_one_clear_sentence(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path / "theirs")
        workspace.root.mkdir(mode=0o755)
        as_nobody = f"""
            import os, sys
            from pathlib import Path
            from blueprint.core.errors import EnvironmentRefused
            from blueprint.core.workspace import Workspace
            os.chdir({str(workspace.root)!r})
            os.setuid(65534)
            try:
                Workspace(Path(".")).prepare()
            except EnvironmentRefused as refusal:
                print(refusal)
        """
        process = start(as_nobody)
        output, _ = process.communicate(timeout=10)
        assert f"it belongs to root, and this command runs as {pwd.getpwuid(65534).pw_name}" in output
        assert f"sudo chown -R {pwd.getpwuid(65534).pw_name}: " in output

    @pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
    @pytest.mark.parametrize(
        "name",
        [
            "prefect.toml",
            ".blueprint",
            ".blueprint/settings.json",
            ".blueprint/journal.jsonl",
            ".blueprint/prefect/prefect.db",
            "logs/worker.log",
            ".venv",
        ],
    )
    def test_what_an_execution_as_another_user_left_is_told_with_its_owner_and_the_command_that_mends_it(
        self, tmp_path: Path, name: str
    ) -> None:
        root = copy_checkout(tmp_path / "my project")
        Workspace(root).prepare()
        theirs = root / name
        theirs.parent.mkdir(exist_ok=True)
        theirs.mkdir(exist_ok=True) if name in (".venv", ".blueprint") else theirs.touch()
        theirs.chmod(0o600)
        os.chown(theirs, 65534, -1)
        drop = "-dac_override,-dac_read_search"  # root without its right to open everything is like any other user
        answer = subprocess.run(
            [*("setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"), base_python(), "run_blueprint.py"],
            cwd=root,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == 4, answer.stderr
        owner = pwd.getpwuid(65534).pw_name
        assert f"Error: {theirs}" in answer.stderr
        assert f" cannot be used: it belongs to {owner}, and this command runs as root" in answer.stderr
        assert answer.stderr.endswith(f": sudo chown -R root: '{root}'\n")
        assert not (root / "logs" / "bug.log").exists()


def test_identity_stays_the_same_in_its_folder(workspace: Workspace) -> None:
    first = workspace.identity()
    assert len(first) == 32
    assert workspace.identity() == Workspace(workspace.root).identity() == first


def test_identity_is_the_same_through_a_link_to_the_folder(workspace: Workspace, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(workspace.root)
    assert Workspace(link).identity() == workspace.identity()


def test_copied_state_folder_does_not_own_the_services_of_the_first(workspace: Workspace, tmp_path: Path) -> None:
    first = workspace.identity()
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, copy.root)
    assert copy.identity() != first
    assert workspace.identity() == first


def test_a_folder_that_was_moved_keeps_its_identity_and_a_later_copy_of_it_has_none(
    workspace: Workspace, tmp_path: Path
) -> None:
    first = workspace.identity()
    moved = Workspace(workspace.root.rename(tmp_path / "moved"))
    assert moved.known_identity() == first
    assert moved.identity() == first
    assert moved.copied_identity() is None
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(moved.root, copy.root)
    assert copy.known_identity() is None
    assert copy.copied_identity() == (first, moved.root)


def test_looking_for_an_identity_makes_none(tmp_path: Path) -> None:
    assert Workspace(tmp_path).known_identity() is None
    assert list(tmp_path.iterdir()) == []


def test_folder_put_in_the_place_of_another_does_not_own_its_services(workspace: Workspace, tmp_path: Path) -> None:
    first = workspace.identity()
    shutil.copytree(workspace.root, tmp_path / "restored")
    workspace.root.rename(tmp_path / "old")
    (tmp_path / "restored").rename(workspace.root)
    assert workspace.identity() != first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": 5}', '{"id": "abc"}', "\x00" * 50, "null"])
def test_damaged_identity_is_made_anew(workspace: Workspace, content: str) -> None:
    (workspace.state / "workspace.json").write_text(content)
    made = workspace.identity()
    assert len(made) == 32
    assert workspace.identity() == made


def test_executions_of_the_same_second_do_not_write_into_one_log(workspace: Workspace) -> None:
    now = datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC)
    logs = [workspace.new_log(now) for _ in range(3)]
    assert [log.name for log in logs] == [
        "master_execution_20261231_235958.log",
        "master_execution_20261231_235959.log",
        "master_execution_20270101_000000.log",
    ]
    assert all(log.read_bytes() == b"" for log in logs)


def test_log_of_an_execution_before_the_clock_was_set_back_is_kept(workspace: Workspace) -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    first = workspace.new_log(now)
    first.write_text("evidence")
    assert workspace.new_log(now) != first
    assert first.read_text() == "evidence"


def test_log_that_cannot_be_made_is_one_clear_sentence(workspace: Workspace) -> None:
    workspace.logs.rmdir()
    with pytest.raises(EnvironmentRefused, match="master_execution_"):
        workspace.new_log()


def test_executions_of_the_same_second_have_different_ids() -> None:
    assert len({new_execution_id() for _ in range(1000)}) == 1000
