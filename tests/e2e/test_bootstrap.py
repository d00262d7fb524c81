"""The bootstrap with real virtual environments and real installs.

Most of it installs small wheels made on the spot, from a folder and with no index; the project's own lock is
installed once by uv and once by pip.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil
import pytest

from blueprint import bootstrap
from blueprint.bootstrap import installers
from blueprint.bootstrap.environment import base_python
from blueprint.bootstrap.installed import compare, scan
from blueprint.bootstrap.lockfile import read_lock, select
from blueprint.core import child
from blueprint.core.errors import EnvironmentRefused, SetupError, UsageError
from blueprint.core.task import Evidence, TaskStopped, within
from blueprint.core.venv import problem, site_packages
from blueprint.core.workspace import Workspace
from tests.support.install_faults import CONFLICT, FULL_DISK
from tests.support.web import send, serving
from tests.support.wheels import lock_line, make_failing_source, make_source, make_wheel

REPO = Path(__file__).resolve().parents[2]
SECONDS = 280


def a_workspace(root: Path, lock: str) -> Workspace:
    root.mkdir(parents=True, exist_ok=True)
    (root / "requirements.lock").write_text(lock)
    workspace = Workspace(root)
    workspace.prepare()
    return workspace


def install(workspace: Workspace, extra: Sequence[str] = ()) -> Evidence:
    bootstrap.ensure_environment(workspace, within(60))
    return bootstrap.install(workspace, within(SECONDS), extra=extra)


def run_in(workspace: Workspace, code: str) -> str:
    done = child.run([workspace.python, "-c", code], within(60), cwd=workspace.root)
    assert done.returncode == 0, done.errors
    return done.output.strip()


def version_in(workspace: Workspace, name: str) -> list[str]:
    return [each.version for each in scan(site_packages(workspace.venv)).get(name, [])]


def packages_in(workspace: Workspace) -> Path:
    return site_packages(workspace.venv)


@pytest.fixture(scope="session")
def uv_on_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but uv in it: the one beside this Python, or the one on PATH."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.fail("these tests need uv: it is in requirements.lock")
    folder = tmp_path_factory.mktemp("only-uv")
    (folder / "uv").symlink_to(Path(found).resolve())
    return folder


def the_path(*folders: Path) -> str:
    """A PATH on which no uv is found unless one of `folders` has it."""
    return os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"])


@pytest.fixture(scope="module")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own for what is made on the spot; the project's lock comes from the user's."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv_cache: Path) -> Path:
    """A folder of wheels that is all that uv and pip are told of; nothing reaches an index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    for_uv = tmp_path / "for-uv.toml"
    for_uv.write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(for_uv))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # should an installer ask an index after all, it gets nowhere
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    return folder


@pytest.fixture(scope="module")
def repaired() -> dict[str, Workspace]:
    """One environment for each installer, made by the first test that needs it."""
    return {}


@pytest.fixture(params=["uv", "pip"])
def with_installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path) -> str:
    monkeypatch.setenv("PATH", the_path(uv_on_path) if request.param == "uv" else the_path())
    return str(request.param)


@pytest.fixture
def lock(wheels: Path) -> str:
    """Three packages; the one that reads markers is among them, as in the real lock."""
    alpha = make_wheel(wheels, "alpha", "1.2.0")
    make_wheel(wheels, "alpha", "1.1.0")
    beta = make_wheel(wheels, "beta-tools", "3.0")
    return lock_line(alpha) + lock_line(beta)


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


