"""The fork server and the processes that it makes for a worker; what runs in them is Python, not Prefect."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from blueprint.prefect_runtime import fork_server

ROOT = Path(fork_server.__file__).parents[2]
# A worker: `start` has the fork server make a process that runs some code, and gives its id and its output.
WORKER = """
import os, signal, sys, time
import psutil
from blueprint.prefect_runtime import fork_server
from blueprint.prefect_runtime.fork_server import Command, ForkServer

def run(command):
    exec(command.environment["CODE"])
    sys.exit()

server = ForkServer(run)

def start(code):
    reading, writing = os.pipe()
    pid = server.start(Command(["program"], {"CODE": code}, "/"), [0, writing, writing])
    os.close(writing)
    return pid, os.fdopen(reading)

def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def eventually(true):
    limit = time.monotonic() + 20
    while not true():
        assert time.monotonic() < limit, "timed out"
        time.sleep(0.01)

def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"

"""


def worker(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a worker that does this, and return how it ended."""
    return subprocess.run(
        [sys.executable, "-c", WORKER + code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def must(code: str, **environment: str) -> str:
    """Run a worker that must not fail; return what it printed."""
    done = worker(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print('done')", 0),
        ("sys.exit(7)", 7),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.kill(os.getpid(), 15)", -15),
        ("os.abort()", -6),
        ("raise ValueError('as asked')", 1),
    ],
)
def test_a_process_is_the_workers_own_child_and_it_learns_how_it_ended(code: str, status: int) -> None:
    before = "print(os.getppid(), os.getpid(), os.getsid(0), flush=True);"
    output = must(f"""
pid, output = start({before + code!r})
assert end(pid) == {status}
lines = output.read().splitlines()
assert lines[0] == f"{{os.getpid()}} {{pid}} {{pid}}", lines
print(lines[1:])
""")
    assert ("done" in output) == (status == 0)


def test_no_signal_is_lost_right_after_the_start() -> None:
    must("""
for number, status in [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)]:
    for _ in range(20):
        pid, _ = start("time.sleep(60)")
        os.killpg(pid, number)
        began = time.monotonic()
        assert end(pid) in (status, -number), number
        assert time.monotonic() - began < 10
""")


def test_a_signal_to_the_workers_group_ends_neither_the_fork_server_nor_a_run() -> None:
    must("""
os.setpgid(0, 0)
os.setpgid(server.pid, os.getpid())
pid, output = start("time.sleep(0.5); print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.killpg(0, signal.SIGTERM)
assert end(pid) == 0
assert output.read() == "True\\n"
assert end(start("sys.exit(3)")[0]) == 3
""")


def test_a_run_outlives_a_fork_server_that_is_killed_and_the_next_one_is_not_forked() -> None:
    done = worker("""
pid, _ = start("time.sleep(1); sys.exit(5)")
os.kill(server.pid, signal.SIGKILL)
assert start("pass")[0] is None
assert start("pass")[0] is None
assert end(pid) == 5
""")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("The fork server does not answer") == 1


def test_what_was_given_up_is_not_started_later(tmp_path: Path) -> None:
    """The worker starts that run in another way: there must not be two."""
    must(
        """
fork_server._ANSWER_SECONDS = 0.5
marker = os.environ["MARKER"]
os.kill(server.pid, signal.SIGSTOP)
assert start(f"open({marker!r}, 'w')")[0] is None
os.kill(server.pid, signal.SIGCONT)
eventually(lambda: gone(server.pid))
time.sleep(0.2)
assert not os.path.exists(marker)
""",
        MARKER=str(tmp_path / "started"),
    )


def test_the_fork_server_ends_with_the_worker_and_a_run_goes_on(tmp_path: Path) -> None:
    marker = tmp_path / "finished"
    done = worker(
        """
pid, _ = start(f"time.sleep(1); open({os.environ['MARKER']!r}, 'w')")
print(server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
""",
        MARKER=str(marker),
    )
    eventually(lambda: not psutil.pid_exists(int(done.stdout)))
    eventually(marker.exists)


def test_many_at_a_time_are_not_mixed_up() -> None:
    must("""
runs = [start(f"time.sleep(0.3); print({number}); sys.exit({number})") for number in range(20)]
assert [end(pid) for pid, _ in runs] == list(range(20))
assert [output.read() for _, output in runs] == [f"{number}\\n" for number in range(20)]
""")


def test_what_a_run_leaves_behind_does_not_come_to_the_worker() -> None:
    must("""
pid, output = start("child = os.fork(); time.sleep(0 if child else 1); print(os.getppid(), flush=True)")
assert end(pid) == 0
assert output.read().splitlines()[1] not in (str(os.getpid()), str(server.pid))
""")


def test_a_run_has_no_descriptor_but_its_streams() -> None:
    must("""
own = set(os.listdir("/proc/self/fd"))
_, output = start("print(sorted(os.listdir('/proc/self/fd'))[:-1])")
assert output.read() == "['0', '1', '2']\\n", output.read()
""")


def test_300_runs_leave_nothing_in_the_fork_server() -> None:
    must("""
own = psutil.Process(server.pid)

def run(times):
    for _ in range(times):
        assert end(start("pass")[0]) == 0
    return own.memory_full_info().uss, own.num_fds(), len(own.children())

uss, descriptors, children = run(20)
later = run(300)
assert later[0] - uss < 512 * 1024, (uss, later)
assert later[1:] == (descriptors, children) == (descriptors, 0)
""")


def test_threads_forbid_forking() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        assert "threads" in fork_server.obstacle()
    finally:
        release.set()
        thread.join()


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.02)
