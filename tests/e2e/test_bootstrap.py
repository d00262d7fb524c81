"""The bootstrap with real environments and real installs of small wheels, made on the spot and had without an index."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from blueprint import bootstrap
from blueprint.bootstrap import installers
from blueprint.core import child
from blueprint.core.errors import EnvironmentRefused, SetupError
from blueprint.core.task import Evidence, TaskStopped, within
from blueprint.core.venv import problem
from blueprint.core.workspace import Workspace
from tests.support.environments import REPO, SECONDS, a_workspace, install, packages_in, run_in, the_path, version_in
from tests.support.install_faults import CONFLICT
from tests.support.wheels import lock_line, make_failing_source, make_wheel


class TestInstall:
    def test_both_installers_leave_exactly_the_locked_set_compiled(
        self, tmp_path: Path, lock: str, with_installer: str
    ) -> None:
        workspace = a_workspace(tmp_path / "work", lock)
        evidence = install(workspace)
        assert evidence.changed
        assert evidence.reason == "missing: alpha, beta-tools"
        assert with_installer in evidence.details["installer"]
        assert run_in(workspace, "import alpha, beta_tools; print(alpha.VERSION, beta_tools.VERSION)") == "1.2.0 3.0"
        assert len(list((packages_in(workspace) / "alpha" / "__pycache__").glob("*.pyc"))) == 2
        again = install(workspace)
        assert (again.changed, again.reason) == (False, "")

    def test_the_fallback_to_pip_is_told_to_the_user(self, tmp_path: Path, lock: str, with_installer: str) -> None:
        evidence = install(a_workspace(tmp_path / "work", lock))
        assert bool(evidence.details["notes"]) == (with_installer == "pip")
        assert ("uv failed: uv is neither on PATH nor in the lock" in evidence.summary) == (with_installer == "pip")

    def test_a_uv_that_is_broken_does_not_stop_the_install(
        self, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = tmp_path / "bin" / "uv"
        broken.parent.mkdir()
        broken.write_text(
            '#!/bin/sh\n[ "$1" = --version ] && echo uv 0.9.9 && exit 0\necho "error: boom" >&2; exit 2\n'
        )
        broken.chmod(0o755)
        monkeypatch.setenv("PATH", the_path(broken.parent))
        evidence = install(a_workspace(tmp_path / "work", lock))
        assert "(uv failed: boom)" in evidence.summary
        assert "pip" in evidence.details["installer"]

    @pytest.mark.usefixtures("with_installer")
    def test_a_changed_package_is_refused_whatever_the_installer(self, tmp_path: Path, lock: str, wheels: Path) -> None:
        make_wheel(wheels, "alpha", "1.2.0", modules={"alpha/__init__.py": "import os  # not what was locked\n"})
        workspace = a_workspace(tmp_path / "work", lock)
        with pytest.raises(SetupError, match="not the one that was locked"):
            install(workspace)
        assert version_in(workspace, "alpha") == []

    @pytest.mark.usefixtures("with_installer")
    def test_packages_of_the_users_own_survive_and_are_reported(self, tmp_path: Path, lock: str, wheels: Path) -> None:
        workspace = a_workspace(tmp_path / "work", lock)
        install(workspace)
        make_wheel(wheels, "gamma", "0.1")
        assert install(workspace, ["gamma"]).changed
        shutil.rmtree(packages_in(workspace) / "alpha")
        evidence = install(workspace)
        assert evidence.changed
        assert "gamma" in evidence.details["beyond_the_lock"]
        assert version_in(workspace, "gamma") == ["0.1"]

    def test_the_command_that_is_told_when_an_environment_is_made_anew_brings_the_users_packages_back(
        self, tmp_path: Path, lock: str, wheels: Path, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", the_path(uv_on_path))
        make_wheel(wheels, "gamma", "0.1")
        make_wheel(wheels, "gamma", "0.2")
        workspace = a_workspace(tmp_path / "work", lock)
        install(workspace, ["gamma<0.2"])
        workspace.python.unlink()
        evidence = bootstrap.ensure_environment(workspace, within(60))
        install(workspace)
        assert version_in(workspace, "gamma") == []
        command = re.search(r"the last one also had gamma==0\.1: after task 4, `(.*)` brings back", evidence.summary)
        assert command, evidence.summary
        (workspace.venv / "bin" / "uv").symlink_to(uv_on_path / "uv")  # as the project's lock brings it
        done = child.run(command[1].split(), within(60), cwd=workspace.root)
        assert (done.returncode, version_in(workspace, "gamma")) == (0, ["0.1"]), done.errors

    @pytest.mark.usefixtures("with_installer")
    def test_a_secret_in_the_index_address_is_nowhere_to_be_read(
        self, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "UV_CONFIG_FILE"):
            monkeypatch.delenv(name)
        for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
            monkeypatch.setenv(name, "http://someone:planted-secret@127.0.0.1:9/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        workspace = a_workspace(tmp_path / "work", lock)
        with pytest.raises(EnvironmentRefused, match="connection to the package index failed") as refusal:
            install(workspace)
        assert "planted-secret" not in str(refusal.value)
        written = [path for folder in (workspace.logs, workspace.state) for path in folder.rglob("*") if path.is_file()]
        for path in written:
            assert b"planted-secret" not in path.read_bytes(), path
        assert stat.S_IMODE(installers.log_file(workspace).stat().st_mode) == 0o600


class TestStamp:
    """Services are started anew when the packages that they run on were replaced, and only then."""

    @pytest.fixture
    def workspace(self, tmp_path: Path, lock: str, wheels: Path) -> Workspace:
        workspace = a_workspace(tmp_path / "work", lock)
        tool = make_wheel(wheels, "test-tool", "1.0")
        (workspace.root / "tests").mkdir()
        (workspace.root / "tests" / "requirements.lock").write_text(lock + lock_line(tool))
        install(workspace)
        return workspace

    def with_test_tools(self, workspace: Workspace) -> Evidence:
        return bootstrap.install(workspace, within(SECONDS), lock="tests/requirements.lock")

    def test_packages_that_the_tests_add_leave_it(self, workspace: Workspace) -> None:
        before = workspace.install_stamp.read_text()
        assert self.with_test_tools(workspace).reason == "missing: test-tool"
        assert workspace.install_stamp.read_text() == before

    def test_extra_requirements_leave_it(self, workspace: Workspace, wheels: Path) -> None:
        before = workspace.install_stamp.read_text()
        make_wheel(wheels, "gamma", "0.1")
        assert install(workspace, ["gamma"]).changed
        assert workspace.install_stamp.read_text() == before

    def test_a_replaced_package_of_the_platform_changes_it_whatever_the_lock(self, workspace: Workspace) -> None:
        before = workspace.install_stamp.read_text()
        (packages_in(workspace) / "alpha" / "part.py").unlink()
        assert self.with_test_tools(workspace).changed
        assert workspace.install_stamp.read_text() != before


def test_the_program_may_lie_elsewhere_than_the_workspace(tmp_path: Path, lock: str) -> None:
    program = a_workspace(tmp_path / "program", lock).root
    (tmp_path / "project").mkdir()
    workspace = Workspace(tmp_path / "project", program)
    workspace.prepare()
    assert install(workspace).changed
    assert bootstrap.installation_problem(workspace) is None
    assert run_in(workspace, "import alpha; print(alpha.VERSION)") == "1.2.0"
    assert sorted(path.name for path in workspace.root.iterdir()) == [".blueprint", ".venv", "logs"]


class TestExtras:
    @pytest.fixture
    def workspace(self, tmp_path: Path, lock: str, with_installer: str) -> Workspace:
        workspace = a_workspace(tmp_path / "work", lock)
        assert with_installer in install(workspace).details["installer"]
        return workspace

    def test_an_extra_requirement_and_what_it_needs_are_installed_once(
        self, workspace: Workspace, wheels: Path
    ) -> None:
        make_wheel(wheels, "gamma", "2.0", requires=["delta>=1", "alpha>=1"])
        make_wheel(wheels, "delta", "1.5")
        first = install(workspace, ["gamma>=2"])
        assert (first.changed, first.reason) == (True, "extra requirements missing: gamma>=2")
        assert version_in(workspace, "delta") == ["1.5"]
        assert list((packages_in(workspace) / "gamma" / "__pycache__").glob("part.*.pyc"))
        assert not install(workspace, ["gamma>=2"]).changed

    def test_what_an_extra_needs_is_brought_back(self, workspace: Workspace, wheels: Path) -> None:
        make_wheel(wheels, "gamma", "2.0", requires=["delta>=1"])
        make_wheel(wheels, "delta", "1.5")
        install(workspace, ["gamma"])
        shutil.rmtree(packages_in(workspace) / "delta-1.5.dist-info")
        assert install(workspace, ["gamma"]).changed
        assert version_in(workspace, "delta") == ["1.5"]

    def test_another_version_of_a_locked_package_is_refused_by_name(self, workspace: Workspace) -> None:
        with pytest.raises(SetupError, match=r"`alpha<1\.2` cannot be had together with alpha==1\.2\.0"):
            install(workspace, ["alpha<1.2"])
        assert version_in(workspace, "alpha") == ["1.2.0"]

    def test_a_conflict_further_down_names_both_sides(self, workspace: Workspace, wheels: Path) -> None:
        make_wheel(wheels, "gamma", "2.0", requires=["delta"])
        make_wheel(wheels, "delta", "1.5", requires=["alpha<1.2"])
        with pytest.raises(SetupError, match=r"`gamma` cannot be had together with alpha==1\.2\.0") as failure:
            install(workspace, ["gamma"])
        assert CONFLICT.is_told_by(failure.value), failure.value
        assert "delta" in failure.value.what
        assert failure.value.details["conflicts_with"] == ["alpha==1.2.0"]
        assert version_in(workspace, "gamma") == []

    def test_a_failed_build_is_told_by_its_own_error(
        self, workspace: Workspace, wheels: Path, with_installer: str
    ) -> None:
        make_failing_source(wheels, "broken", "1.0", "libfoo 3 or newer is needed")
        with pytest.raises(SetupError) as failure:
            install(workspace, ["broken"])
        assert failure.value.what == (
            "The extra requirements (broken) cannot be installed: RuntimeError: libfoo 3 or newer is needed"
        )
        assert "configuring" in Path(failure.value.where_to_look).read_text(), with_installer

    def test_a_misspelt_requirement_is_called_so(self, workspace: Workspace) -> None:
        with pytest.raises(SetupError, match=r"No package fits the extra requirements \(gamam\)"):
            install(workspace, ["gamam"])


class TestInterruption:
    @pytest.mark.usefixtures("with_installer")
    def test_an_install_killed_in_the_middle_is_finished_by_the_next(self, tmp_path: Path, wheels: Path) -> None:
        many = {f"big/m{number}.py": f"VALUE = {number}\n" * 50 for number in range(600)}
        lock = lock_line(make_wheel(wheels, "big", "1.0", modules=many)) + lock_line(
            make_wheel(wheels, "alpha", "1.2.0")
        )
        workspace = a_workspace(tmp_path / "work", lock)
        bootstrap.ensure_environment(workspace, within(60))
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
            "from blueprint import bootstrap; from blueprint.core.task import within\n"
            "from blueprint.core.workspace import Workspace\n"
            "bootstrap.install(Workspace(Path(sys.argv[2])), within(100))\n"
        )
        argv = [sys.executable, "-c", code, str(REPO), str(workspace.root)]
        process = subprocess.Popen(argv, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        moment = threading.Event()
        while process.poll() is None and not any((packages_in(workspace) / "big").glob("m*.py")):
            moment.wait(0.002)
        assert process.poll() is None, process.communicate()
        _kill_with_children(process)
        assert bootstrap.installation_problem(workspace)
        assert install(workspace).changed
        assert run_in(workspace, "import big.m599, alpha; print(big.m599.VALUE)") == "599"

    @pytest.mark.parametrize("seed", range(8))
    def test_a_kill_while_the_environment_is_made_anew_leaves_one_that_can_be_mended(
        self, tmp_path: Path, lock: str, seed: int
    ) -> None:
        workspace = a_workspace(tmp_path / "work", lock)
        bootstrap.ensure_environment(workspace, within(60))
        for number in range(200):
            (packages_in(workspace) / f"mine{number}").mkdir()
        workspace.python.unlink()
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
            "from blueprint import bootstrap; from blueprint.core.task import within\n"
            "from blueprint.core.workspace import Workspace\n"
            "print('ready', flush=True)\n"
            "bootstrap.ensure_environment(Workspace(Path(sys.argv[2])), within(100))\n"
        )
        argv = [sys.executable, "-c", code, str(REPO), str(workspace.root)]
        process = subprocess.Popen(argv, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.readline()
        threading.Event().wait(random.Random(seed).uniform(0, 0.12))
        _kill_with_children(process)
        bootstrap.ensure_environment(workspace, within(60))
        assert problem(workspace.venv) is None
        assert run_in(workspace, "print('runs')") == "runs"

    def test_an_interrupt_ends_the_installer_within_a_second(
        self, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow = tmp_path / "bin" / "uv"
        slow.parent.mkdir()
        slow.write_text('#!/bin/sh\n[ "$1" = --version ] && echo uv 0.9.9 && exit 0\nexec sleep 60\n')
        slow.chmod(0o755)
        monkeypatch.setenv("PATH", the_path(slow.parent))
        workspace = a_workspace(tmp_path / "work", lock)
        bootstrap.ensure_environment(workspace, within(60))
        control = within(60)
        threading.Timer(0.5, control.stopped.set).start()
        began = time.monotonic()
        with pytest.raises(TaskStopped):
            bootstrap.install(workspace, control)
        assert time.monotonic() - began < 2


def _kill_with_children(process: subprocess.Popen[bytes]) -> None:
    try:
        leader = psutil.Process(process.pid)
        family = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=5)
    process.communicate()
