"""The settings that command lines gave: they hold for later commands until something newer says otherwise.

They are kept in `.blueprint/settings.json`, private to the user. New ones are proposed first, and accepted once they
have been judged, which may have to wait until the packages that judge them are installed. Each function raises
`EnvironmentRefused` if the file cannot be used. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import refused, write_whole
from blueprint.core.workspace import Workspace
from blueprint.execution import history


class _Kept(NamedTuple):
    """The content of the file."""

    accepted: Sequence[str]
    proposed: Sequence[str] | None = None


def remembered(workspace: Workspace) -> tuple[str, ...]:
    """Return `key=value` for each setting that holds: the proposed ones if there are any, else the accepted ones."""
    kept = _read(workspace)
    return tuple(kept.accepted if kept.proposed is None else kept.proposed)


def propose(workspace: Workspace, given: Iterable[str]) -> tuple[str, ...]:
    """Remember the settings of this command line beside those from before, and return all of them."""
    proposed = tuple((by_key(remembered(workspace)) | by_key(given)).values())
    _write(workspace, _Kept(_read(workspace).accepted, proposed))
    return proposed


def accept(workspace: Workspace) -> None:
    """Take the proposed settings as good."""
    _write(workspace, _Kept(remembered(workspace)))


def refuse(workspace: Workspace) -> None:
    """Forget the proposed settings: later commands go on with those that were accepted last."""
    _write(workspace, _Kept(_read(workspace).accepted))


def by_key(settings: Iterable[str]) -> dict[str, str]:
    """Return the settings by their keys; a later one of a key replaces an earlier one."""
    return {setting.partition("=")[0].strip().replace("-", "_"): setting for setting in settings}


def _read(workspace: Workspace) -> _Kept:
    path = workspace.remembered_settings
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        lists = (kept["accepted"], kept.get("proposed"))
        for settings in lists:
            if settings is not None and not (
                isinstance(settings, list) and all(isinstance(setting, str) for setting in settings)
            ):
                raise ValueError("no list of texts")
        return _Kept(kept["accepted"] or (), kept.get("proposed"))
    except FileNotFoundError:
        last = history.load(workspace.journal).last  # where older versions kept them
        return _Kept(tuple(last.started.settings or ()) if last else ())
    except OSError as error:
        raise refused(error, path) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EnvironmentRefused(
            f"{path}, which keeps the settings of earlier command lines, is damaged.",
            "Remove it, and give the settings that you need once more.",
        ) from None


def _write(workspace: Workspace, kept: _Kept) -> None:
    write_whole(workspace.remembered_settings, json.dumps(kept._asdict(), indent=1) + "\n")
