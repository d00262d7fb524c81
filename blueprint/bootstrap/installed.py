"""The installed packages, their files and their bytecode, compared with the lock."""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from blueprint.bootstrap.lockfile import Pin, normalised

_UNCOMPILABLE_AT_MOST = 20  # so many sources without bytecode are tried for syntax errors of their own


@dataclass(frozen=True)
class Distribution:
    """An installed package, read from the name of its `.dist-info` folder."""

    name: str
    version: str
    folder: Path


@dataclass(frozen=True)
class Difference:
    """How an environment differs from the lock. False if it does not.

    Attributes:
        missing: Pins that nothing is installed for.
        wrong: Packages in another version than the pin's, with the pin.
        damaged: Packages in the right version whose files are not whole, with the problem.
        doubled: Leftovers of packages that are there twice.
        uncompiled: The number of modules without bytecode that Python would use.
        modules: The number of modules that were looked at.
        beyond: Packages that the lock does not name; they are tolerated and no difference.
    """

    missing: tuple[Pin, ...] = ()
    wrong: tuple[tuple[Distribution, Pin], ...] = ()
    damaged: tuple[tuple[Distribution, str], ...] = ()
    doubled: tuple[Distribution, ...] = ()
    uncompiled: int = 0
    modules: int = 0
    beyond: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names of the packages that have to be installed or replaced."""
        found = [*self.doubled, *(each for each, _ in (*self.wrong, *self.damaged))]
        return frozenset([*(pin.name for pin in self.missing), *(each.name for each in found)])

    @property
    def packages(self) -> int:
        """The number of packages that have to be installed or replaced."""
        return len(self.names)

    def __bool__(self) -> bool:
        """Tell whether there is any difference."""
        return bool(self.packages or self.uncompiled)

    def __str__(self) -> str:
        """Return the difference as one readable line; empty if there is none."""
        parts = [f"{found.name} is {found.version} instead of {pin.version}" for found, pin in self.wrong]
        parts += [f"{found.name} is damaged ({problem})" for found, problem in self.damaged]
        parts += [f"{found.name} is there twice" for found in self.doubled]
        if self.missing:
            parts.append(f"missing: {_some([pin.name for pin in self.missing])}")
        if self.uncompiled:
            parts.append(f"{self.uncompiled} of {self.modules} modules have no bytecode")
        return "; ".join(parts[:6]) + (f"; and {len(parts) - 6} more" if len(parts) > 6 else "")


def scan(site: Path) -> Mapping[str, list[Distribution]]:
    """Return the installed packages by their normalised names; two of a name are the trace of a broken upgrade."""
    found: dict[str, list[Distribution]] = {}
    try:
        entries = sorted(entry.name for entry in os.scandir(site) if entry.name.endswith(".dist-info"))
    except FileNotFoundError:
        return found
    for entry in entries:
        name, _, version = entry.removesuffix(".dist-info").rpartition("-")
        if name:
            distribution = Distribution(normalised(name), version, site / entry)
            found.setdefault(distribution.name, []).append(distribution)
    return found


def compare(pins: Iterable[Pin], site: Path, *, files: bool = True) -> Difference:
    """Compare the installed packages with the pins, file by file against each package's own RECORD.

    Every file is looked up with its size (about 8,000 in 0.05 s); contents are not read again: the hashes were
    checked when the packages came.

    Args:
        pins: The packages that should be installed.
        site: The environment's site-packages.
        files: Whether to look at the files; without, only names and versions are compared, in a tenth of the time.
    """
    installed = scan(site)
    missing, wrong, damaged, doubled = [], [], [], []
    modules: list[str] = []
    uncompiled: list[str] = []
    wanted = list(pins)
    for pin in wanted:
        candidates = installed.get(pin.name, [])
        fitting = next((each for each in candidates if same_version(each.version, pin.version)), None)
        if fitting is None:
            missing += [] if candidates else [pin]
            wrong += [(each, pin) for each in candidates]
            continue
        doubled += [each for each in candidates if each is not fitting]
        problem, sources = _files_of(fitting, site) if files else ("", [])
        if problem:
            damaged.append((fitting, problem))
        else:
            modules += sources
            uncompiled += _uncompiled(sources)
    if len(uncompiled) <= _UNCOMPILABLE_AT_MOST:
        uncompiled = [source for source in uncompiled if _compiles(source)]
    beyond = sorted(installed.keys() - {pin.name for pin in wanted})
    return Difference(
        tuple(missing), tuple(wrong), tuple(damaged), tuple(doubled), len(uncompiled), len(modules), tuple(beyond)
    )


def same_version(found: str, wanted: str) -> bool:
    """Tell whether two spellings are the same version (`1.0` and `1.0.0` are)."""
    if found == wanted:
        return True
    try:
        from packaging.version import InvalidVersion, Version  # not there before the install
    except ImportError:
        return False
    try:
        return Version(found) == Version(wanted)
    except InvalidVersion:
        return False


def _files_of(distribution: Distribution, site: Path) -> tuple[str, list[str]]:
    """Return what is wrong with a package's files (empty if nothing is), and its modules."""
    try:
        text = (distribution.folder / "RECORD").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return "it has no RECORD of its files", []
    sources = []
    for row in csv.reader(text.splitlines()):
        if len(row) != 3:
            return "its RECORD is cut off", []
        path, _, size = row
        if path.endswith(".pyc"):
            continue  # what pip compiled; whether there is bytecode is seen for itself
        where = os.path.join(site, path)  # noqa: PTH118 - 8,000 times: plain strings are four times as fast
        try:
            found = os.stat(where).st_size  # noqa: PTH116
        except OSError:
            return f"{path} is missing", []
        if size and found != int(size):
            return f"{path} has {found} bytes instead of {size}", []
        if path.endswith(".py") and not path.startswith(".."):
            sources.append(where)
    return ("", sources) if text else ("its RECORD is empty", [])


def _uncompiled(sources: list[str]) -> list[str]:
    """Return the modules of a package that Python would compile at import; only the first one's header is read."""
    if sys.pycache_prefix:  # bytecode is kept elsewhere, by the user's wish
        return []
    suffix = importlib.util.cache_from_source("x.py").rpartition("x")[2]
    without = []
    for source in sources:
        folder, _, name = source.rpartition("/")
        if not os.path.exists(f"{folder}/__pycache__/{name[:-3]}{suffix}"):  # noqa: PTH110
            without.append(source)
    if sources and sources[0] not in without and _is_stale(sources[0]):
        return sources
    return without


def _compiles(source: str) -> bool:
    """Tell whether a source is valid Python; templates and test data may not be, and never get bytecode."""
    try:
        compile(Path(source).read_bytes(), source, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _is_stale(source: str) -> bool:
    """Tell by its header (PEP 552) whether bytecode is of another Python or another state of the source."""
    compiled = Path(importlib.util.cache_from_source(source))
    with compiled.open("rb") as file:
        header = file.read(16)
    if header[:4] != importlib.util.MAGIC_NUMBER:
        return True
    if int.from_bytes(header[4:8], "little"):
        return False  # by the hash of its source, not by its time
    status = Path(source).stat()
    expected = (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    return (int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:16], "little")) != expected


def _some(names: list[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
