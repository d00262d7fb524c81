"""A package index that fails in every way: what the user is told is the cause, and what to do about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blueprint import bootstrap
from blueprint.bootstrap import progress
from blueprint.core.errors import BlueprintError
from blueprint.core.task import within
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace
from tests.support.index import LOGIN, index
from tests.support.install_faults import FAULTS, NOT_WRITABLE, Fault
from tests.support.wheels import lock_line, make_wheel


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose lock names one package, of a user who has told the installers nothing."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_RETRIES", "1")
    uv = str(Path(sys.executable).with_name("uv"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").symlink_to(uv if Path(uv).exists() else str(shutil.which("uv")))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), "/usr/bin", "/bin"]))
    monkeypatch.setattr(progress, "STALL_SECONDS", 2)
    monkeypatch.setattr(progress, "TELL_SECONDS", 0.5)
    big = {"alpha/__init__.py": "", "alpha/data": "x" * 2_000_000}  # uv names a package of more than one megabyte
    wheel = make_wheel(tmp_path / "wheels", "alpha", "1.2.0", modules=big)
    (tmp_path / "work").mkdir()
    made = Workspace(tmp_path / "work")
    made.requirements.write_text(lock_line(wheel))
    made.prepare()
    bootstrap.ensure_environment(made, within(60))
    return made


def told(
    workspace: Workspace, wheels: Path, of_index: str, monkeypatch: pytest.MonkeyPatch, *of: str
) -> BlueprintError:
    """What the user is told who installs from an index with this fault, and told `of` its address."""
    with index(wheels, of_index) as url:
        for name in of:
            monkeypatch.setenv(name, url)
        with pytest.raises(BlueprintError) as failure:
            bootstrap.install(workspace, within(100))
    return failure.value


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.of_index)
def test_the_cause_decides_the_message_and_the_exit_code(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    error = told(workspace, tmp_path / "wheels", fault.of_index, monkeypatch, "UV_DEFAULT_INDEX", "PIP_INDEX_URL")
    assert fault.is_told_by(error), error


@pytest.mark.parametrize(
    ("of_index", "line"),
    [
        ("cut", r"the connection ended after \d+ of \d+ bytes of alpha-1\.2\.0"),
        ("another", r"not the one that was locked: .*DO NOT MATCH THE HASHES"),
        ("401", r"refuses access: 401 Client Error: Unauthorized"),
    ],
)
def test_an_old_pip_that_does_not_tell_them_apart_is_asked_twice(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_index: str, line: str
) -> None:
    assert re.search(line, str(told(workspace, tmp_path / "wheels", of_index, monkeypatch, "PIP_INDEX_URL")))


def test_a_folder_that_the_installers_may_not_write_is_told_as_that(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = site_packages(workspace.venv)
    if os.getuid():
        folder.chmod(0o500)
    elif subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("root may write everywhere, and not mount here")
    try:
        error = told(workspace, tmp_path / "wheels", "", monkeypatch, "UV_DEFAULT_INDEX", "PIP_INDEX_URL")
    finally:
        if not os.getuid():
            subprocess.run(["umount", str(folder)], check=True)
    assert NOT_WRITABLE.is_told_by(error), error
    assert str(folder) in str(error)


def test_a_slow_index_is_waited_for_and_the_package_at_work_is_told(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "STALL_SECONDS", 10)
    told: list[str] = []
    control = within(100)
    control.tell = told.append
    with index(tmp_path / "wheels", "slow") as url:
        for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
            monkeypatch.setenv(name, url)
        evidence = bootstrap.install(workspace, control)
    assert evidence.details["installer"].startswith("uv "), evidence.details
    assert [text for text in told if re.fullmatch(r"uv is at alpha, \d MB read and written", text)], told


def test_a_uv_that_hangs_is_told_and_leaves_time_for_pip(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.unlink()
    uv.write_text('#!/bin/sh\n[ "$1" = --version ] && echo uv 0.9.9 && exit 0\nexec sleep 600\n')
    uv.chmod(0o755)
    told: list[str] = []
    control = within(100)
    control.tell = told.append
    with index(tmp_path / "wheels") as url:
        for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
            monkeypatch.setenv(name, url)
        evidence = bootstrap.install(workspace, control)
    assert "(uv failed: no byte for 2 s)" in evidence.summary
    assert "pip" in evidence.details["installer"]
    assert [text for text in told if re.fullmatch(r"uv is at the index, no byte for \d s", text)], told


@pytest.mark.parametrize(
    ("variable", "where"), [("UV_DEFAULT_INDEX", "address"), ("UV_DEFAULT_INDEX", "netrc"), ("PIP_INDEX_URL", "netrc")]
)
def test_a_private_index_takes_the_password_from_its_address_or_from_netrc(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, where: str
) -> None:
    user, password = LOGIN
    monkeypatch.setenv("HOME", str(tmp_path))
    with index(tmp_path / "wheels", "private") as url:
        if where == "netrc":
            (tmp_path / ".netrc").write_text(f"machine 127.0.0.1\nlogin {user}\npassword {password}\n")
        else:
            url = url.replace("//", f"//{user}:{password}@")
        monkeypatch.setenv(variable, url)
        evidence = bootstrap.install(workspace, within(100))
    assert variable.lower()[:3].strip("_") in evidence.details["installer"]
    assert password not in (workspace.logs / "install.log").read_text()


def test_a_folder_of_wheels_is_enough_for_uv_offline(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    assert bootstrap.install(workspace, within(100)).details["installer"].startswith("uv ")
