"""The flows' further packages: `run` installs and `plan` tells what the settings' own precedence says."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.bootstrap.environment import base_python
from blueprint.config import sources
from blueprint.core.task import within
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace
from tests.support.live_platform import copy_checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose lock names one package, which is installed; the others are borrowed."""
    root = copy_checkout(tmp_path_factory.mktemp("checkout") / "project")
    workspace = Workspace(root)
    workspace.prepare()
    bootstrap.ensure_environment(workspace, within(60))
    site = site_packages(workspace.venv)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (site / "alpha-1.dist-info").mkdir()
    (site / "alpha-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: alpha\nVersion: 1\n")
    (root / "requirements.lock").write_text(f"alpha==1 --hash=sha256:{'0' * 64}\n")
    return root


def planned(root: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [base_python(), "run_blueprint.py", "plan", *arguments],
        cwd=root,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(line for line in done.stdout.splitlines() if "Install/upgrade Prefect 3" in line)


def test_plan_does_not_forget_them(checkout: Path) -> None:
    assert "would skip" in planned(checkout)
    assert "would skip" in planned(checkout, BLUEPRINT_REQUIREMENTS='["alpha>=1"]')
    assert "would run (missing: gamma>=2)" in planned(checkout, BLUEPRINT_REQUIREMENTS='["gamma>=2"]')
    arguments = ("--set", 'requirements=["delta"]')
    assert "would run (missing: delta)" in planned(checkout, *arguments, BLUEPRINT_REQUIREMENTS='["gamma>=2"]')


def test_plan_and_run_read_the_lock_that_the_settings_name(checkout: Path) -> None:
    (checkout / "my.lock").write_text(f"gamma==2 --hash=sha256:{'0' * 64}\n")
    assert "would run (missing: gamma)" in planned(checkout, BLUEPRINT_REQUIREMENTS_LOCK="my.lock")
    assert sources.requirements_lock(checkout, {}, ["requirements_lock=my.lock"]) == checkout / "my.lock"
    assert sources.requirements_lock(checkout, {}) is None


def test_a_variable_goes_before_what_an_earlier_command_line_gave(checkout: Path) -> None:
    environment = {"BLUEPRINT_REQUIREMENTS": json.dumps(["of-variable"])}
    earlier = ['requirements=["of-earlier"]']
    assert sources.requirements(checkout, environment, (), earlier) == ("of-variable",)
    assert sources.requirements(checkout, {}, (), earlier) == ("of-earlier",)
    assert sources.requirements(checkout, environment, ['requirements=["of-command"]'], earlier) == ("of-command",)


@pytest.mark.parametrize("value", ["nonsense", "1", '{"a": 1}', "[1]"])
def test_a_bad_list_is_left_to_the_settings(checkout: Path, value: str) -> None:
    assert sources.requirements(checkout, {"BLUEPRINT_REQUIREMENTS": value}) == ()
