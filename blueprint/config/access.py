"""The decision whether API and UI ask for a password, and the password that is generated.

Loopback is no wall: whoever can log in on this machine reaches the server, and a run that they create is carried out as
the server's owner. The password is kept in a private file, whole before it is used, so it outlives kills and resumes.
"""

from __future__ import annotations

import os
import pwd
import secrets
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from blueprint.config import validators
from blueprint.config.redaction import REDACTOR, unjudged
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import refused, write_whole
from blueprint.core.workspace import Workspace

if TYPE_CHECKING:
    from blueprint.config.settings import Settings

_USER = "blueprint"
_BYTES = 24  # of chance
_NO_LOGIN = {"nologin", "false", "true", "sync", "halt", "shutdown"}
_MOST_NAMED = 3


@dataclass(frozen=True)
class Access:
    """The way in which the server is guarded: `none`, `generated` or `given`, and why, for people."""

    auth: str
    reason: str

    def __str__(self) -> str:
        kind = {"none": "no password", "generated": "a generated password", "given": "the given password"}[self.auth]
        return f"{kind} ({self.reason})"


def other_people() -> list[str]:
    """Return the accounts that can log in on this machine, beside root's and this user's."""
    return [
        account.pw_name
        for account in pwd.getpwall()
        if account.pw_uid not in (0, os.getuid()) and PurePath(account.pw_shell).name not in _NO_LOGIN
    ]


def decide(settings: Settings, workspace: Workspace) -> Access:
    """Decide by the settings, else by who can log in here; a password that was generated once stays asked for."""
    if settings.chosen_auth:
        return Access(settings.chosen_auth, "as set")
    others = other_people()
    if others:
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        return Access("generated", f"others can log in here: {', '.join(others[:_MOST_NAMED])}{more}")
    if workspace.password.exists():
        return Access("generated", "it was generated before")
    return Access("none", "nobody else can log in here")


def with_password(settings: Settings, workspace: Workspace, *, make: bool = False) -> Settings:
    """Return the settings with the generated password, if there is one or it is to be made now.

    Raises:
        EnvironmentRefused: The file cannot be used.
    """
    if decide(settings, workspace).auth != "generated":
        return settings
    if make and not workspace.password.exists():
        write_whole(workspace.password, f"{_USER}:{secrets.token_urlsafe(_BYTES)}\n")
    password = _read(workspace)
    if password is None:
        return settings
    from pydantic import SecretStr

    REDACTOR.learn(unjudged({"api_auth_string": password}))
    return settings.model_copy(update={"api_auth_string": SecretStr(password)})


def _read(workspace: Workspace) -> str | None:
    try:
        return validators.auth_string(workspace.password.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    except ValueError:
        raise EnvironmentRefused(
            f"{workspace.password} does not hold user:password.", "Remove it and run again: a new one is generated."
        ) from None
    except OSError as error:
        raise refused(error, workspace.password) from error