class TestHostileIndex:
    """An index that serves what it likes, over HTTP; what the lock's hashes do not cover is its own."""

    @pytest.fixture
    def index(self, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """The folder of an index that both installers are told of: a folder in it for each package."""
        assert wheels
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "UV_CONFIG_FILE", "UV_CACHE_DIR"):
            monkeypatch.delenv(name)
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        folder = tmp_path / "index"
        folder.mkdir()

        def answer(request: BaseHTTPRequestHandler) -> None:
            found = folder / request.path.strip("/")
            links = "".join(f'<a href="{each.name}">{each.name}</a>' for each in found.glob("*"))
            body = found.read_bytes() if found.is_file() else links.encode()
            send(request, body, status=200 if found.exists() else 404, Content_Type="text/html")

        with serving(answer) as address:
            for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
                monkeypatch.setenv(name, address)
            yield folder

    @pytest.mark.usefixtures("with_installer")
    def test_what_builds_a_source_package_is_locked_by_no_hash_and_is_not_run(
        self, index: Path, tmp_path: Path
    ) -> None:
        """The index withholds the wheel and serves the source package, as locked, and a builder of its own."""
        ran = tmp_path / "ran"
        code = f"open({str(ran)!r}, 'w').write('as the owner')\n"
        make_wheel(index / "builder", "builder", "9.9", modules={"builder.py": code})
        source = make_source(index / "alpha", "alpha", "1.2.0", "builder", requires=["builder"])
        with pytest.raises(EnvironmentRefused) as refusal:
            install(a_workspace(tmp_path / "work", lock_line(source)))
        assert not ran.exists()
        assert refusal.value.what.startswith("A locked package cannot be had as a wheel for Python ")
        assert "alpha" in refusal.value.what
        assert "Source packages are not built" in refusal.value.hint

    def test_what_no_hash_locks_is_not_asked_of_others_than_the_user_told_uv(
        self, index: Path, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path
    ) -> None:
        """The user's index, which uv is told of, lacks a package; one of its name is where pip looks by itself."""
        monkeypatch.setenv("PATH", the_path(uv_on_path))
        alpha = make_wheel(index / "alpha", "alpha", "1.2.0")
        workspace = a_workspace(tmp_path / "work", lock_line(alpha))
        install(workspace)
        monkeypatch.delenv("PIP_INDEX_URL")
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where pip would look by itself is not for a test
        monkeypatch.setenv("PIP_RETRIES", "0")
        make_wheel(wheels, "internal", "99")
        with pytest.raises(SetupError, match=r"No package fits the extra requirements \(internal\)"):
            install(workspace, ["internal"])
        assert version_in(workspace, "internal") == []

    @pytest.mark.parametrize(("strategy", "version"), [("", "1.0"), ("unsafe-best-match", "99")])
    def test_uv_asks_one_index_after_the_other_unless_the_user_says_otherwise(
        self,
        index: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        uv_on_path: Path,
        strategy: str,
        version: str,
    ) -> None:
        monkeypatch.setenv("PATH", the_path(uv_on_path))
        alpha = make_wheel(index / "public" / "alpha", "alpha", "1.2.0")
        make_wheel(index / "public" / "internal", "internal", "99")
        make_wheel(index / "private" / "internal", "internal", "1.0")
        address = os.environ["UV_DEFAULT_INDEX"]
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{address}/public")
        monkeypatch.setenv("UV_INDEX", f"{address}/private")
        if strategy:
            monkeypatch.setenv("UV_INDEX_STRATEGY", strategy)
        workspace = a_workspace(tmp_path / "work", lock_line(alpha))
        evidence = install(workspace, ["internal"])
        assert version_in(workspace, "internal") == [version]
        assert "unhashed beside them internal" in evidence.summary
        assert evidence.details["unhashed_requirements"] == ["internal"]


class TestRequirementsLock:
    """The user's own lock of the further requirements."""

    @pytest.fixture
    def workspace(self, tmp_path: Path, lock: str, wheels: Path, with_installer: str) -> Workspace:
        assert with_installer
        workspace = a_workspace(tmp_path / "work", lock)
        gamma = make_wheel(wheels, "gamma", "2.0", requires=["delta", "alpha"])
        text = lock_line(gamma) + lock_line(make_wheel(wheels, "delta", "1.5"))
        (workspace.root / "my.lock").write_text(text + lock_line(wheels / "alpha-1.2.0-py3-none-any.whl"))
        return workspace

    def install(self, workspace: Workspace, extra: Sequence[str] = ("gamma",)) -> Evidence:
        bootstrap.ensure_environment(workspace, within(60))
        return bootstrap.install(workspace, within(SECONDS), extra=extra, further=workspace.root / "my.lock")

    def test_exactly_its_packages_are_installed(self, workspace: Workspace, wheels: Path) -> None:
        make_wheel(wheels, "delta", "1.6")
        evidence = self.install(workspace)
        assert (evidence.reason, evidence.details["unhashed_requirements"]) == (
            "missing: alpha, beta-tools, gamma, delta",
            [],
        )
        assert "unhashed" not in evidence.summary
        assert (version_in(workspace, "gamma"), version_in(workspace, "delta")) == (["2.0"], ["1.5"])
        assert not self.install(workspace).changed
        further = workspace.root / "my.lock"
        assert bootstrap.installation_problem(workspace, extra=["gamma"], further=further) is None

    def test_a_changed_package_is_refused(self, workspace: Workspace, wheels: Path) -> None:
        make_wheel(wheels, "delta", "1.5", modules={"delta.py": "import os  # not what was locked\n"})
        with pytest.raises(SetupError, match="not the one that was locked"):
            self.install(workspace)
        assert version_in(workspace, "delta") == []

    def test_a_requirement_that_it_does_not_lock_is_refused_and_not_fetched(
        self, workspace: Workspace, wheels: Path
    ) -> None:
        make_wheel(wheels, "epsilon", "1.0")
        with pytest.raises(UsageError, match=r"my\.lock does not lock what these need: epsilon"):
            self.install(workspace, ["gamma", "epsilon"])
        assert version_in(workspace, "epsilon") == []


