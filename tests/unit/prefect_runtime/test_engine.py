"""The process that stands for a flow run, and the fork server behind it; what runs here is Python, not Prefect."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from blueprint.prefect_runtime import engine

ENGINE = Path(engine.__file__)
ROOT = ENGINE.parents[2]
# A worker that forks its server off and then only waits; each fork runs the code that the variable RUN holds.
WORKER = """
import os, sys, time
from blueprint.prefect_runtime import fork_server
request = fork_server.start()
if request is None:
    print(os.environ["_BLUEPRINT_FORK_SERVER"], flush=True)
    time.sleep(600)
for stream, target in zip(request.streams, (0, 1, 2)):
    os.dup2(stream, target)
os.environ.update(request.environment)
exec(os.environ["RUN"])
"""


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    """The worker; the address of its fork server is the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def address(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout
    return worker.stdout.readline().strip()


def start(address: str, code: str, folder: Path, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, engine.ADDRESS_VARIABLE: address, "RUN": code, **more}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(ENGINE)],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print('done')", 0),
        ("sys.exit(7)", 7),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.kill(os.getpid(), 15)", -15),
        ("os.kill(os.getpid(), 6)", -6),
    ],
)
def test_it_ends_as_the_run_ends(address: str, tmp_path: Path, code: str, status: int) -> None:
    run = start(address, code, tmp_path)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == status
    assert output == ("done\n" if status == 0 else "")


def test_a_signal_reaches_the_run(address: str, tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, lambda *_: sys.exit(42)); print(os.getpid(), flush=True); time.sleep(60)"
    run = start(address, code, tmp_path)
    assert run.stdout
    assert int(run.stdout.readline()) != run.pid
    run.terminate()
    assert run.wait(30) == 42


def test_a_run_whose_stand_in_is_killed_is_killed(address: str, tmp_path: Path) -> None:
    run = start(address, "print(os.getpid(), flush=True); time.sleep(60)", tmp_path)
    assert run.stdout
    pid = int(run.stdout.readline())
    run.kill()
    eventually(lambda: gone(pid))


def test_the_runs_of_a_fork_server_that_is_killed_end_with_it_and_say_that_they_were_killed(
    address: str, tmp_path: Path
) -> None:
    run = start(address, "print(os.getpid(), os.getppid(), flush=True); time.sleep(60)", tmp_path)
    assert run.stdout
    pid, server = map(int, run.stdout.readline().split())
    os.kill(server, signal.SIGKILL)
    assert run.wait(30) == -signal.SIGKILL
    eventually(lambda: gone(pid))


def test_the_fork_server_ends_after_the_worker_and_the_last_run(
    worker: subprocess.Popen[str], address: str, tmp_path: Path
) -> None:
    code = "print(os.getppid(), flush=True); time.sleep(1); print('still here', flush=True)"
    run = start(address, code, tmp_path)
    assert run.stdout
    server = int(run.stdout.readline())
    worker.kill()
    assert run.communicate(timeout=30)[0] == "still here\n"
    assert run.returncode == 0
    eventually(lambda: gone(server))


def test_it_serves_many_at_a_time_and_mixes_nothing_up(address: str, tmp_path: Path) -> None:
    runs = [start(address, f"time.sleep(0.3); print({number}); sys.exit({number})", tmp_path) for number in range(20)]
    assert [run.communicate(timeout=60)[0] for run in runs] == [f"{number}\n" for number in range(20)]
    assert [run.returncode for run in runs] == list(range(20))


def without_prefect(folder: Path) -> dict[str, str]:
    """Something that tells that it was run, in the place of Prefect's engine."""
    (folder / "prefect").mkdir()
    (folder / "prefect" / "__init__.py").touch()
    (folder / "prefect" / "engine.py").write_text("print('a new process')", encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def test_without_a_fork_server_it_becomes_the_engine(tmp_path: Path) -> None:
    run = start("", "", tmp_path, **without_prefect(tmp_path))
    assert run.communicate(timeout=30)[0] == "a new process\n"
    run = start("blueprint-not-there", "", tmp_path, PYTHONPATH=str(tmp_path))
    assert run.communicate(timeout=30)[0] == "a new process\n"


def test_what_the_interpreter_reads_at_its_start_cannot_be_given_to_a_fork(address: str, tmp_path: Path) -> None:
    run = start(address, "print('forked')", tmp_path, **without_prefect(tmp_path))
    assert run.communicate(timeout=30)[0] == "a new process\n"


def test_a_fork_server_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    address = f"blueprint-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0{address}")
        listener.listen()
        run = start(address, "", tmp_path, **without_prefect(tmp_path))
        assert run.communicate(timeout=30)[0] == "a new process\n"


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\0\0\5hello", b"\xff\xff\xff\xffx", engine.LENGTH.pack(2) + b"{}"])
def test_a_caller_that_talks_nonsense_is_let_go_and_the_next_one_is_served(
    address: str, tmp_path: Path, sent: bytes
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(f"\0{address}")
        connection.sendall(sent)
    run = start(address, "print('served')", tmp_path)
    assert run.communicate(timeout=30)[0] == "served\n"


def test_a_caller_that_goes_away_before_it_agreed_starts_nothing(address: str, tmp_path: Path) -> None:
    environment = {**os.environ, "RUN": f"open({str(tmp_path / 'ran')!r}, 'w')"}
    request = json.dumps({"environment": environment, "folder": str(tmp_path)}).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(f"\0{address}")
        connection.sendall(engine.LENGTH.pack(len(request)) + request)
        assert connection.recv(1) == engine.READY
    run = start(address, "print('served')", tmp_path)
    assert run.communicate(timeout=30)[0] == "served\n"
    assert not (tmp_path / "ran").exists()


def test_threads_forbid_forking() -> None:
    from blueprint.prefect_runtime import fork_server

    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    assert threading.active_count() > 1 or fork_server.possible()
    thread.start()
    try:
        assert not fork_server.possible()
    finally:
        release.set()
        thread.join()
