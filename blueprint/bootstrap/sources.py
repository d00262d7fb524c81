"""Where packages come from: what the user configured for pip is passed on to uv, which does not read it.

The user may be behind a proxy or on a mirror and have told pip alone. Addresses go through the environment, never
through arguments, as they may hold passwords.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

# What would send the packages elsewhere or change what the lock decides; all else of the user's is respected.
_NOT_FOR_UV = (
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
    "UV_PROJECT",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
    "UV_CONSTRAINT",
    "UV_BUILD_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_REQUIRE_HASHES",
    "UV_NO_VERIFY_HASHES",
)
_NOT_FOR_PIP = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
    "PIP_CONSTRAINT",
    "PIP_REQUIREMENT",
    "PIP_EDITABLE",
    "PIP_DRY_RUN",
    "PIP_NO_DEPS",
    "PIP_REQUIRE_HASHES",
)
_UV_INDEXES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_CONFIG_FILE",
)


def pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for pip: the user's own, but nothing in it can send the packages elsewhere."""
    kept = {key: value for key, value in environment.items() if key not in _NOT_FOR_PIP}
    if kept.get("PIP_RETRIES", "").strip() == "0":
        kept["PIP_RETRIES"] = "1"  # without any, pip says of an index that cannot be reached that it has no package
    # 0, not absent: so that it wins over the user's configuration files too
    return kept | {
        "PIP_USER": "0",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_PROGRESS_BAR": "off",
    }


def uv_environment(environment: Mapping[str, str], venv: Path, cache_fallback: Path) -> dict[str, str]:
    """The environment for uv: the user's own, with what pip is told of indexes, certificates and proxies.

    Args:
        environment: Of this process.
        venv: May have a configuration for pip of its own.
        cache_fallback: Where uv's cache goes if the user's home folder cannot be written.
    """
    kept = {key: value for key, value in environment.items() if key not in _NOT_FOR_UV}
    kept |= {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    if not _cache_can_be_written(environment):
        kept["UV_CACHE_DIR"] = str(cache_fallback)
    pip = pip_settings(environment, venv)
    for name, value in _connection(pip, environment).items():
        kept.setdefault(name, value)
    if not _uv_is_configured(environment):
        kept |= _indexes(pip)
    return kept


def uv_arguments(environment: Mapping[str, str], venv: Path) -> list[str]:
    """What pip is told and uv takes as an argument only: to ask no index, and which packages not to build."""
    pip = pip_settings(environment, venv)
    arguments = []
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on") and not _uv_is_configured(environment):
        arguments.append("--no-index")
    for option in ("only-binary", "no-binary"):
        for name in re.split(r"[,\s]+", pip.get(option, "")):
            arguments += [f"--{option}", name] if name else []
    return arguments


def pip_settings(environment: Mapping[str, str], venv: Path) -> dict[str, str]:
    """What pip's configuration files and PIP_ variables set for installing, by pip's own names and precedence."""
    settings: dict[str, str] = {}
    for path in _pip_files(environment, venv):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip itself will say it in its own words
        for section in ("global", "install"):
            if parser.has_section(section):
                settings |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def _pip_files(environment: Mapping[str, str], venv: Path) -> list[Path]:
    chosen = environment.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    home = Path(environment.get("HOME") or Path.home())
    system = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    files = [Path(folder) / "pip" / "pip.conf" for folder in system.split(os.pathsep)] + [Path("/etc/pip.conf")]
    if sys.platform == "darwin":
        files.append(Path("/Library/Application Support/pip/pip.conf"))
    if not (chosen and Path(chosen).exists()):
        user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        if sys.platform == "darwin" and (home / "Library/Application Support/pip").is_dir():
            user = home / "Library/Application Support"
        files += [home / ".pip" / "pip.conf", user / "pip" / "pip.conf"]
    files.append(venv / "pip.conf")
    return [*files, Path(chosen)] if chosen else files


def _uv_is_configured(environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) for name in _UV_INDEXES):
        return True
    home = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME") or Path.home()) / ".config")
    system = (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    return any((Path(folder) / "uv" / "uv.toml").is_file() for folder in (home, *system, "/etc"))


def _connection(pip: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    wanted = {}
    # pip obeys these two as well, through requests
    certificates = pip.get("cert") or environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    if certificates:
        wanted["SSL_CERT_FILE"] = certificates
    if pip.get("proxy") and not any(environment.get(name) for name in ("https_proxy", "HTTPS_PROXY")):
        proxy = pip["proxy"] if "://" in pip["proxy"] else f"http://{pip['proxy']}"
        wanted |= {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}
    timeout = pip.get("timeout") or pip.get("default-timeout")
    if timeout and timeout.isdigit():
        wanted["UV_HTTP_TIMEOUT"] = timeout
    if pip.get("trusted-host"):
        wanted["UV_INSECURE_HOST"] = " ".join(pip["trusted-host"].split())
    return wanted


def _indexes(pip: Mapping[str, str]) -> dict[str, str]:
    wanted = {}
    if pip.get("index-url"):
        wanted["UV_DEFAULT_INDEX"] = pip["index-url"]
    if pip.get("extra-index-url"):
        wanted["UV_INDEX"] = " ".join(pip["extra-index-url"].split())
        # as pip does: uv alone stops at the first index that knows the name; the hashes decide what is accepted
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if pip.get("find-links"):
        wanted["UV_FIND_LINKS"] = ",".join(pip["find-links"].split())
    return wanted


def _cache_can_be_written(environment: Mapping[str, str]) -> bool:
    """Whether uv's own cache folder can be used; asked by trying, as permissions do not tell of read-only mounts."""
    if environment.get("UV_CACHE_DIR") or environment.get("UV_NO_CACHE"):
        return True
    home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME") or Path.home()) / ".cache")
    folder = Path(home) / "uv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
