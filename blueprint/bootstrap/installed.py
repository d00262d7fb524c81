"""The installed packages, their files and their bytecode, compared with the lock."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import marshal
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blueprint.bootstrap import contents
from blueprint.bootstrap.lockfile import Pin, normalised

_SHOWN = 8  # so many packages are named in a message
_UNCOMPILABLE_AT_MOST = 20  # so many sources without bytecode are tried for syntax errors of their own
_HEADER = 16  # bytes of bytecode's header (PEP 552)
_BLOCK = 512  # bytes: a disk runs full at a multiple of it


@dataclass(frozen=True)
class Distribution:
    """An installed package, read from the name of its `.dist-info` folder."""

    version: str
    folder: Path


@dataclass(frozen=True)
class Difference:
    """Differences between an environment and the lock; false if there are none.

    Attributes:
        wrong: The problem of each package that is installed otherwise than locked, by its name.
        broken: The `.dist-info` folders that mislead an installer: it would not look at their files again.
        uncompiled: The number of modules, of all the `modules`, without bytecode that Python would use.
        cut_off: Bytecode that is not whole, of modules among these: Python would use it and fail, and not replace it.
        beyond: Packages that the lock does not name; they are tolerated and no difference.
        states: The state of each package whose contents are right, by its `.dist-info` folder; see `contents`.
    """

    missing: tuple[str, ...] = ()
    wrong: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[Path, ...] = ()
    uncompiled: int = 0
    cut_off: tuple[str, ...] = ()
    modules: int = 0
    beyond: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def packages(self) -> frozenset[str]:
        """The names of the packages that have to be installed or replaced."""
        return frozenset((*self.missing, *self.wrong))

    def __bool__(self) -> bool:
        return bool(self.packages or self.uncompiled)

    def __str__(self) -> str:
        """Return the difference as one readable line; empty if there is none."""
        parts = [f"{name} {problem}" for name, problem in self.wrong.items()]
        if self.missing:
            more = f" and {len(self.missing) - _SHOWN} more" if len(self.missing) > _SHOWN else ""
            parts.append(f"missing: {', '.join(self.missing[:_SHOWN])}{more}")
        if self.uncompiled:
            parts.append(f"{self.uncompiled} of {self.modules} modules have no bytecode")
        return "; ".join(parts[:_SHOWN]) + (f"; and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else "")


def scan(site: Path) -> Mapping[str, list[Distribution]]:
    """Return the installed packages by their normalised names; two of a name are the trace of a broken upgrade."""
    found: dict[str, list[Distribution]] = {}
    for folder in sorted(site.glob("*.dist-info")):
        name, _, version = folder.stem.rpartition("-")
        if name:
            found.setdefault(normalised(name), []).append(Distribution(version, folder))
    return found


def compare(
    pins: Iterable[Pin], site: Path, *, files: bool = True, known: Mapping[str, str] | None = None
) -> Difference:
    """Compare the installed packages with the pins, file by file against each package's own RECORD.

    Every file is looked up with its size and times (about 8,000 in 0.05 s). The contents of a package are read if its
    state is not among the `known` ones (all of them in 0.2 s). Without `files` only names and versions are compared,
    in a tenth of the time.
    """
    installed = scan(site)
    wanted = list(pins)
    missing = tuple(pin.name for pin in wanted if pin.name not in installed)
    wrong: dict[str, str] = {}
    broken: list[Path] = []
    modules: list[str] = []
    uncompiled: list[str] = []
    cut_off: list[str] = []
    states: dict[str, str] = {}
    for pin in wanted:
        candidates = installed.get(pin.name, [])
        fitting = next((each for each in candidates if same_version(each.version, pin.version)), None)
        others = [each for each in candidates if each is not fitting]
        if fitting is None:
            wrong |= {pin.name: f"is {others[0].version} instead of {pin.version}"} if others else {}
            broken += [each.folder for each in others if not (each.folder / "RECORD").is_file()]  # no way to uninstall
            continue
        problem, sources = _files_of(fitting, site, known or {}, states) if files else ("", [])
        if problem or others:
            wrong[pin.name] = f"is damaged ({problem})" if problem else "is there twice"
            broken += [each.folder for each in others] + ([fitting.folder] if problem else [])
        if not problem:
            modules += sources
            uncompiled += _uncompiled(sources, cut_off)
    if len(uncompiled) <= _UNCOMPILABLE_AT_MOST:
        uncompiled = [source for source in uncompiled if _compiles(source)]
    beyond = tuple(sorted(installed.keys() - {pin.name for pin in wanted}))
    return Difference(missing, wrong, tuple(broken), len(uncompiled), tuple(cut_off), len(modules), beyond, states)


def same_version(found: str, wanted: str) -> bool:
    """Tell whether two spellings are the same version (`1.0` and `1.0.0` are)."""
    try:
        from packaging.utils import canonicalize_version  # not there before the install
    except ImportError:
        return found == wanted
    return found == wanted or canonicalize_version(found) == canonicalize_version(wanted)


def _files_of(
    distribution: Distribution, site: Path, known: Mapping[str, str], states: dict[str, str]
) -> tuple[str, list[str]]:
    """Return what is wrong with a package's files, and its modules; if nothing is, add its state to `states`."""
    try:
        text = (distribution.folder / "RECORD").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return "it has no RECORD of its files", []
    if not text.endswith("\n"):
        return f"its RECORD is {'cut off' if text else 'empty'}", []
    sources = []
    hashed = []
    state = hashlib.blake2b(digest_size=16)
    try:
        rows = [(path, expected, int(size or -1)) for path, expected, size in csv.reader(text.splitlines())]
    except (ValueError, csv.Error):
        return "its RECORD is damaged", []
    for path, expected, size in rows:
        if path.endswith(".pyc"):
            continue  # what pip compiled; whether there is bytecode is seen for itself
        where = os.path.join(site, path)  # noqa: PTH118 - 8,000 times: plain strings are four times as fast
        try:
            found = os.stat(where)  # noqa: PTH116
        except (OSError, ValueError):  # a name may be damaged so that no file has it
            return f"{path} is missing", []
        if size >= 0 and found.st_size != size:
            return f"{path} has {found.st_size} bytes instead of {size}", []
        state.update(f"{path}\n{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n".encode())
        if expected:
            hashed.append((path, where, expected))
        if path.endswith(".py") and not path.startswith(".."):
            sources.append(where)
    name, now = distribution.folder.name, state.hexdigest()
    if known.get(name) != now:
        try:
            changed = contents.changed_file(hashed)
        except (OSError, ValueError) as error:
            return f"its contents cannot be read: {error}", []
        if changed:
            return f"{changed} is not what was installed", []
    states[name] = now
    return "", sources


