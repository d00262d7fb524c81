"""Task 6: a fresh process in the project folder resolves the platform's URL."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from blueprint.core import child
from blueprint.tasks.registry import Context, Evidence, TaskControl, TaskFailed, task

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


@task(
    6,
    "Configure API URL",
    needs=(4,),
    timeout=60,
    uses_prefect=False,
    proof="a fresh process in the project folder resolves the platform's URL",
)
def configure_api_url(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that a fresh process in the project folder resolves the platform's URL and its own Prefect home."""
    from blueprint.platform import environment
    from blueprint.tasks.common import tagged_child
    from blueprint.tasks.common.prefect_home import require_ours, write_files

    require_ours(ctx.workspace)
    changed = write_files(ctx.settings, ctx.workspace)
    control.waiting("a fresh process to read Prefect's settings")
    env = environment.without_prefect(os.environ)
    argv = [sys.executable, "-c", _RESOLVE]
    tagged_child.end_leftovers(ctx, "check-settings", control)
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
