"""The pins of requirements.lock, and those of them that apply to this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blueprint.core.errors import EnvironmentRefused, UsageError

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)\s*(?:;(?P<marker>.*?))?"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)\s*"
)


@dataclass(frozen=True)
class Pin:
    """One package of the lock, by its normalised name."""

    name: str
    version: str
    marker: str  # the machines that need it; empty for all
    text: str  # the whole requirement with its hashes, on one line

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def normalised(name: str) -> str:
    """Return the one name that stands for all spellings of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> tuple[Pin, ...]:
    """Return every pin of a lock file, also those of other machines.

    Raises:
        EnvironmentRefused: It cannot be read, or a line is not a package with its version and hashes.
    """
    hint = "Restore it with `git checkout`, or make it anew with the command in its first lines."
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentRefused(f"{path} cannot be read: {error}.", hint) from error
    pins = []
    number = 1
    for entry in text.replace("\\\n", "\\").splitlines():  # a backslash joins lines
        content = " ".join(entry.replace("\\", " ").split())
        if content and not content.startswith("#"):
            match = _PIN.fullmatch(content)
            if not match or entry.endswith("\\"):
                raise EnvironmentRefused(
                    f"{path}, line {number}: this is not a package with its version and hashes.", hint
                )
            pins.append(Pin(normalised(match["name"]), match["version"], (match["marker"] or "").strip(), content))
        number += entry.count("\\") + 1
    if not pins:
        raise EnvironmentRefused(f"{path} names no package.", hint)
    return tuple(pins)


def with_further(pins: Sequence[Pin], path: Path) -> tuple[Pin, ...]:
    """Return the pins with those that a lock of the user's own adds.

    Raises:
        UsageError: It is missing, or has another version of a package.
        EnvironmentRefused: It cannot be read.
    """
    hint = (
        f"Make it with `uv pip compile requirements.in -c requirements.lock --universal --generate-hashes -o {path}`."
    )
    if not path.is_file():
        raise UsageError(f"requirements_lock names {path}, and there is no such file.", hint)
    kept = {str(pin) for pin in pins}
    names = {pin.name for pin in pins}
    further = [pin for pin in read_lock(path) if str(pin) not in kept]
    if moved := [str(pin) for pin in further if pin.name in names]:
        raise UsageError(f"{path} has {', '.join(moved)}, and requirements.lock another version.", hint)
    return (*pins, *further)


def select(pins: Iterable[Pin]) -> tuple[Pin, ...]:
    """Return the pins that this interpreter on this machine needs.

    Markers are read by `packaging`, which is in the lock. Before it is installed, pins with a marker are left out:
    nothing can equal the lock yet, and after the install they are read.
    """
    try:
        from packaging.markers import Marker  # not there before the install
    except ImportError:
        return tuple(pin for pin in pins if not pin.marker)
    needed = []
    for pin in pins:
        try:
            if not pin.marker or Marker(pin.marker).evaluate():
                needed.append(pin)
        except ValueError as error:
            raise EnvironmentRefused(
                f"A lock has a marker for {pin} that cannot be read: {pin.marker}",
                "Restore the file with `git checkout`, or make it anew with the command in its first lines.",
            ) from error
    return tuple(needed)
