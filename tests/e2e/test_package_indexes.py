"""Where packages come from: hostile indexes, locks of the user, and what only pip is told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.core.errors import EnvironmentRefused, SetupError, UsageError
from blueprint.core.task import Evidence, within
from blueprint.core.workspace import Workspace
from tests.support.environments import SECONDS, a_workspace, install, run_in, the_path, version_in
from tests.support.web import send, serving
from tests.support.wheels import lock_line, make_source, make_wheel


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
