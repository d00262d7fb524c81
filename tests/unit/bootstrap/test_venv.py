"""Task 2: what makes a `.venv` unusable is named, mended, and never at the cost of somebody's files."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.bootstrap.environment import base_python
from blueprint.core import child
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.task import within
from blueprint.core.venv import problem, site_packages
from blueprint.core.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "checkout"
    root.mkdir()
    return Workspace(root)


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    bootstrap.ensure_environment(workspace, within(60))
    return workspace


def set_config(venv: Path, key: str, value: str) -> None:
    path = venv / "pyvenv.cfg"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{key} =")]
    path.write_text("\n".join([*lines, f"{key} = {value}"]) + "\n")


def lose_the_base(venv: Path) -> None:
    set_config(venv, "home", "/nowhere/bin")


def lose_the_interpreter(venv: Path) -> None:
    (venv / "bin" / "python").unlink()


def dangle(venv: Path) -> None:
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("/nowhere/bin/python3.11")


def upgrade_the_system(venv: Path) -> None:
    newer = venv.parent / "python3.99"
    newer.write_text("#!/bin/sh\n")
    newer.chmod(0o755)
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(newer)


def break_the_interpreter(venv: Path) -> None:
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").write_text("#!/bin/sh\necho 'cannot load libpython' >&2\nexit 127\n")
    (venv / "bin" / "python").chmod(0o755)


BREAKS: list[tuple[Callable[[Path], object], str]] = [
    (shutil.rmtree, "there is no .venv"),
    (lambda venv: (venv / "pyvenv.cfg").write_text(""), "it is incomplete"),
    (lambda venv: set_config(venv, "version", "3.10.13"), "its Python 3.10 is too old"),
    (lose_the_base, "the Python that it was made from is gone"),
    (lose_the_interpreter, "its bin/python is missing"),
    (dangle, "its bin/python is a dangling link"),
    (upgrade_the_system, "its bin/python is now python3.99"),
    (lambda venv: shutil.rmtree(site_packages(venv)), "site-packages is missing"),
    (lambda venv: shutil.rmtree(venv / "lib"), "site-packages is missing"),
    (break_the_interpreter, "its Python does not run (cannot load libpython)"),
]


@pytest.mark.parametrize(("break_it", "reason"), BREAKS, ids=[reason for _, reason in BREAKS])
def test_a_broken_environment_is_made_anew_and_the_reason_told(
    made: Workspace, break_it: Callable[[Path], object], reason: str
) -> None:
    break_it(made.venv)
    evidence = bootstrap.ensure_environment(made, within(60))
    assert evidence.changed
    assert reason in evidence.reason
    again = bootstrap.ensure_environment(made, within(60))
    assert (again.changed, again.reason) == (False, "")
    assert child.run([made.python, "-c", "pass"], within(10)).returncode == 0


def test_a_healthy_environment_is_left_alone(made: Workspace) -> None:
    mine = site_packages(made.venv) / "mine.py"
    mine.write_text("")
    before = (made.venv / "pyvenv.cfg").stat().st_mtime_ns
    assert not bootstrap.ensure_environment(made, within(60)).changed
    assert mine.exists()
    assert (made.venv / "pyvenv.cfg").stat().st_mtime_ns == before


def test_no_other_user_can_enter_it(made: Workspace) -> None:
    """Who can open uv's lock file in it can hold the lock, and the installer waits for ever."""
    for mode in (0o700, 0o755):
        made.venv.chmod(mode)
        bootstrap.ensure_environment(made, within(60))
        assert stat.S_IMODE(made.venv.stat().st_mode) == 0o700


