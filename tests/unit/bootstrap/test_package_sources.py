"""Each installer obeys its own configuration, and pip works alone where only pip is configured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blueprint.bootstrap import installers
from blueprint.bootstrap.sources import pip_environment, uv_environment, uv_is_configured
from blueprint.core.task import within
from blueprint.core.workspace import Workspace

MIRROR = "https://someone:secret@mirror.example/simple"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A checkout of a user whose configuration folders are all below tmp_path."""
    for name in os.environ:
        if name.startswith(("PIP_", "UV_", "SSL_CERT_")) or name.lower() in ("https_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # no file of this machine
    (tmp_path / "checkout").mkdir()
    return Workspace(tmp_path / "checkout")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def reasons(workspace: Workspace, *, hashed: bool = True) -> list[str]:
    return installers.reasons_for_pip(workspace, within(30), hashed=hashed)


@pytest.mark.parametrize("where", [".config/pip/pip.conf", "etc/pip/pip.conf", "pip.conf"])
def test_a_setting_in_any_of_pips_files_is_a_reason_for_pip(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.delenv("PIP_CONFIG_FILE")
    if where == "pip.conf":
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / where))
    assert "client-cert" not in reasons(workspace)
    write(tmp_path / where, "[global]\nclient_cert = /mine.pem\ntimeout = 40\n")
    assert "client-cert" in reasons(workspace)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PIP_INDEX_URL", MIRROR, ["index-url"]),
        ("PIP_NO_INDEX", "1", ["no-index"]),
        ("PIP_NO_INDEX", "0", []),
        ("PIP_PROXY", "proxy.example:3128", ["proxy"]),
        ("PIP_CERT", "/etc/own.pem", ["cert"]),
        ("PIP_ONLY_BINARY", ":all:", []),
        ("PIP_DEFAULT_TIMEOUT", "180", []),
    ],
)
def test_a_variable_without_which_no_package_is_had_is_a_reason_for_pip(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: list[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert reasons(workspace) == expected


def test_further_places_matter_only_to_packages_that_no_hash_locks(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://a.example/x https://b.example/x")
    monkeypatch.setenv("PIP_ONLY_BINARY", ":all:")
    assert reasons(workspace) == []
    assert reasons(workspace, hashed=False) == ["extra-index-url", "find-links", "only-binary"]


@pytest.mark.parametrize("how", ["variable", "user", "system", "project"])
def test_a_user_who_configured_uv_gets_uv(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", MIRROR)
    assert not uv_is_configured(os.environ, workspace.root)
    if how == "variable":
        monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.example")
    else:
        folders = {"user": tmp_path / ".config" / "uv", "system": tmp_path / "etc" / "uv", "project": workspace.root}
        write(folders[how] / "uv.toml", "")
    assert reasons(workspace) == []


def test_a_proxy_and_a_certificate_that_uv_knows_too_are_no_reasons(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_PROXY", "http://proxy.example:1")
    monkeypatch.setenv("PIP_CERT", "/etc/own.pem")
    assert reasons(workspace) == ["proxy", "cert"]
    monkeypatch.setenv("https_proxy", "http://proxy.example:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/own.pem")
    assert reasons(workspace) == []


def test_nothing_in_the_users_shell_can_send_the_packages_elsewhere(tmp_path: Path) -> None:
    astray = ["PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT", "PIP_DRY_RUN", "UV_SYSTEM_PYTHON", "UV_OVERRIDE"]
    shell = {"HOME": str(tmp_path), **dict.fromkeys(astray, "1"), "PIP_USER": "1"}
    assert not set(astray[:4]) & pip_environment(shell).keys()
    assert pip_environment(shell)["PIP_USER"] == "0"
    assert not set(astray[4:]) & uv_environment(shell, tmp_path / "cache").keys()


def test_what_pips_files_say_of_the_index_stays_and_where_they_send_packages_does_not() -> None:
    listing = (
        "global.find-links='\\n/a\\n/b'\nglobal.target='/t'\ninstall.root='/r'\ninstall.index-url=\"http://it's\"\n"
    )
    environment = pip_environment({"PIP_FIND_LINKS": "/mine"}, listing)
    assert environment["PIP_FIND_LINKS"] == "/mine"
    assert environment["PIP_INDEX_URL"] == "http://it's"
    assert environment["PIP_CONFIG_FILE"] == os.devnull
    assert pip_environment({}, listing)["PIP_FIND_LINKS"].split() == ["/a", "/b"]
    assert not {"PIP_TARGET", "PIP_ROOT"} & environment.keys()


def test_uv_keeps_its_cache_in_the_checkout_when_home_cannot_be_written(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert "UV_CACHE_DIR" not in uv_environment({"HOME": str(tmp_path)}, cache)
    nowhere = {"HOME": "/dev/null"}
    assert uv_environment(nowhere, cache)["UV_CACHE_DIR"] == str(cache)
    assert uv_environment({**nowhere, "UV_CACHE_DIR": "/mine"}, cache)["UV_CACHE_DIR"] == "/mine"
