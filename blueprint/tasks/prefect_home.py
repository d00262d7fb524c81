"""Task 6: what the project folder tells Prefect, so that whoever works in it reaches the platform.

The platform's own processes get the same by their environment, and so they need not wait for it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from blueprint.config.settings import Settings
from blueprint.core import child
from blueprint.core.files import write_whole
from blueprint.core.task import Evidence, TaskControl, TaskFailed
from blueprint.core.workspace import Workspace
from blueprint.platform import environment
from blueprint.tasks import tagged_child
from blueprint.tasks.context import Context

_RESOLVE = """
import json
from prefect.settings import get_current_settings
settings = get_current_settings()
print(json.dumps({
    "api_url": settings.api.url,
    "home": str(settings.home),
    "profiles": str(settings.profiles_path),
    "ephemeral": settings.server.ephemeral.enabled,
}))
"""


def configure_api_url(ctx: Context, control: TaskControl) -> Evidence:
    """Task 6: a fresh process in the project folder resolves the platform's URL, with a Prefect home of its own."""
    require_ours(ctx.workspace)
    changed = _write(ctx.settings, ctx.workspace)
    control.waiting("a fresh process to read Prefect's settings")
    env = environment.without_prefect(os.environ)
    argv = [sys.executable, "-c", _RESOLVE]
    finished = tagged_child.run(ctx, "check-settings", argv, control, env=env, niceness=child.STANDS_BACK)
    if finished.returncode != 0:
        raise TaskFailed(
            f"A process in the project folder cannot read Prefect's settings: {finished.last_line()}",
            where_to_look="prefect.toml, .env and [tool.prefect] in pyproject.toml",
            hint="Correct what the message names, then run `python run_blueprint.py --resume`.",
        )
    details: dict[str, Any] = json.loads(finished.output.strip().splitlines()[-1])
    wanted = {
        "api_url": ctx.settings.api_url,
        "home": str(ctx.workspace.prefect_home),
        "profiles": str(ctx.workspace.prefect_home / "profiles.toml"),
        "ephemeral": False,
    }
    wrong = [
        f"{key} is {details.get(key)!r}, not {value!r}" for key, value in wanted.items() if details.get(key) != value
    ]
    if wrong:
        raise TaskFailed(
            f"A process in the project folder resolves other settings: {'; '.join(wrong)}.",
            where_to_look="a .env file in the project folder overrides prefect.toml",
            hint="Take the PREFECT_ lines out of .env, then run `python run_blueprint.py --resume`.",
            details=details,
        )
    return Evidence(
        f"a fresh process here uses {ctx.settings.api_url}, home .blueprint/prefect, no ephemeral server",
        details,
        changed=bool(changed),
        reason=f"{' and '.join(changed)} did not say so" if changed else "",
    )


def require_ours(workspace: Workspace) -> None:
    """See that Prefect's home is there, private to the user, and that prefect.toml, if there is one, is ours.

    Raises:
        TaskFailed: There is one of somebody else's. It is never overwritten; and the server would read it too.
    """
    toml = workspace.root / "prefect.toml"
    if toml.exists() and not toml.read_text(encoding="utf-8", errors="replace").startswith(environment.TOML_HEADER):
        raise TaskFailed(
            "There is a prefect.toml in the project folder that Blueprint did not write.",
            where_to_look=str(toml),
            hint="Move it away, or move its settings into [tool.prefect] of pyproject.toml, and run again.",
        )
    workspace.prefect_home.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write(settings: Settings, workspace: Workspace) -> list[str]:
    """Write what differs, and return the names."""
    changed = []
    for path, text in (
        (workspace.root / "prefect.toml", environment.prefect_toml(settings, workspace)),
        (workspace.prefect_home / "profiles.toml", environment.PROFILES_TOML),
    ):
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
            write_whole(path, text)
            changed.append(path.name)
    return changed
