"""Task 5: the installed packages fit together, and the server application imports."""

import importlib.metadata
import sys
from pathlib import Path

from blueprint.tasks.registry import Context, Evidence, TaskControl, TaskFailed, task

_PACKAGES = ("prefect", "pydantic", "tenacity", "psutil", "fastapi", "starlette", "sqlalchemy")

_IMPORT_SERVER = "import gc; gc.disable(); import prefect.server.api.server as server; server.create_app()"


@task(
    5,
    "Validate installation",
    needs=(4,),
    timeout=120,
    uses_prefect=False,
    proof="versions, dependency consistency, the server application imports",
)
def validate_installation(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the installed packages fit together and that the server application itself imports."""
    from blueprint.bootstrap.installers import conflicts
    from blueprint.platform import environment

    found = conflicts(Path(sys.executable), ctx.workspace, control)
    if found:
        raise TaskFailed(
            f"The installed packages do not fit together: {'; '.join(found[:3])}.",
            where_to_look="requirements.lock",
            hint="Run `python run_blueprint.py --resume-from 4` to install the locked set again.",
            details={"conflicts": found},
        )
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    control.waiting("the server application to import")
    env = environment.for_child(ctx.settings, ctx.workspace)
    ctx.end_child("check-installation", control)
    finished = ctx.run_child("check-installation", [sys.executable, "-c", _IMPORT_SERVER], control, env=env)
    if finished.returncode != 0:
        raise TaskFailed(
            f"Prefect {versions['prefect']} is installed, but its server cannot be imported: {finished.last_line()}",
            where_to_look="requirements.lock pins a tested set; compare it with `.venv/bin/python -m pip list`",
            hint="Remove the folder .venv and run `python run_blueprint.py --resume-from 4`.",
            details={"versions": versions, "import_error": finished.errors[-3000:]},
        )
    python = ".".join(str(part) for part in sys.version_info[:3])
    return Evidence(
        f"Prefect {versions['prefect']} on Python {python}, no conflicts, the server application imports",
        {"python": python, "versions": versions, "conflicts": []},
    )
