"""Task 1: the program is whole, the folder can be written, Python and disk space are enough."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile

from blueprint.bootstrap.installed import scan
from blueprint.bootstrap.lockfile import read_lock
from blueprint.core.errors import EnvironmentRefused, SetupError
from blueprint.core.files import refused
from blueprint.core.task import Evidence, TaskControl
from blueprint.core.venv import MINIMUM_PYTHON, dotted, problem, site_packages
from blueprint.core.workspace import Workspace

NEEDED_FILES = (
    "run_blueprint.py",
    "pyproject.toml",
    "requirements.lock",
    "blueprint/cli/main.py",
    "blueprint/pipeline/data_pipeline.py",
)

# Measured: the environment takes 0.3 GB, the installer's cache as much again, unpacking and the databases the rest.
BYTES_TO_INSTALL = 1_500_000_000
BYTES_TO_RUN = 200_000_000


def verify_project(workspace: Workspace, control: TaskControl) -> Evidence:
    """Prove that everything is there to begin with."""
    control.waiting("the project's files")
    missing = [name for name in NEEDED_FILES if not (workspace.program / name).is_file()]
    if missing:
        raise SetupError(
            f"{workspace.program} is not a whole checkout of this project: {', '.join(missing)} missing.",
            "Run the command in the checkout's folder, or restore the files with `git checkout -- .`.",
            where_to_look=str(workspace.program),
        )
    _require_python(sys.version_info[:2])
    _require_usable_place(workspace)
    try:
        with tempfile.TemporaryFile(dir=workspace.root) as probe:
            probe.write(b"probe")
            probe.flush()
    except OSError as error:
        raise refused(error, workspace.root) from error
    needed = BYTES_TO_RUN if _looks_installed(workspace) else BYTES_TO_INSTALL
    free = shutil.disk_usage(workspace.root).free
    if free < needed:
        raise EnvironmentRefused(
            f"{workspace.root} has {free / 1e9:.2f} GB of free disk space; {needed / 1e9:.2f} GB are needed.",
            "Free some space, or use a checkout on another disk.",
        )
    version = platform.python_version()
    return Evidence(
        f"{len(NEEDED_FILES)} needed files, folder writable, Python {version}, {free / 1e9:.1f} GB free",
        {
            "root": str(workspace.root),
            "files": list(NEEDED_FILES),
            "python": version,
            "interpreter": sys.executable,
            "free_bytes": free,
            "needed_bytes": needed,
        },
    )


def _require_python(version: tuple[int, int]) -> None:
    if version < MINIMUM_PYTHON:
        raise EnvironmentRefused(
            f"Python {dotted(version)} is too old; {dotted(MINIMUM_PYTHON)} or newer is needed.",
            f"Run the same command with a newer one, for example `python{dotted(MINIMUM_PYTHON)} run_blueprint.py`.",
        )


def _require_usable_place(workspace: Workspace) -> None:
    if os.pathsep in str(workspace.root):
        raise EnvironmentRefused(
            f"The path {workspace.root} has a {os.pathsep!r} in it, which separates the entries of PATH: no virtual "
            "environment can work there.",
            "Rename the folder, or use a checkout in another one.",
        )
    place = workspace.venv if workspace.venv.exists() else workspace.root
    if os.statvfs(place).f_flag & getattr(os, "ST_NOEXEC", 0):  # which not every system has
        raise EnvironmentRefused(
            f"{place} is on a file system that is mounted noexec: no program in .venv could be started there.",
            "Use a checkout on another file system, or have this one mounted with exec.",
        )


def _looks_installed(workspace: Workspace) -> bool:
    """Tell by the names of the packages whether little is left to install; task 4 looks closely."""
    if problem(workspace.venv):
        return False
    names = {pin.name for pin in read_lock(workspace.requirements) if not pin.marker}
    return names <= scan(site_packages(workspace.venv)).keys()
