"""Task 6: a fresh process in the project folder resolves the platform's URL and password."""

import json
import os
import sys
from typing import Any

from blueprint.core.files import write_whole
from blueprint.tasks.registry import Context, Evidence, TaskControl, TaskFailed, task

_RESOLVE = """
import json, sys
from prefect.settings import get_current_settings
settings = get_current_settings()
password = settings.api.auth_string.get_secret_value() if settings.api.auth_string else ""
print(json.dumps({
    "api_url": settings.api.url,
    "home": str(settings.home),
    "profiles": str(settings.profiles_path),
    "ephemeral": settings.server.ephemeral.enabled,
    "password": "the server's" if password == sys.stdin.buffer.read().decode() else "another",
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
    from blueprint.config import access
    from blueprint.platform import environment

    require_our_home(ctx)
    profiles = ctx.workspace.prefect_home / "profiles.toml"
    changed = []
    for path, text in (
        (ctx.workspace.root / "prefect.toml", environment.prefect_toml(ctx.settings, ctx.workspace)),
        (profiles, environment.PROFILES_TOML),
    ):
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
            write_whole(path, text)
            changed.append(path.name)
    control.waiting("a fresh process to read Prefect's settings")
    env = environment.without_prefect(os.environ)
    ctx.end_child("check-settings", control)
    password = ctx.settings.api_auth_string.get_secret_value() if ctx.settings.api_auth_string else ""
    finished = ctx.run_child("check-settings", [sys.executable, "-c", _RESOLVE], control, env=env, given=password)
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
        "profiles": str(profiles),
        "ephemeral": False,
        "password": "the server's",
    }
    wrong = [f"{key} is {details[key]!r}, not {value!r}" for key, value in wanted.items() if details[key] != value]
    if wrong:
        raise TaskFailed(
            f"A process in the project folder resolves other settings: {'; '.join(wrong)}.",
            where_to_look="a .env file in the project folder overrides prefect.toml",
            hint="Take the PREFECT_ lines out of .env, then run `python run_blueprint.py --resume`.",
            details=details,
        )
    proxy = os.environ.get(environment.PROXIED, "")
    export = f"export NO_PROXY={','.join(environment.own_hosts(ctx.settings))}"
    note = f"; {proxy} is set: before plain `prefect` commands type `{export}`" if proxy else ""
    auth = access.decide(ctx.settings, ctx.workspace)
    used = f"{ctx.settings.api_url}, home .blueprint/prefect, no ephemeral server, and {auth}"
    return Evidence(
        f"a fresh process here uses {used}{note}",
        details | {"password": str(auth)},
        changed=bool(changed),
        reason=f"{' and '.join(changed)} did not say so" if changed else "",
    )


def require_our_home(ctx: Context) -> None:
    """Require that prefect.toml, if there is one, is ours, and have Prefect's home, private to the user.

    One of somebody else's is never overwritten; and the server would read it too.
    """
    from blueprint.platform.environment import TOML_HEADER

    toml = ctx.workspace.root / "prefect.toml"
    if toml.exists() and not toml.read_text(encoding="utf-8", errors="replace").startswith(TOML_HEADER):
        raise TaskFailed(
            "There is a prefect.toml in the project folder that Blueprint did not write.",
            where_to_look=str(toml),
            hint="Move it away, or move its settings into [tool.prefect] of pyproject.toml, and run again.",
        )
    ctx.workspace.prefect_home.mkdir(mode=0o700, parents=True, exist_ok=True)
