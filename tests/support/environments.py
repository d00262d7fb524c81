"""Environments of the tests, made and looked at by the bootstrap itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from blueprint import bootstrap
from blueprint.bootstrap.installed import scan
from blueprint.core import child
from blueprint.core.task import Evidence, within
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace

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


def the_path(*folders: Path) -> str:
    """A PATH on which no uv is found unless one of `folders` has it."""
    return os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"])
