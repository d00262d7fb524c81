"""`init` where nothing is installed: a refusal that leaves another flow configured says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from blueprint.bootstrap.environment import base_python
from tests.support.live_platform import copy_checkout


@pytest.mark.parametrize("target", ["nowhere.py:flow", "flow.py:flow"])
def test_a_failed_init_says_that_a_run_would_prove_another_flow(tmp_path: Path, target: str) -> None:
    root = copy_checkout(tmp_path / "project")
    file = root / "pyproject.toml"
    file.write_text(file.read_text().replace("[tool.blueprint]\n", "[tool.blueprint]\njobs = 2\n", 1))
    before = file.read_bytes()
    (root / "flow.py").touch()
    command = [base_python(), "-I", "run_blueprint.py", "init", target]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.strip().endswith(
        f"pyproject.toml is unchanged: a run would prove the flow that is configured there, not {target}."
    )
    assert file.read_bytes() == before