class TestWhereOnlyPipIsConfigured:
    """The user is behind a mirror or a proxy, and has told pip alone."""

    @pytest.fixture(autouse=True)
    def with_uv_that_is_told_nothing(
        self, lock: str, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path, tmp_path: Path
    ) -> None:
        assert lock
        monkeypatch.setenv("PATH", the_path(uv_on_path))
        for name in ("UV_CONFIG_FILE", "PIP_NO_INDEX", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name)
        file = tmp_path / "pip.conf"
        file.write_text(f"[global]\nno-index = true\nfind-links = {tmp_path / 'wheels'}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(file))

    def test_pip_does_the_work_and_the_user_is_told_why(self, tmp_path: Path, lock: str) -> None:
        evidence = install(a_workspace(tmp_path / "work", lock))
        assert "pip " in evidence.details["installer"]
        assert "(uv was not used: only pip is told of no-index)" in evidence.summary

    def test_its_file_does_not_send_the_packages_elsewhere(self, tmp_path: Path, lock: str) -> None:
        elsewhere = tmp_path / "elsewhere"
        (tmp_path / "constraint.txt").write_text("alpha==1.1.0\n")
        with (tmp_path / "pip.conf").open("a") as file:
            file.write(f"target = {elsewhere}\nconstraint = {tmp_path / 'constraint.txt'}\n")
            file.write(f"[install]\nprefix = {elsewhere}\nroot = {elsewhere}\ndry-run = yes\nquiet = 3\n")
        workspace = a_workspace(tmp_path / "work", lock)
        assert "pip " in install(workspace).details["installer"]
        assert not elsewhere.exists()
        assert run_in(workspace, "import alpha; print(alpha.VERSION)") == "1.2.0"

    def test_a_further_place_of_pips_is_asked_for_what_no_hash_locks(
        self, tmp_path: Path, lock: str, wheels: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace = a_workspace(tmp_path / "work", lock)
        install(workspace)
        make_wheel(wheels, "gamma", "0.1")
        (tmp_path / "pip.conf").write_text(f"[global]\nfind-links = {wheels}\n")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        evidence = install(workspace, ["gamma"])
        assert evidence.details["notes"] == ["uv was not used: only pip is told of find-links"]
        assert version_in(workspace, "gamma") == ["0.1"]


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


class TestRepair:
    """Each test breaks the same environment and leaves it repaired."""

    @pytest.fixture
    def workspace(
        self, tmp_path_factory: pytest.TempPathFactory, lock: str, with_installer: str, repaired: dict[str, Workspace]
    ) -> Workspace:
        if with_installer not in repaired:
            repaired[with_installer] = a_workspace(tmp_path_factory.mktemp("repair") / "work", lock)
        assert install(repaired[with_installer]).details["packages"] == 2
        return repaired[with_installer]

    def see_repaired(self, workspace: Workspace, reason: str) -> None:
        evidence = install(workspace)
        assert evidence.changed
        assert re.search(reason, evidence.reason), evidence.reason
        assert run_in(workspace, "import alpha.part, beta_tools; print(alpha.VERSION)") == "1.2.0"
        assert version_in(workspace, "alpha") == ["1.2.0"]
        assert not install(workspace).changed

    def test_another_version_is_brought_back(self, workspace: Workspace, wheels: Path, tmp_path: Path) -> None:
        other = a_workspace(tmp_path / "other", lock_line(wheels / "alpha-1.1.0-py3-none-any.whl"))
        install(other)
        for name in ("alpha", "alpha-1.2.0.dist-info"):
            shutil.rmtree(packages_in(workspace) / name)
        for name in ("alpha", "alpha-1.1.0.dist-info"):
            shutil.copytree(packages_in(other) / name, packages_in(workspace) / name)
        self.see_repaired(workspace, r"alpha is 1\.1\.0 instead of 1\.2\.0")

    def test_a_missing_module_is_noticed(self, workspace: Workspace) -> None:
        (packages_in(workspace) / "alpha" / "part.py").unlink()
        self.see_repaired(workspace, r"alpha is damaged \(alpha/part\.py is missing\)")

    def test_a_cut_off_module_is_noticed(self, workspace: Workspace) -> None:
        module = packages_in(workspace) / "alpha" / "__init__.py"
        module.unlink()  # uv shares the file with its cache: never write into it
        module.write_text("VERS")
        self.see_repaired(workspace, r"alpha is damaged \(alpha/__init__\.py has 4 bytes")

    def test_an_edit_of_the_same_size_is_noticed(self, workspace: Workspace) -> None:
        part = packages_in(workspace) / "alpha" / "part.py"
        assert run_in(workspace, "import alpha.part; print(alpha.part.PART)") == "1"
        part.write_text("PART = 2\n")
        self.see_repaired(workspace, r"alpha is damaged \(alpha/part\.py is not what was installed\)")
        assert run_in(workspace, "import alpha.part; print(alpha.part.PART)") == "1"

    def test_a_file_that_runs_at_every_start_of_python_and_is_no_packages_is_told(self, workspace: Workspace) -> None:
        planted = packages_in(workspace) / "planted.pth"
        planted.write_text("import os\n")
        try:
            evidence = install(workspace)
        finally:
            planted.unlink()
        assert "code runs from planted.pth, which no package has brought" in evidence.summary
        assert evidence.details["unowned_startup_files"] == ["planted.pth"]

    def test_a_package_without_its_record_is_noticed(self, workspace: Workspace) -> None:
        (packages_in(workspace) / "alpha-1.2.0.dist-info" / "RECORD").unlink()
        self.see_repaired(workspace, r"alpha is damaged \(it has no RECORD")

    def test_a_leftover_of_a_broken_upgrade_is_noticed(self, workspace: Workspace) -> None:
        info = packages_in(workspace) / "alpha-1.2.0.dist-info"
        shutil.copytree(info, info.with_name("alpha-1.0.dist-info"))
        self.see_repaired(workspace, "alpha is there twice")

    def test_missing_bytecode_is_compiled_again_without_an_installer(self, workspace: Workspace) -> None:
        shutil.rmtree(packages_in(workspace) / "alpha" / "__pycache__")
        evidence = install(workspace)
        assert (evidence.changed, evidence.details["installer"]) == (True, "compileall")
        assert evidence.reason == "2 of 4 modules have no bytecode"
        assert not install(workspace).changed

    def test_bytecode_of_another_source_is_not_taken_for_compiled(self, workspace: Workspace) -> None:
        module = packages_in(workspace) / "alpha" / "__init__.py"
        content = module.read_bytes()
        module.unlink()  # uv shares the file with its cache
        module.write_bytes(content)
        os.utime(module, (1_000_000_000, 1_000_000_000))
        assert "no bytecode" in (bootstrap.installation_problem(workspace) or "")
        assert install(workspace).changed
        assert bootstrap.installation_problem(workspace) is None


class TestUvsCache:
    """All checkouts of a user share it."""

    @pytest.fixture(autouse=True)
    def own_cache(self, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path) -> Path:
        assert lock  # it names the cache of all tests first
        monkeypatch.setenv("PATH", the_path(uv_on_path))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_an_edit_in_one_checkout_does_not_reach_the_next(self, tmp_path: Path, lock: str) -> None:
        for name in ("one", "other"):
            workspace = a_workspace(tmp_path / name, lock)
            assert "uv" in install(workspace).details["installer"]
            assert run_in(workspace, "import alpha.part; print(alpha.part.PART)") == "1"
            with (packages_in(workspace) / "alpha" / "part.py").open("r+") as file:
                file.write("PART = 2\n")

    def test_what_was_changed_in_it_is_not_taken_for_what_was_locked(
        self, tmp_path: Path, lock: str, own_cache: Path
    ) -> None:
        """As by an older version of this program, which shared its files, or by another tool that still does."""
        install(a_workspace(tmp_path / "one", lock))
        next(own_cache.rglob("alpha/part.py")).write_text("PART = 2\n")
        workspace = a_workspace(tmp_path / "other", lock)
        evidence = install(workspace)
        assert "uv reported success, but alpha is damaged (alpha/part.py is not what" in evidence.summary
        assert run_in(workspace, "import alpha.part; print(alpha.part.PART)") == "1"


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


@pytest.fixture(scope="module")
def stock_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real interpreter as stock Debian has it: the whole standard library but `ensurepip`, and no pip."""
    prefix = tmp_path_factory.mktemp("stock")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = prefix / "lib" / version
    library.mkdir(parents=True)
    (prefix / "bin").mkdir()
    python = prefix / "bin" / version
    shutil.copy2(Path(base_python()).resolve(), python)
    for entry in Path(os.__file__).parent.iterdir():
        if entry.name not in ("ensurepip", "site-packages", "dist-packages", "sitecustomize.py"):
            (library / entry.name).symlink_to(entry)
    (library / "site-packages").mkdir()
    return python


class TestStockDebian:
    """The door's Python has no ensurepip: what `python -m venv` needs is not there."""

    DOOR = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from blueprint import bootstrap
from blueprint.core import venv
from blueprint.core.errors import BlueprintError
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
workspace = Workspace(Path(sys.argv[2]))
try:
    made = bootstrap.ensure_environment(workspace, within(60))
    evidence = bootstrap.install(workspace, within(200))
except BlueprintError as error:
    print(json.dumps({"what": error.what, "hint": error.hint}))
else:
    print(json.dumps({"reason": made.reason, "base": made.details["base"], "installer": evidence.details["installer"]}))
"""

    def door(self, python: Path, workspace: Workspace) -> dict[str, str]:
        done = child.run([python, "-I", "-c", self.DOOR, REPO, workspace.root], within(250))
        assert done.returncode == 0, done.errors
        return {str(key): str(value) for key, value in json.loads(done.output).items()}

    def test_the_simulation_is_what_debian_is(self, stock_python: Path, tmp_path: Path) -> None:
        done = child.run([stock_python, "-m", "venv", tmp_path / "v"], within(60))
        assert done.returncode != 0
        assert "ensurepip" in done.output + done.errors

    def test_with_uv_on_path_nothing_is_missed(
        self, stock_python: Path, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", the_path(uv_on_path))
        workspace = a_workspace(tmp_path / "work", lock)
        answer = self.door(stock_python, workspace)
        assert (answer["reason"], answer["base"]) == ("there is no .venv", str(stock_python.parents[1]))
        assert run_in(workspace, "import alpha; print(alpha.VERSION)") == "1.2.0"

    def test_with_the_systems_pip_nothing_is_missed(
        self, stock_python: Path, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        systems = stock_python.parents[1] / "lib" / stock_python.name / "site-packages" / "pip"
        import pip

        systems.symlink_to(Path(pip.__file__).parent)
        monkeypatch.setenv("PATH", the_path())
        try:
            workspace = a_workspace(tmp_path / "work", lock)
            answer = self.door(stock_python, workspace)
        finally:
            systems.unlink()
        assert answer["installer"].endswith(f"({stock_python})")
        assert run_in(workspace, "import alpha; print(alpha.VERSION)") == "1.2.0"

    def test_with_neither_the_user_is_told_what_to_install(
        self, stock_python: Path, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", the_path())
        answer = self.door(stock_python, a_workspace(tmp_path / "work", lock))
        assert answer["what"] == "There is no uv, no pip and no ensurepip on this machine."
        assert f"apt-get install {stock_python.name}-venv" in answer["hint"]

    def test_without_the_venv_module_uv_makes_the_environment(
        self, stock_python: Path, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path
    ) -> None:
        module = stock_python.parents[1] / "lib" / stock_python.name / "venv"
        target = module.readlink()
        module.unlink()
        try:
            monkeypatch.setenv("PATH", the_path(uv_on_path))
            workspace = a_workspace(tmp_path / "work", lock)
            assert "uv" in self.door(stock_python, workspace)["installer"]
            monkeypatch.setenv("PATH", the_path())
            refused = self.door(stock_python, a_workspace(tmp_path / "other", lock))
            assert "No module named venv" in refused["what"]
            assert "apt-get install" in refused["hint"]
        finally:
            module.symlink_to(target)


class TestUnfriendlyMachines:
    def test_a_home_that_cannot_be_written_does_not_stop_the_install(
        self, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch, with_installer: str
    ) -> None:
        monkeypatch.setenv("HOME", "/proc/nobody")  # not even root can make folders there
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "UV_CACHE_DIR"):
            monkeypatch.delenv(name, raising=False)
        workspace = a_workspace(tmp_path / "work", lock)
        assert with_installer in install(workspace).details["installer"]
        assert (workspace.state / "uv-cache").is_dir() == (with_installer == "uv")

    def test_a_folder_with_spaces_and_umlauts_works_in_a_c_locale(
        self, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch, with_installer: str
    ) -> None:
        monkeypatch.setenv("LC_ALL", "C")
        assert with_installer in install(a_workspace(tmp_path / "Größe der Welt", lock)).details["installer"]

    def test_variables_that_send_packages_elsewhere_do_not(
        self, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch, with_installer: str
    ) -> None:
        elsewhere = str(tmp_path / "elsewhere")
        for name in ("PIP_TARGET", "PIP_PREFIX", "UV_TARGET", "PYTHONUSERBASE"):
            monkeypatch.setenv(name, elsewhere)
        for name in ("PIP_USER", "PIP_DRY_RUN", "UV_SYSTEM_PYTHON", "PIP_NO_DEPS"):
            monkeypatch.setenv(name, "1")
        constraint = tmp_path / "constraint.txt"
        constraint.write_text("alpha==1.1.0\n")
        monkeypatch.setenv("PIP_CONSTRAINT", str(constraint))
        monkeypatch.setenv("UV_CONSTRAINT", str(constraint))
        assert with_installer in install(a_workspace(tmp_path / "work", lock)).details["installer"]
        assert not Path(elsewhere).exists()


class TestFullDisk:
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A real file system of 4 MB."""
        folder = tmp_path / "disk"
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False).returncode:
            pytest.skip("this user may not mount file systems")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)

    @pytest.mark.usefixtures("with_installer")
    def test_it_is_one_sentence_and_the_next_run_goes_on(self, small_disk: Path, wheels: Path) -> None:
        big = make_wheel(wheels, "big", "1.0", modules={"big/__init__.py": "", "big/data": "x" * 3_000_000})
        workspace = a_workspace(small_disk / "work", lock_line(big))
        bootstrap.ensure_environment(workspace, within(60))
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(2_000_000))
        with pytest.raises(EnvironmentRefused) as refusal:
            install(workspace)
        assert FULL_DISK.is_told_by(refusal.value), refusal.value
        ballast.unlink()
        assert install(workspace).changed
        assert run_in(workspace, "import big; print('there')") == "there"

    @pytest.mark.usefixtures("with_installer")
    def test_bytecode_that_it_cut_off_is_made_again(self, small_disk: Path, wheels: Path) -> None:
        """CPython keeps what it could write of it, and every import fails from then on, with room or without."""
        code = "".join(f"def number_{number}():\n    return {number}\n" for number in range(1_500))
        workspace = a_workspace(
            small_disk / "work", lock_line(make_wheel(wheels, "many", "1.0", modules={"many.py": code}))
        )
        install(workspace)
        compiled = next((packages_in(workspace) / "__pycache__").glob("many.*.pyc"))
        size = compiled.stat().st_size
        compiled.unlink()
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - size // 8192 * 4096))
        child.run([workspace.python, "-m", "compileall", "-q", packages_in(workspace) / "many.py"], within(60))
        ballast.unlink()
        if sys.version_info < (3, 12):
            assert compiled.stat().st_size < size
        assert install(workspace).changed
        assert run_in(workspace, "import many; print(many.number_7())") == "7"


