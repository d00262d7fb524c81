"""`verify --deep`: every file of every installed package is read, however unchanged it looks."""

from __future__ import annotations

from blueprint.bootstrap import contents
from blueprint.bootstrap.installed import compare, scan
from blueprint.bootstrap.lockfile import Pin, read_lock, select
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace


def examine(workspace: Workspace) -> tuple[str, str]:
    """Return what is wrong with the installed packages, empty if nothing is, and what was found (0.3 s).

    Packages beyond the lock are read too. Of bytecode it is only seen whether it is whole.
    """
    site = site_packages(workspace.venv)
    locked = select(read_lock(workspace.requirements))
    names = {pin.name for pin in locked}
    others = [Pin(name, each[0].version, "", "") for name, each in scan(site).items() if name not in names]
    difference = compare([*locked, *others], site)
    unowned = contents.unowned_startup_files(site)
    note = f"; at every start code runs from {', '.join(unowned)}, which no package has brought" if unowned else ""
    wrong = str(difference) if difference.packages or difference.cut_off else ""
    return wrong, f"{len(locked) + len(others)} packages, every file as it was installed{note}"
