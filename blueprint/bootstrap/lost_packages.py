"""The packages that a user added to an environment: listed before it is made anew, to be had back."""

from __future__ import annotations

import contextlib
import json
from urllib.parse import unquote

from blueprint.bootstrap.installed import Distribution, scan
from blueprint.bootstrap.lockfile import read_lock
from blueprint.core.files import private_folder, write_whole
from blueprint.core.venv import CONFIG
from blueprint.core.workspace import Workspace

_TESTS_LOCK = "tests/requirements.lock"


def keep(workspace: Workspace) -> None:
    """List what neither lock names. Where the making was broken off, the list of its beginning stays."""
    config = workspace.venv / CONFIG
    if config.is_file() and not config.stat().st_size:
        return
    locks = [workspace.requirements, workspace.program / _TESTS_LOCK]
    locked = {pin.name for lock in locks if lock.is_file() for pin in read_lock(lock)}
    lines = [
        _requirement(name, found[0])
        for site in workspace.venv.glob("lib/python*/site-packages")
        for name, found in scan(site).items()
        if name not in locked
    ]
    if lines:
        private_folder(workspace.state)
        write_whole(workspace.lost_packages, "\n".join([*lines, ""]))
    else:
        workspace.lost_packages.unlink(missing_ok=True)


def told(workspace: Workspace) -> str:
    """Return the words that tell of them, to follow a sentence; empty if there were none."""
    with contextlib.suppress(OSError):
        names = workspace.lost_packages.read_text("utf-8").splitlines()
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        path = workspace.lost_packages.relative_to(workspace.root)
        return (
            f"; the last one also had {shown}: after task 4, `.venv/bin/uv pip install --python .venv -r {path}` "
            "brings back what `requirements` does not"
        )
    return ""


def _requirement(name: str, distribution: Distribution) -> str:
    """Return the line that installs it again, from where it came."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        source = json.loads((distribution.folder / "direct_url.json").read_text("utf-8"))
        url, vcs = source["url"], source.get("vcs_info")
        if source.get("dir_info", {}).get("editable"):
            return f"-e {unquote(url.removeprefix('file://'))}"
        if vcs:
            url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        folder = source.get("subdirectory")
        return f"{name} @ {url}{f'#subdirectory={folder}' if folder else ''}"
    return f"{name}=={distribution.version}"
