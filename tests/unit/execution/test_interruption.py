"""A signal is never lost, also when it comes just before the process goes on in another Python."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
BEFORE_AND_AFTER = """
import os, signal, sys
from blueprint.bootstrap import handover
from blueprint.execution.interruption import Interruption

stage, when, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
interruption = Interruption()
interruption.install()
if stage == "first":
    if when == "handled":
        os.kill(os.getpid(), number)
    interruption.pass_on()
    if when == "waiting":
        os.kill(os.getpid(), number)
    os.execv(sys.executable, [sys.executable, sys.argv[0], "second", when, str(number)])
handover()
print(interruption.stop.is_set(), interruption.signal, interruption.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["handled", "waiting", "never"])
def test_a_signal_on_the_way_into_the_environments_python_still_ends_the_execution(
    tmp_path: Path, when: str, number: signal.Signals
) -> None:
    program = tmp_path / "program.py"
    program.write_text(BEFORE_AND_AFTER)
    done = subprocess.run(
        [sys.executable, str(program), "first", when, str(int(number))],
        env={"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = f"False 0 {130}" if when == "never" else f"True {int(number)} {128 + number}"
    assert done.stdout.strip() == expected