def test_a_look_at_the_environment_starts_no_process(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert problem(made.venv) is None
    lose_the_interpreter(made.venv)
    assert problem(made.venv) == "its bin/python is missing"


class TestMoved:
    def test_a_copied_checkout_does_not_run_the_scripts_of_the_first(self, made: Workspace, tmp_path: Path) -> None:
        shutil.copytree(made.root, tmp_path / "copy", symlinks=True)
        copy = Workspace(tmp_path / "copy")
        assert f"another folder ({made.venv})" in (problem(copy.venv) or "")
        assert bootstrap.ensure_environment(copy, within(60)).changed
        assert problem(made.venv) is None

    def test_one_that_somebody_else_made_and_moved_is_noticed_too(self, workspace: Workspace, tmp_path: Path) -> None:
        subprocess.run([base_python(), "-m", "venv", "--without-pip", str(workspace.venv)], check=True)
        assert problem(workspace.venv) is None
        workspace.root.rename(tmp_path / "moved")
        assert "another folder" in (problem(Workspace(tmp_path / "moved").venv) or "")

    def test_a_checkout_reached_by_a_link_is_the_same_folder(self, made: Workspace, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(made.root)
        assert problem(Workspace(tmp_path / "link").venv) is None
        assert not bootstrap.ensure_environment(Workspace(tmp_path / "link"), within(60)).changed


class TestSomebodysFiles:
    def test_a_folder_that_is_no_environment_is_never_emptied(self, workspace: Workspace) -> None:
        workspace.venv.mkdir()
        (workspace.venv / "thesis.txt").write_text("years of work")
        with pytest.raises(EnvironmentRefused, match="not a virtual environment") as refusal:
            bootstrap.ensure_environment(workspace, within(60))
        assert "Move it away" in str(refusal.value)
        assert (workspace.venv / "thesis.txt").read_text() == "years of work"

    def test_a_file_in_its_place_is_never_removed(self, workspace: Workspace) -> None:
        workspace.venv.write_text("keep me")
        with pytest.raises(EnvironmentRefused, match="cannot be replaced"):
            bootstrap.ensure_environment(workspace, within(60))
        assert workspace.venv.read_text() == "keep me"

    def test_what_a_link_leads_to_is_never_emptied(self, made: Workspace, tmp_path: Path) -> None:
        other = Workspace(tmp_path / "other")
        other.root.mkdir()
        other.venv.symlink_to(made.venv)
        lose_the_interpreter(made.venv)
        with pytest.raises(EnvironmentRefused, match="is a link to"):
            bootstrap.ensure_environment(other, within(60))
        assert site_packages(made.venv).is_dir()

    def test_an_empty_folder_is_nobodys(self, workspace: Workspace) -> None:
        workspace.venv.mkdir()
        assert bootstrap.ensure_environment(workspace, within(60)).changed

    def test_what_a_link_inside_leads_to_survives_the_rebuild(self, made: Workspace, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        (shared / "data.csv").write_text("1")
        (made.venv / "shared").symlink_to(shared)
        lose_the_interpreter(made.venv)
        bootstrap.ensure_environment(made, within(60))
        assert (shared / "data.csv").read_text() == "1"


def test_a_folder_that_venv_cannot_serve_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    root = tmp_path / "a:b"  # no PATH can name it
    root.mkdir()
    with pytest.raises(EnvironmentRefused, match="No virtual environment can be made") as refusal:
        bootstrap.ensure_environment(Workspace(root), within(60))
    assert "PATH separator" in refusal.value.what


def test_the_base_python_is_outside_any_environment() -> None:
    answer = child.run([base_python(), "-c", "import sys; print(sys.prefix == sys.base_prefix)"], within(10))
    assert answer.output.strip() == "True"
    assert Path(base_python()).exists()
    assert sys.version_info >= (3, 11)


def test_packages_that_the_user_added_are_listed_before_it_is_made_anew(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    workspace.root.mkdir()
    workspace.requirements.write_text(f"alpha==1 --hash=sha256:{'0' * 64}\n")
    bootstrap.ensure_environment(workspace, within(60))
    sources = {
        "alpha-1": None,
        "gamma-0.1": None,
        "mine-2": {"url": "file:///home/me/mine", "dir_info": {"editable": True}},
        "other-3": {"url": "https://example.com/other-3.tar.gz", "archive_info": {}},
        "placed-4": {"url": "file:///home/me/a%20b", "dir_info": {"editable": True}},
        "cloned-5": {
            "url": "https://example.com/cloned",
            "vcs_info": {"vcs": "git", "commit_id": "c0ffee", "requested_revision": "main"},
            "subdirectory": "python",
        },
    }
    for name, source in sources.items():
        folder = site_packages(workspace.venv) / f"{name}.dist-info"
        folder.mkdir()
        if source:
            (folder / "direct_url.json").write_text(json.dumps(source))
    listed = [
        "-e /home/me/a b",
        "-e /home/me/mine",
        "cloned @ git+https://example.com/cloned@c0ffee#subdirectory=python",
        "gamma==0.1",
        "other @ https://example.com/other-3.tar.gz",
    ]
    workspace.python.unlink()
    evidence = bootstrap.ensure_environment(workspace, within(60))
    assert sorted(workspace.lost_packages.read_text().splitlines()) == listed
    assert "gamma==0.1" in evidence.summary
    assert str(workspace.lost_packages.relative_to(workspace.root)) in evidence.summary

    (workspace.venv / "pyvenv.cfg").write_text("")  # as where it is killed in the middle
    assert "gamma==0.1" in bootstrap.ensure_environment(workspace, within(60)).summary
    assert "gamma" not in bootstrap.ensure_environment(workspace, within(60)).summary  # nothing is lost by a look
    workspace.python.unlink()
    assert "gamma" not in bootstrap.ensure_environment(workspace, within(60)).summary
    assert not workspace.lost_packages.exists()
