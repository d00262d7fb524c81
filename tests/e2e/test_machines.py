"""Installs on machines that lack something, or stand in the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.bootstrap.environment import base_python
from blueprint.core import child
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
from tests.support.environments import REPO, a_workspace, install, packages_in, run_in, the_path
from tests.support.install_faults import FULL_DISK
from tests.support.wheels import lock_line, make_wheel


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
