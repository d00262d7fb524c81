"""The environments that uv and pip run in, and which of the two is told where packages come from.

Each installer reads its own configuration. None of it is translated for the other.
"""

from __future__ import annotations

import ast
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

# What would send the packages elsewhere, or change what the lock decides; all else of the user's is respected.
_NOT_FOR_UV = (
    *("UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_PROJECT", "UV_WORKING_DIR", "UV_WORKING_DIRECTORY", "UV_CONSTRAINT"),
    *("UV_BUILD_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_REQUIRE_HASHES", "UV_NO_VERIFY_HASHES"),
)
_NOT_FOR_PIP = (
    *("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_CONSTRAINT", "PIP_REQUIREMENT"),
    *("PIP_EDITABLE", "PIP_DRY_RUN", "PIP_NO_DEPS", "PIP_REQUIRE_HASHES", "PIP_QUIET"),
)
_UV_SOURCES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE")
# Settings of pip without which packages cannot be had, or not as the user wants them.
_DECISIVE = ("index-url", "no-index", "proxy", "cert", "client-cert", "trusted-host")
# Further places and kinds of package. They cannot change one that is locked by its hash, but they can change any other.
_FURTHER = ("extra-index-url", "find-links", "only-binary", "no-binary")
# Variables that tell uv the same as these settings tell pip.
_SAME_FOR_UV = {
    "proxy": ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
    "cert": ("SSL_CERT_FILE", "SSL_CERT_DIR"),
}


def pip_environment(environment: Mapping[str, str], listing: str = "") -> dict[str, str]:
    """Return the environment for pip: the user's, without what would send the packages elsewhere.

    Args:
        environment: The user's.
        listing: Of `pip config list`; if given, it stands for pip's files, of which no variable can unset a setting.
    """
    files = {f"PIP_{name.replace('-', '_').upper()}": value for name, value in _settings(listing).items()}
    kept = {key: value for key, value in (files | dict(environment)).items() if key not in _NOT_FOR_PIP}
    if kept.get("PIP_RETRIES", "").strip() == "0":
        kept["PIP_RETRIES"] = "1"  # without any, pip says of an index that cannot be reached that it has no package
    if files:
        kept["PIP_CONFIG_FILE"] = os.devnull
    # 0, not absent: so that it wins over the user's configuration files too
    return kept | {
        "PIP_USER": "0",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_PROGRESS_BAR": "off",
    }


def uv_environment(environment: Mapping[str, str], cache_fallback: Path) -> dict[str, str]:
    """Return the environment for uv: the user's, without what would send the packages elsewhere.

    The cache is in the folder `cache_fallback` if the user's own cannot be written.
    """
    kept = {key: value for key, value in environment.items() if key not in _NOT_FOR_UV}
    kept |= {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    kept.setdefault("UV_LINK_MODE", "copy")  # through hard links an edit in one checkout reaches all others (0.5 s)
    return kept if _cache_is_writable(environment) else kept | {"UV_CACHE_DIR": str(cache_fallback)}


def uv_is_configured(environment: Mapping[str, str], root: Path) -> bool:
    """Tell whether the user has told uv where packages come from."""
    if any(environment.get(name) for name in _UV_SOURCES):
        return True
    user = environment.get("XDG_CONFIG_HOME") or _home(environment) / ".config"
    system = (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    folders = [root, *root.parents, *(Path(folder) / "uv" for folder in (user, *system, "/etc"))]
    return any((folder / "uv.toml").is_file() for folder in folders)


def only_for_pip(listing: str, environment: Mapping[str, str], *, hashed: bool) -> list[str]:
    """Return the settings of pip, out of `pip config list`, that uv needs as well and does not know.

    Where packages that are locked by their hash come from does not matter, and they are always wheels.
    """
    found = _settings(listing)
    return [
        name
        for name in (_DECISIVE if hashed else (*_DECISIVE, *_FURTHER))
        if found.get(name, "").lower() not in ("", "0", "false", "no", "off")
        and not any(environment.get(variable) for variable in _SAME_FOR_UV.get(name, ()))
    ]


def _settings(listing: str) -> dict[str, str]:
    """Return the settings that apply to `pip install`, out of `pip config list`."""
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # a later one overrides
        quoted = re.findall(rf"^{section}\.([a-z-]+)=(['\"].*['\"])$", listing, re.MULTILINE)
        found |= {name: ast.literal_eval(value) for name, value in quoted}
    return found


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


def _cache_is_writable(environment: Mapping[str, str]) -> bool:
    """Try to write in uv's cache folder: permissions do not tell of a file system that is mounted read-only."""
    if environment.get("UV_CACHE_DIR") or environment.get("UV_NO_CACHE"):
        return True
    folder = Path(environment.get("XDG_CACHE_HOME") or _home(environment) / ".cache") / "uv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
