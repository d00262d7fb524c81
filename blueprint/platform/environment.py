"""The environment variables of everything that speaks Prefect: one place, so that all of it reaches the same platform.

The user's own PREFECT_… variables are taken out first, so a shell that points elsewhere changes nothing here; their
`~/.prefect` is never read or written, because home and profiles are the workspace's own. Never imports Prefect.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from blueprint.config.settings import Settings
from blueprint.core import venv
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import private_folder
from blueprint.core.workspace import Workspace

WORKER_POLL_SECONDS = 0.5
WORKER_HEARTBEAT_SECONDS = 2
TOML_HEADER = "# Written by Blueprint (task 6): plain `prefect …` commands in this folder reach its platform.\n"
# What would lead Prefect or the pipeline elsewhere, and what only the executor and the installers need.
_NOT_INHERITED = ("PREFECT_", "PIPELINE_", "BLUEPRINT_", "PIP_", "UV_")
PROXIED = "_BLUEPRINT_PROXY"  # the user's variable that sends plain `prefect` commands to a proxy
_PYTHON_PATHS = ("PYTHONPATH", "PYTHONHOME", venv.IGNORED_PATH)  # another Prefect may be on them


def without_prefect(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what could point Prefect or Python elsewhere, and without others' settings."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_NOT_INHERITED) and name not in _PYTHON_PATHS
    }


def client(settings: Settings, workspace: Workspace) -> dict[str, str]:
    """Return the variables that a program needs in order to use the platform, secrets included."""
    kept = {name: os.environ[name] for name in settings.keep_variables if name in os.environ}
    variables = kept | {
        "PREFECT_HOME": str(workspace.prefect_home),
        "PREFECT_PROFILES_PATH": str(workspace.prefect_home / "profiles.toml"),
        "PREFECT_API_URL": settings.api_url,
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "TMPDIR": str(workspace.temporary),  # Prefect makes folders of fixed names in it: two users cannot share one
        "PIPELINE_WAREHOUSE_DIR": str(workspace.warehouse),
        # Part of what a service is started with, so that one that runs older packages is restarted, and also one whose
        # packages were replaced under it: it lacks files that it made among them, such as the UI's.
        "_BLUEPRINT_LOCK": _lock_digest(workspace),
        "_BLUEPRINT_INSTALLED": "",
    }
    with contextlib.suppress(OSError, ValueError):
        variables["_BLUEPRINT_INSTALLED"] = workspace.install_stamp.read_text(encoding="ascii").strip()
    if settings.public_url != settings.server_url:
        variables["PREFECT_UI_URL"] = settings.public_url  # where the links that Prefect prints lead
    if settings.api_auth_string:
        variables["PREFECT_API_AUTH_STRING"] = settings.api_auth_string.get_secret_value()
    if settings.warehouse_url:
        variables["PIPELINE_DATABASE_URL"] = settings.warehouse_url.get_secret_value()
    if settings.source_url:
        variables["PIPELINE_SOURCE_URL"] = settings.source_url
    return variables


def _lock_digest(workspace: Workspace) -> str:
    try:
        return hashlib.sha256(workspace.requirements.read_bytes()).hexdigest()
    except OSError as error:
        raise EnvironmentRefused(
            f"{workspace.requirements} cannot be read: {error.strerror}.", "Restore it with `git checkout`."
        ) from error


def for_child(settings: Settings, workspace: Workspace, **more: str) -> dict[str, str]:
    """Return the whole environment of a child process that uses the platform."""
    return without_prefect(os.environ) | _past_proxies(settings) | client(settings, workspace) | more


def own_hosts(settings: Settings) -> tuple[str, ...]:
    """Return the names of this machine that no proxy needs to be asked for."""
    reached = (urlsplit(url).hostname or "" for url in (settings.server_url, settings.public_url))
    return tuple(dict.fromkeys(("127.0.0.1", "localhost", "::1", *reached)))


def _past_proxies(settings: Settings) -> dict[str, str]:
    """Return the variables that keep a proxy of the user's out of the way to the platform; services inherit them."""
    proxies = {name.lower(): name for name, value in os.environ.items() if value and name.lower().endswith("_proxy")}
    entries = [entry.strip() for entry in os.environ.get(proxies.get("no_proxy", ""), "").split(",")]
    missing = [host for host in own_hosts(settings) if host not in entries]
    if not missing or "*" in entries or not {"http_proxy", "https_proxy", "all_proxy"} & proxies.keys():
        return {}
    value = ",".join(filter(None, [*entries, *missing]))
    asked = proxies.get("http_proxy") or proxies.get("all_proxy") or ""
    told = {PROXIED: asked} if urlsplit(settings.server_url).hostname in missing else {}
    return {"no_proxy": value, "NO_PROXY": value} | told


