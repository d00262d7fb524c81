"""Task 5: versions, dependency consistency, the server application imports."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING

from blueprint.core import child
from blueprint.core.task import Evidence, TaskControl, TaskFailed
from blueprint.tasks.registry import task

if TYPE_CHECKING:
    from blueprint.tasks.context import Context

_PACKAGES = ("prefect", "pydantic", "tenacity", "psutil", "fastapi", "starlette", "sqlalchemy")

_IMPORT_SERVER = "import gc; gc.disable(); import prefect.server.api.server as server; server.create_app()"


@task(
    5,
    "Validate installation",
    phase=1,
    needs=(4,),
    timeout=120,
    uses_prefect=False,
    proof="versions, dependency consistency, the server application imports",
)
def validate_installation(ctx: Context, control: TaskControl) -> Evidence:
    """Versions, consistency of what is installed, and the server application itself imports."""
    from blueprint.platform import environment as prefect_env
    from blueprint.tasks.common import tagged_child

    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    conflicts = dependency_conflicts()
    if conflicts:
        raise TaskFailed(
            f"The installed packages contradict each other: {'; '.join(conflicts[:3])}.",
            where_to_look="requirements.lock",
            hint="Run `python run_blueprint.py --resume-from 4` to install the locked set again.",
            details={"versions": versions, "conflicts": conflicts},
        )
    control.waiting("the server application to import")
    env = prefect_env.for_child(ctx.settings, ctx.workspace)
    argv = [sys.executable, "-c", _IMPORT_SERVER]
    finished = tagged_child.run(ctx, "check-installation", argv, control, env=env, niceness=child.STANDS_BACK)
    if finished.returncode != 0:
        raise TaskFailed(
            f"Prefect {versions['prefect']} is installed, but its server cannot be imported: {finished.last_line()}",
            where_to_look="requirements.lock pins a set that was seen to start; compare `.venv/bin/python -m pip list`",
            hint="Remove the folder .venv and run `python run_blueprint.py --resume-from 4`.",
            details={"versions": versions, "import_error": finished.errors[-3000:]},
        )
    python = ".".join(str(part) for part in sys.version_info[:3])
    return Evidence(
        f"Prefect {versions['prefect']} on Python {python}, no conflicts, the server application imports",
        {"python": python, "versions": versions, "conflicts": []},
    )


def dependency_conflicts() -> list[str]:
    """What one installed package requires of another and does not get, a text for each."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    installed = [one.metadata for one in importlib.metadata.distributions()]  # reading it takes a while: once for each
    versions = {canonicalize_name(one["Name"]): one["Version"] for one in installed}
    conflicts = []
    for one in installed:
        for text in one.get_all("Requires-Dist", ()):
            if "extra ==" in text and " or " not in text:
                continue  # of an extra, and so are most: they need not be taken apart
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            have = versions.get(canonicalize_name(requirement.name))
            if have is None or not requirement.specifier.contains(have, prereleases=True):
                wants = f"{requirement.name}{requirement.specifier}"
                conflicts.append(f"{one['Name']} {one['Version']} needs {wants}, found {have or 'none'}")
    return sorted(conflicts)
