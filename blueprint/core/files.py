"""Files of state: private to the user, written whole, and refused in one sentence.

Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import secrets
import shlex
from pathlib import Path

from blueprint.core.errors import EnvironmentRefused

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PRIVATE_UMASK = 0o077  # of processes whose files are private to the user

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM}
_IN_THE_WAY = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP}


def refused(error: OSError, path: Path) -> EnvironmentRefused:
    """Return the error that tells why `path` was refused and what to do; raise it `from` the given one."""
    if error.errno in _NO_ROOM:
        return EnvironmentRefused(
            f"{path} cannot be written: no room is left on the disk ({error.strerror}).",
            "Free some space, then run the same command again.",
        )
    if error.errno == errno.EROFS:
        return EnvironmentRefused(
            f"{path} cannot be written: its file system is mounted read-only.",
            "Use a checkout on a file system that can be written.",
        )
    if error.errno in _NOT_ALLOWED:
        return not_allowed(path, str(error.strerror))
    if error.errno in _IN_THE_WAY:
        return EnvironmentRefused(
            f"{path} cannot be used: something else stands there ({error.strerror}).", "Move it away, then run again."
        )
    return EnvironmentRefused(
        f"{path} cannot be used: {error.strerror or error}.", "Make it writable, then run the same command again."
    )


def not_allowed(path: Path, reason: str) -> EnvironmentRefused:
    """Return the error that tells who owns a path, and the command by which this user may use it."""

    def name(uid: int) -> str:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:  # a container's user may have no name
            return str(uid)

    path = path.absolute()
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    checkout = next((folder for folder in path.parents if os.access(folder / "run_blueprint.py", os.F_OK)), there)
    owner, own = there.lstat().st_uid, os.geteuid()
    if owner == own:
        what = f"{path} cannot be used: this user is not allowed to ({reason})."
        return EnvironmentRefused(what, f"Allow it: {shlex.join(['chmod', '-R', 'u+rwX', str(there)])}")
    group = "" if name(own) == str(own) else ":"  # a user with a name has a group of its own
    command = shlex.join(["sudo", "chown", "-R", f"{name(own)}{group}", str(checkout)])
    return EnvironmentRefused(
        f"{path} cannot be used: it belongs to {name(owner)}, and this command runs as {name(own)} ({reason}).",
        f"Give this user all of the checkout, then run the same command again: {command}",
    )


def private_folder(path: Path) -> None:
    """Make `path` a folder that only this user can enter."""
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o777 != PRIVATE_FOLDER:
            path.chmod(PRIVATE_FOLDER)
    except OSError as error:
        raise refused(error, path) from error


def write_whole(path: Path, text: str) -> None:
    """Write a private file in one step: a crash or a refusal leaves the old file, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        try:
            write_all(fd, text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise refused(error, path) from error


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`: the kernel may take a part at a time, as before a disk is full."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_folder(path: Path) -> None:
    """Make the folder's entries survive a power failure; the fsync of a new file does not keep its name."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
