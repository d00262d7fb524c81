"""Packages that the user's flows need beyond the lock: added without moving what is locked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blueprint.bootstrap.failures import Cause, InstallerFailed
from blueprint.bootstrap.lockfile import Pin, normalised
from blueprint.core.errors import SetupError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from packaging.requirements import Requirement

SAME_COMMAND = "Correct what the installer reports there, then run the same command again."
# The resolver's own reasoning, in an output on one line: uv's, or pip's.
_REASON = re.compile(r"(Because .*?unsatisfiable\.?)|The conflict is caused by: (.*?)(?:Additionally|To fix this)")
_TABLE = "[tool.blueprint] in pyproject.toml"


def unmet(extra: Sequence[str], site: Path) -> list[str]:
    """Return the requirements that the environment does not meet, their own dependencies included."""
    from importlib.metadata import distributions  # 25 ms that only those who have extra requirements pay

    installed = {normalised(each.name): each for each in distributions(path=[str(site)]) if each.name}
    return [text for text in extra if not _is_met(_parsed(text), installed, set())]


def require_no_conflict(extra: Sequence[str], pins: Sequence[Pin]) -> None:
    """Refuse a requirement that asks for another version of a locked package; both are named."""
    locked = {pin.name: pin for pin in pins}
    for text in extra:
        requirement = _parsed(text)
        pin = locked.get(normalised(requirement.name))
        if pin and (requirement.url or not requirement.specifier.contains(pin.version, prereleases=True)):
            raise _conflict([text], [pin], "")


def explained(failure: InstallerFailed, extra: Sequence[str], pins: Sequence[Pin], log: str) -> SetupError:
    """Turn an installer's refusal of extra requirements into an error that names what the user wrote."""
    names = ", ".join(extra)
    if failure.cause is Cause.UNKNOWN_PACKAGE:
        return SetupError(
            f"No package fits the extra requirements ({names}): {failure.line}",
            "Check the names and versions for typing errors, and the index that pip or uv is told to use.",
            where_to_look=_TABLE,
        )
    if failure.cause is not Cause.CONFLICT:
        return SetupError(
            f"The extra requirements ({names}) cannot be installed: {failure.line}",
            SAME_COMMAND,
            where_to_look=log,
        )
    text = " ".join(failure.output.split())
    # An installer names every package that it met on the way; those named with their locked version matter.
    against = [
        pin
        for pin in pins
        if re.search(rf"(?<![\w.-]){_spellings(pin.name)}==?\s?{re.escape(pin.version)}\b", text, re.I)
    ]
    asked = [each for each in extra if re.search(rf"(?<![\w.-]){_spellings(_parsed(each).name)}\b", text, re.I)]
    reason = _REASON.search(text)
    return _conflict(asked or extra, against, reason[reason.lastindex or 0].strip()[:600] if reason else failure.line)


def _conflict(extra: Sequence[str], pins: Sequence[Pin], explanation: str) -> SetupError:
    names = ", ".join(f"`{text}`" for text in extra)
    against = ", ".join(str(pin) for pin in pins) or "the locked set"
    return SetupError(
        f"The extra requirement{'s' if len(extra) > 1 else ''} {names} cannot be had together with {against}, "
        f"which requirements.lock keeps{f': {explanation}' if explanation else '.'}",
        "Ask for a version that fits, or change requirements.lock with the command in its first lines.",
        where_to_look=f"requirements.lock; {_TABLE}",
        details={"extra": list(extra), "conflicts_with": [str(pin) for pin in pins]},
    )


def _spellings(name: str) -> str:
    return re.escape(name).replace(r"\-", "[-_.]")


def _parsed(text: str) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement  # in the lock

    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise UsageError(
            f"The extra requirement `{text}` cannot be read: {str(error).splitlines()[0]}.",
            "Write it as in `package>=1.2` or `package @ file:///folder`.",
        ) from error


def _is_met(requirement: Requirement, installed: dict[str, Distribution], seen: set[str]) -> bool:
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return True
    found = installed.get(normalised(requirement.name))
    if found is None or not requirement.specifier.contains(found.version, prereleases=True):
        return False
    if requirement.url and requirement.url not in (found.read_text("direct_url.json") or ""):
        return False
    key = str(requirement)
    if key in seen:
        return True
    seen.add(key)
    for text in found.requires or ():
        needed = _parsed(text)
        wanted = ("",) if needed.marker is None else ("", *requirement.extras)
        applies = needed.marker is None or any(needed.marker.evaluate({"extra": each}) for each in wanted)
        needed.marker = None
        if applies and not _is_met(needed, installed, seen):
            return False
    return True
