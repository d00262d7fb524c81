"""What is installed is believed by its content: damage of every kind is noticed and repaired."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.core.workspace import Workspace
from tests.support.environments import a_workspace, install, packages_in, run_in, the_path, version_in
from tests.support.wheels import lock_line


@pytest.fixture(scope="module")
def repaired() -> dict[str, Workspace]:
    """One environment for each installer, made by the first test that needs it."""
    return {}


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
