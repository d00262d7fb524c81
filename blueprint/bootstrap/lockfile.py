"""What requirements.lock pins, and which of it applies to this machine."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from blueprint.errors import EnvironmentRefused

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)\s*(?:;(?P<marker>.*?))?"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)\s*"
)

_IS = re.compile(
    r"(?P<key>sys_platform|implementation_name|platform_python_implementation) (?P<operator>[!=]=) "
    r"'(?P<value>[A-Za-z]+\d*)'"
)
_SINCE = re.compile(r"python_full_version (?P<operator><|>=) '(?P<value>\d+(\.\d+){0,2})'")
_RELEASE = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Pin:
    """One package of the lock.

    Attributes:
        name: Normalised.
        version: As the lock writes it.
        marker: On which machines it is needed; empty for all.
        text: The whole requirement with its hashes, on one line.
    """

    name: str
    version: str
    marker: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def normalised(name: str) -> str:
    """A package's name as all of its spellings have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> tuple[Pin, ...]:
    """Every pin of a lock file, also those of other machines.

    Raises:
        EnvironmentRefused: It cannot be read, or a line is not a package with its version and hashes.
    """
    advice = "Get it back with `git checkout`, or make it anew with the command that its first lines name."
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentRefused(f"{path} cannot be read: {error}.", advice) from error
    pins = []
    collected, first = "", 0
    for number, line in enumerate(lines, start=1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        first = number if not collected else first
        collected += content.removesuffix("\\") + " "
        if content.endswith("\\"):
            continue
        match = _PIN.fullmatch(collected)
        if not match:
            raise EnvironmentRefused(f"{path}, line {first}: not a package with its version and hashes.", advice)
        marker = (match["marker"] or "").strip()
        pins.append(Pin(normalised(match["name"]), match["version"], marker, collected.strip()))
        collected = ""
    if collected or not pins:
        raise EnvironmentRefused(f"{path}, line {len(lines)}: it ends before a package is complete.", advice)
    return tuple(pins)


def select(pins: Iterable[Pin]) -> tuple[Pin, ...]:
    """The pins that this interpreter on this machine needs.

    Markers of the forms that the lock is made of are read here; any other by `packaging`, which is in the lock. Where
    it is not installed yet, pins with such a marker are left out: nothing can then equal the lock, and after the
    install it can read them.
    """
    machine = {
        "sys_platform": sys.platform,
        "implementation_name": sys.implementation.name,
        "platform_python_implementation": platform.python_implementation(),
        "python_full_version": platform.python_version(),
    }
    return tuple(pin for pin in pins if not pin.marker or _is_needed(pin.marker, machine))


def _is_needed(marker: str, machine: Mapping[str, str]) -> bool:
    answer = holds(marker, machine)
    if answer is not None:
        return answer
    try:
        from packaging.markers import Marker  # not there before the install, and 40 ms that `plan` need not wait for
    except ImportError:
        return False
    return Marker(marker).evaluate()


def holds(marker: str, machine: Mapping[str, str]) -> bool | None:
    """Whether a marker (PEP 508) holds for a machine; None if it is not of comparisons with `and` and `or` only."""
    answers = [[_compares(text, machine) for text in part.split(" and ")] for part in marker.split(" or ")]
    if any(None in part for part in answers):
        return None
    return any(all(part) for part in answers)


def _compares(text: str, machine: Mapping[str, str]) -> bool | None:
    if match := _IS.fullmatch(text):
        return (machine[match["key"]] == match["value"]) == (match["operator"] == "==")
    match = _SINCE.fullmatch(text)
    if not match or not _RELEASE.fullmatch(machine["python_full_version"]):  # 3.14.0rc1 comes before 3.14
        return None
    here, there = (tuple(map(int, one.split("."))) for one in (machine["python_full_version"], match["value"]))
    return (here >= there + (0,) * (3 - len(there))) == (match["operator"] == ">=")
