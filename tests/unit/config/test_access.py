"""Who is asked for a password, by whom else can log in here, and the file that keeps a generated one."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from blueprint.config import access
from blueprint.config.redaction import MASK, REDACTOR
from blueprint.config.settings import Settings
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.workspace import Workspace


def account(name: str, uid: int, shell: str) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid, "", "/", shell))


SERVICES = (
    account("root", 0, "/bin/bash"),
    account("daemon", 1, "/usr/sbin/nologin"),
    account("sync", 4, "/bin/sync"),
    account("_apt", 42, "/bin/false"),
)
UNSET = Settings.model_validate({})
ME, ANNA, EMPTY = account("me", 1000, "/bin/zsh"), account("anna", 1001, "/bin/bash"), account("bob", 1002, "")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path)
    found.prepare()
    return found


def machine(patch: pytest.MonkeyPatch, *accounts: pwd.struct_passwd, uid: int) -> None:
    patch.setattr(pwd, "getpwall", lambda: [*SERVICES, *accounts])
    patch.setattr(os, "getuid", lambda: uid)


@pytest.mark.parametrize(
    ("accounts", "uid", "auth", "reason"),
    [
        ((), 0, "none", "nobody else can log in here"),
        ((ME,), 1000, "none", "nobody else can log in here"),
        ((ME,), 0, "generated", "others can log in here: me"),
        ((ME, ANNA), 1000, "generated", "others can log in here: anna"),
        ((ME, EMPTY), 1000, "generated", "others can log in here: bob"),  # no shell stands for /bin/sh
    ],
)
def test_a_password_is_asked_for_where_other_people_can_log_in(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    accounts: tuple[pwd.struct_passwd, ...],
    uid: int,
    auth: str,
    reason: str,
) -> None:
    machine(monkeypatch, *accounts, uid=uid)
    assert access.decide(UNSET, workspace) == access.Access(auth, reason)
    made = access.with_password(UNSET, workspace, make=True)
    assert (made.api_auth_string is not None) == workspace.password.exists() == (auth == "generated")
    assert access.decide(made, workspace) == access.Access(auth, reason)


def test_what_the_user_has_chosen_counts_more_than_the_accounts(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, ANNA, uid=0)
    for values, auth in (({"auth": "none"}, "none"), ({"api_auth_string": "user:pw"}, "given")):
        chosen = Settings.model_validate(values)
        assert access.decide(chosen, workspace).auth == auth
        assert access.with_password(chosen, workspace, make=True) == chosen
    assert not workspace.password.exists()
    machine(monkeypatch, uid=0)
    chosen = Settings.model_validate({"auth": "generated"})
    assert access.with_password(chosen, workspace, make=True).api_auth_string is not None


def test_a_generated_password_is_made_once_is_private_and_outlives_the_accounts(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, ANNA, uid=0)
    assert access.with_password(UNSET, workspace).api_auth_string is None, "only a run makes one"
    assert not workspace.password.exists()
    made = access.with_password(UNSET, workspace, make=True)
    assert made.api_auth_string
    password = made.api_auth_string.get_secret_value()
    assert workspace.password.read_text() == f"{password}\n"
    assert workspace.password.stat().st_mode & 0o777 == 0o600
    assert len(password) >= 40
    assert REDACTOR(f"it is {password}.") == f"it is {MASK}."
    machine(monkeypatch, uid=0)  # she has left: the server still asks for it
    again = access.with_password(UNSET, workspace, make=True)
    assert again.api_auth_string == made.api_auth_string
    assert access.decide(again, workspace).reason == "it was generated before"
    assert [one.api_auth_string for one in again.each()] == [made.api_auth_string]
    assert password not in str(again.without_secrets())
    assert Settings.model_validate(again.without_secrets())


@pytest.mark.parametrize("damage", ["", "no colon", "folder"])
def test_a_password_file_that_cannot_be_used_is_one_sentence(workspace: Workspace, damage: str) -> None:
    if damage == "folder":
        workspace.password.mkdir()
    else:
        workspace.password.write_text(damage)
    with pytest.raises(EnvironmentRefused, match="password"):
        access.with_password(Settings.model_validate({"auth": "generated"}), workspace, make=True)