def _uncompiled(sources: list[str], cut_off: list[str]) -> list[str]:
    """Return the modules of a package without usable bytecode, and add to `cut_off` what is not whole.

    Only the first one's header is read, and of files that end where a full disk may have ended them, the rest.
    """
    if sys.pycache_prefix:  # bytecode is kept elsewhere, by the user's wish
        return []
    suffix = importlib.util.cache_from_source("x.py").rpartition("x")[2]
    without = []
    for source in sources:
        folder, _, name = source.rpartition("/")
        compiled = f"{folder}/__pycache__/{name[:-3]}{suffix}"
        try:
            size = os.stat(compiled).st_size  # noqa: PTH116
        except OSError:
            without.append(source)
            continue
        if size % _BLOCK == 0 and not _is_whole(compiled):
            without.append(source)
            cut_off.append(compiled)
    if sources and sources[0] not in without and _is_stale(sources[0]):
        return sources
    return without


def _is_whole(compiled: str) -> bool:
    """Tell whether bytecode can be read to its end; on a full disk CPython keeps what it could write."""
    try:
        marshal.loads(Path(compiled).read_bytes()[_HEADER:])  # noqa: S302 - Python would read it at the next import
    except (OSError, EOFError, ValueError, TypeError):
        return False
    return True


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
        header = file.read(_HEADER)
    if header[:4] != importlib.util.MAGIC_NUMBER:
        return True
    if int.from_bytes(header[4:8], "little"):
        return False  # by the hash of its source, not by its time
    status = Path(source).stat()
    expected = (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    return (int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:16], "little")) != expected