DOOR_OF_TWO_STAGES = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from blueprint import bootstrap
from blueprint.core import venv
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
workspace = Workspace(Path(__file__).parent)
given = bootstrap.handover()
if not venv.inside(workspace.venv):
    made = bootstrap.ensure_environment(workspace, within(60))
    bootstrap.reexec(workspace, sys.argv[1:], {"pid": str(os.getpid()), "reason": made.reason})
bootstrap.verify_activation(workspace, within(10))
evidence = bootstrap.install(workspace, within(280))
print(json.dumps({"given": given, "pid": os.getpid(), "summary": evidence.summary, "reason": evidence.reason,
                  "details": evidence.details}))
"""


@dataclass(frozen=True)
class FirstRun:
    """What the two stages said."""

    workspace: Workspace
    given: dict[str, str]
    pid: int
    summary: str
    reason: str
    details: dict[str, Any]


class TestTheProjectsOwnLock:
    @pytest.fixture(scope="class")
    @classmethod
    def fetched(cls, tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
        """The real lock, from the Python below, in two stages, with no uv on PATH: it is fetched by its hash first."""
        workspace = a_workspace(tmp_path_factory.mktemp("own"), (REPO / "requirements.lock").read_text())
        door = workspace.root / "run_blueprint.py"
        door.write_text(DOOR_OF_TWO_STAGES)
        environment = {**os.environ, "PATH": the_path()}
        for name in ("VIRTUAL_ENV", "PYTHONPATH"):
            environment.pop(name, None)
        done = child.run([base_python(), door, REPO], within(SECONDS), env=environment)
        assert done.returncode == 0, done.errors
        return FirstRun(workspace=workspace, **json.loads(done.output))

    def test_the_execution_goes_on_in_the_environment_as_the_same_process(self, fetched: FirstRun) -> None:
        assert fetched.given == {"pid": str(fetched.pid), "reason": "there is no .venv"}

    def test_uv_is_fetched_and_the_whole_set_installed(self, fetched: FirstRun) -> None:
        workspace = fetched.workspace
        assert (fetched.details["notes"], fetched.reason[:8]) == ([], "missing:")
        assert fetched.summary.startswith(f"{fetched.details['packages']} packages as locked, Prefect ")
        assert fetched.details["installer"].endswith(f"({workspace.venv / 'bin' / 'uv'})")
        assert fetched.details["beyond_the_lock"] == []
        pins = select(read_lock(workspace.root / "requirements.lock"))
        assert {pin.name for pin in pins} == scan(packages_in(workspace)).keys()
        assert run_in(workspace, "import prefect; print(prefect.__version__)") == fetched.details["versions"]["prefect"]

    def test_nothing_is_missing_that_a_package_asks_for(self, fetched: FirstRun) -> None:
        workspace = fetched.workspace
        done = child.run([workspace.python, "-m", "pip", "check"], within(100))
        assert (done.returncode, done.output.strip()) == (0, "No broken requirements found.")

    def test_every_module_has_its_bytecode(self, fetched: FirstRun) -> None:
        workspace = fetched.workspace
        without = [
            path
            for path in packages_in(workspace).rglob("*.py")
            if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
        ]
        assert without == []
        assert fetched.details["modules_with_bytecode"] > 4000

    def test_a_second_look_changes_nothing_and_starts_no_installer(
        self, fetched: FirstRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace = fetched.workspace
        before = installers.log_file(workspace).read_text()
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
        assert not install(workspace).changed
        assert installers.log_file(workspace).read_text() == before

    def test_plain_pip_of_the_systems_age_installs_the_same_set(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The pip that comes with Python 3.11 is years older than the lock's: it must read the lock and its hashes."""
        monkeypatch.setattr(installers, "compile_bytecode", lambda *_: None)  # it takes long; TestInstall looks at it
        workspace = a_workspace(tmp_path / "work", (REPO / "requirements.lock").read_text())
        bootstrap.ensure_environment(workspace, within(60))
        assert child.run([workspace.python, "-m", "ensurepip"], within(60)).returncode == 0
        name = installers.install_with_pip(workspace, within(SECONDS), workspace.requirements)
        assert int(re.match(r"pip (\d+)", name)[1]) < 26  # type: ignore[index]
        pins = select(read_lock(workspace.root / "requirements.lock"))
        assert compare(pins, packages_in(workspace)).packages == frozenset()
