"""A user who told pip of a mirror, a proxy or a certificate gets it in uv too, and nothing leads the install astray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blueprint.bootstrap.sources import pip_environment, pip_settings, uv_arguments, uv_environment

MIRROR = "https://someone:secret@mirror.example/simple"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose configuration folders are all below tmp_path."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "etc"), "PATH": "/usr/bin"}


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return tmp_path / ".venv"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def for_uv(environment: dict[str, str], venv: Path) -> dict[str, str]:
    return uv_environment(environment, venv, venv.parent / "cache")


def test_a_mirror_that_pip_is_configured_for_is_used_by_uv(home: dict[str, str], venv: Path) -> None:
    write(
        Path(home["HOME"]) / ".config" / "pip" / "pip.conf",
        f"[global]\nindex-url = {MIRROR}\nextra-index-url =\n    https://a.example/x\n    https://b.example/x\n"
        "find-links = /wheels /more\ncert = /etc/own.pem\nproxy = proxy.example:3128\ntimeout = 40\n"
        "trusted-host = a.example\n    b.example\n",
    )
    environment = for_uv(home, venv)
    assert environment["UV_DEFAULT_INDEX"] == MIRROR
    assert environment["UV_INDEX"] == "https://a.example/x https://b.example/x"
    assert environment["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert environment["UV_FIND_LINKS"] == "/wheels,/more"
    assert environment["SSL_CERT_FILE"] == "/etc/own.pem"
    assert environment["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert environment["UV_HTTP_TIMEOUT"] == "40"
    assert environment["UV_INSECURE_HOST"] == "a.example b.example"
    assert not any("secret" in argument for argument in uv_arguments(home, venv))


def test_pips_own_precedence_decides(home: dict[str, str], venv: Path, tmp_path: Path) -> None:
    write(tmp_path / "etc" / "pip" / "pip.conf", "[global]\nindex-url = https://system.example\n")
    assert pip_settings(home, venv)["index-url"] == "https://system.example"
    write(tmp_path / ".config" / "pip" / "pip.conf", "[global]\nindex_url = https://user.example\n")
    assert pip_settings(home, venv)["index-url"] == "https://user.example"
    write(tmp_path / ".config" / "pip" / "pip.conf", "[install]\nindex-url = i\n[global]\nindex-url = g\n")
    assert pip_settings(home, venv)["index-url"] == "i"
    write(venv / "pip.conf", "[global]\nindex-url = https://site.example\n")
    assert pip_settings(home, venv)["index-url"] == "https://site.example"
    write(tmp_path / "named.conf", "[global]\nindex-url = https://named.example\n")
    home["PIP_CONFIG_FILE"] = str(tmp_path / "named.conf")
    assert pip_settings(home, venv)["index-url"] == "https://named.example"
    home["PIP_INDEX_URL"] = "https://variable.example"
    assert pip_settings(home, venv)["index-url"] == "https://variable.example"


def test_a_pip_told_to_read_no_files_is_taken_at_its_word(home: dict[str, str], venv: Path, tmp_path: Path) -> None:
    write(tmp_path / ".config" / "pip" / "pip.conf", f"[global]\nindex-url = {MIRROR}\n")
    assert "index-url" not in pip_settings({**home, "PIP_CONFIG_FILE": os.devnull}, venv)


def test_a_damaged_configuration_stops_nothing(home: dict[str, str], venv: Path, tmp_path: Path) -> None:
    write(tmp_path / ".config" / "pip" / "pip.conf", "index-url = no section\n")
    assert "UV_DEFAULT_INDEX" not in for_uv(home, venv)


def test_a_machine_that_must_ask_no_index_asks_none(home: dict[str, str], venv: Path) -> None:
    assert uv_arguments({**home, "PIP_NO_INDEX": "1"}, venv) == ["--no-index"]
    assert uv_arguments({**home, "PIP_NO_INDEX": "0"}, venv) == []


def test_packages_that_must_not_be_built_are_not(home: dict[str, str], venv: Path) -> None:
    environment = {**home, "PIP_ONLY_BINARY": ":all:", "PIP_NO_BINARY": "a,b"}
    expected = ["--only-binary", ":all:", "--no-binary", "a", "--no-binary", "b"]
    assert uv_arguments(environment, venv) == expected


@pytest.mark.parametrize("how", ["variable", "file"])
def test_a_user_who_configured_uv_is_not_overruled_by_pips_mirror(
    home: dict[str, str], venv: Path, tmp_path: Path, how: str
) -> None:
    home["PIP_INDEX_URL"] = MIRROR
    if how == "variable":
        home["UV_DEFAULT_INDEX"] = "https://uv.example"
    else:
        write(tmp_path / ".config" / "uv" / "uv.toml", "")
    assert for_uv(home, venv).get("UV_DEFAULT_INDEX") == home.get("UV_DEFAULT_INDEX")


def test_a_proxy_and_a_certificate_of_the_users_own_stay(home: dict[str, str], venv: Path) -> None:
    home |= {"PIP_PROXY": "http://other:1", "https_proxy": "http://mine:2", "PIP_CERT": "/other", "SSL_CERT_FILE": "/m"}
    environment = for_uv(home, venv)
    assert (environment["https_proxy"], environment["SSL_CERT_FILE"]) == ("http://mine:2", "/m")
    assert "HTTPS_PROXY" not in environment


def test_nothing_in_the_users_shell_can_send_the_packages_elsewhere(home: dict[str, str], venv: Path) -> None:
    astray = ["PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT", "PIP_DRY_RUN", "UV_SYSTEM_PYTHON", "UV_OVERRIDE"]
    home |= dict.fromkeys(astray, "1") | {"PIP_USER": "1"}
    assert not set(astray[:4]) & pip_environment(home).keys()
    assert pip_environment(home)["PIP_USER"] == "0"
    assert not set(astray[4:]) & for_uv(home, venv).keys()


def test_uv_keeps_its_cache_in_the_checkout_when_home_cannot_be_written(home: dict[str, str], venv: Path) -> None:
    assert "UV_CACHE_DIR" not in for_uv(home, venv)
    nowhere = {**home, "HOME": "/dev/null"}
    assert for_uv(nowhere, venv)["UV_CACHE_DIR"] == str(venv.parent / "cache")
    assert for_uv({**nowhere, "UV_CACHE_DIR": "/mine"}, venv)["UV_CACHE_DIR"] == "/mine"
