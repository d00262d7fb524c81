"""Commands that are run to their end: nothing of them is left."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from blueprint.core import child
from blueprint.core.files import PRIVATE_UMASK
from blueprint.core.task import TaskStopped, within

_LEAVES_ONE = """
import subprocess, sys
output = subprocess.DEVNULL if sys.argv[2] == "quiet" else None
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=output, stderr=output)
open(sys.argv[1], "w").write(str(left.pid))
print("done", flush=True)
"""


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("output", ["quiet", "inherited"])
def test_what_a_command_leaves_in_its_group_is_ended_with_it(tmp_path: Path, output: str) -> None:
    began = time.monotonic()
    finished = child.run([sys.executable, "-c", _LEAVES_ONE, tmp_path / "pid", output], within(20))
    assert (finished.returncode, finished.output) == (0, "done\n")
    assert time.monotonic() - began < 5
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 5
    while _runs(pid):
        assert time.monotonic() < end, "it was left running"
        time.sleep(0.02)


def test_a_command_that_takes_too_long_is_killed() -> None:
    began = time.monotonic()
    with pytest.raises(TaskStopped, match="did not end in time"):
        child.run([sys.executable, "-c", "import time; time.sleep(600)"], within(20), seconds=0.3)
    assert time.monotonic() - began < 3


def test_a_command_reads_what_it_is_given_also_if_it_takes_its_time() -> None:
    text = "x" * 300_000  # more than a pipe holds
    slow = "import sys, time; time.sleep(0.3); print(len(sys.stdin.read()))"
    assert child.run([sys.executable, "-c", slow], within(20), given=text).output == "300000\n"


def test_a_command_whose_files_are_to_be_private_makes_private_ones(tmp_path: Path) -> None:
    script = "import pathlib; pathlib.Path('made').write_text('x'); pathlib.Path('folder').mkdir()"
    done = child.run([sys.executable, "-c", script], within(30), cwd=tmp_path, umask=PRIVATE_UMASK)
    assert done.returncode == 0, done.errors
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