def for_server(settings: Settings, workspace: Workspace) -> dict[str, str]:
    """Return the variables that the server is started with, beside the inherited ones."""
    variables = {
        "PREFECT_SERVER_API_HOST": settings.host,
        "PREFECT_SERVER_API_PORT": str(settings.port),
        "PREFECT_SERVER_UI_API_URL": settings.public_api_url,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(settings.origins),
        "PREFECT_SERVER_METRICS_ENABLED": "true",
        # By default leases are in memory: when the server is killed, the slots of its runs stay taken for ever.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    if settings.api_auth_string:
        variables["PREFECT_SERVER_API_AUTH_STRING"] = settings.api_auth_string.get_secret_value()
    return client(settings, workspace) | variables


def for_worker(settings: Settings, workspace: Workspace) -> dict[str, str]:
    """Return the variables for the worker or the serving process; its flow runs inherit them."""
    return client(settings, workspace) | {
        "PREFECT_WORKER_QUERY_SECONDS": str(WORKER_POLL_SECONDS),
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(WORKER_HEARTBEAT_SECONDS),
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(settings.worker_port),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_RUNNER_SERVER_HOST": "127.0.0.1",
        "PREFECT_RUNNER_SERVER_PORT": str(settings.worker_port),
    }


def apply_to_self(settings: Settings, workspace: Workspace) -> None:
    """Make this process use the platform; to be called before Prefect is imported."""
    folder = workspace.temporary
    private_folder(folder)
    if not folder.is_relative_to(workspace.state) and (folder.is_symlink() or folder.stat().st_uid != os.getuid()):
        raise EnvironmentRefused(
            f"{folder} is to hold the temporary files, and belongs to another user.",
            "Have it removed, or move the project to a folder with a shorter path.",
        )
    variables = for_child(
        settings,
        workspace,
        PREFECT_API_REQUEST_TIMEOUT="10",
        PREFECT_CLIENT_MAX_RETRIES="0",
        PREFECT_LOGGING_LEVEL="CRITICAL",
    )
    os.environ.clear()
    os.environ.update(variables)


def prefect_toml(settings: Settings, workspace: Workspace) -> str:
    """Return the text of prefect.toml; a secret may be in it, so the file must be private."""
    home = str(workspace.prefect_home)
    lines = [
        TOML_HEADER,
        f"home = {_toml(home)}",
        f"profiles_path = {_toml(home + '/profiles.toml')}",
        *((f"ui_url = {_toml(settings.public_url)}",) if settings.public_url != settings.server_url else ()),
        "[api]",
        f"url = {_toml(settings.api_url)}",
    ]
    if settings.api_auth_string:
        lines.append(f"auth_string = {_toml(settings.api_auth_string.get_secret_value())}")
    lines += ["[server.ephemeral]", "enabled = false", ""]
    return "\n".join(lines)


def _toml(text: str) -> str:
    """Quote a text: JSON's escapes are TOML's, but for characters beyond 16 bits, which stay as they are, and DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


PROFILES_TOML = 'active = "blueprint"\n\n[profiles.blueprint]\n'
