"""Task 1: what is missing to begin with is said before anything is touched."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueprint.bootstrap import project
from blueprint.bootstrap.project import NEEDED_FILES, verify_project
from blueprint.core.errors import EnvironmentRefused, SetupError
from blueprint.core.task import within
from blueprint.core.workspace import Workspace

LOCK = "alpha==1 --hash=sha256:" + "0" * 64 + "\n"


def a_checkout(root: Path) -> Workspace:
    for name in NEEDED_FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(LOCK)
    return Workspace(root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("this user may not mount file systems")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_whole_checkout_passes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    workspace = a_checkout(tmp_path / "work")
    before = sorted(workspace.root.rglob("*"))
    evidence = verify_project(workspace, within(10))
    assert evidence.details["files"] == list(NEEDED_FILES)
    assert not evidence.changed
    assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.parametrize("name", NEEDED_FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    workspace = a_checkout(tmp_path / "work")
    (workspace.root / name).unlink()
    with pytest.raises(SetupError, match=f"not a whole checkout of this project: {name} missing"):
        verify_project(workspace, within(10))


def test_this_repository_has_the_files_that_it_asks_for() -> None:
    root = Path(__file__).resolve().parents[3]
    assert [name for name in NEEDED_FILES if not (root / name).is_file()] == []


def test_an_old_python_is_told_which_to_use() -> None:
    with pytest.raises(EnvironmentRefused, match=r"Python 3\.10 is too old; 3\.11 or newer is needed") as refusal:
        project._require_python((3, 10))
    assert "python3.11 run_blueprint.py" in refusal.value.hint


def test_a_disk_too_full_for_the_environment_is_refused_before_the_install(small_disk: Path) -> None:
    with pytest.raises(EnvironmentRefused, match=r"has 0\.00 GB of free disk space; 1\.50 GB are needed"):
        verify_project(a_checkout(small_disk), within(10))


def test_a_file_system_on_which_nothing_can_be_started_is_told(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,noexec", str(small_disk)], check=True)
    with pytest.raises(EnvironmentRefused, match=f"{small_disk} is on a file system that is mounted noexec"):
        verify_project(a_checkout(small_disk), within(10))


def test_a_path_that_no_environment_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefused, match=r"a:b has a ':' in it, which separates the entries of PATH"):
        verify_project(a_checkout(tmp_path / "a:b"), within(10))


def test_an_installed_environment_needs_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from blueprint import bootstrap
    from blueprint.core.venv import site_packages

    workspace = a_checkout(tmp_path / "work")
    bootstrap.ensure_environment(workspace, within(60))
    monkeypatch.setattr(project, "BYTES_TO_INSTALL", 10**18)
    with pytest.raises(EnvironmentRefused, match="free disk space"):
        verify_project(workspace, within(10))
    (site_packages(workspace.venv) / "alpha-1.dist-info").mkdir()
    assert verify_project(workspace, within(10)).details["needed_bytes"] == project.BYTES_TO_RUN


def test_a_read_only_folder_is_one_sentence(small_disk: Path) -> None:
    workspace = a_checkout(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(EnvironmentRefused, match="read-only"):
        verify_project(workspace, within(10))
