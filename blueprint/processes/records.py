"""The record of each service between two executions: one small private file, never half written.

A record is a help to memory and no proof: the process that it names is looked at before anything is done to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.core.files import private_folder, refused, write_whole
from blueprint.processes.identity import ProcessIdentity

_VERSION = 1
_MOST_BYTES = 64 * 1024


class RecordDamaged(Exception):
    """The file is there and cannot be used; the message is one sentence that names it."""


@dataclass(frozen=True)
class ServiceRecord:
    """A service that was started.

    Attributes:
        name: The service's name.
        title: Its name for people.
        workspace: The id of the workspace that started it.
        identity: Its main process.
        fingerprint: The hash of the settings that it was started with.
        host: The address that it was to listen on.
        port: Its port, if any.
        log: Its log file.
        log_offset: The byte of the log at which its own lines begin.
        started_at: UTC, ISO 8601; for people only.
        ready: Whether it has ever been ready.
    """

    name: str
    title: str
    workspace: str
    identity: ProcessIdentity
    fingerprint: str
    host: str
    port: int | None
    log: str
    started_at: str
    ready: bool = False
    log_offset: int = 0


def write(folder: Path, record: ServiceRecord) -> None:
    """Write the record in place of the one before.

    Raises:
        EnvironmentRefused: The disk is full or not writable; the record before is untouched.
    """
    private_folder(folder)
    values = {"version": _VERSION, **vars(record), "identity": record.identity.to_json()}
    write_whole(_path(folder, record.name), json.dumps(values, indent=1) + "\n")


def read(folder: Path, name: str) -> ServiceRecord | None:
    """Read the record of a service; None if there is none.

    Raises:
        RecordDamaged: There is one, and it is torn, garbage, or of another version of this program.
    """
    path = _path(folder, name)
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordDamaged(f"{path} cannot be read ({error.strerror})") from error
    try:
        return _record(json.loads(raw), name)
    except (ValueError, RecursionError) as error:
        reason = "it is not JSON" if not isinstance(error, _Unfit) else str(error)
        raise RecordDamaged(f"{path} cannot be used: {reason}") from error


def names(folder: Path) -> list[str]:
    """Return the names of the services that have a record, good or damaged."""
    return sorted(path.stem for path in folder.glob("[!.]*.json"))


def remove(folder: Path, name: str) -> None:
    """Forget the service.

    Raises:
        EnvironmentRefused: The file cannot be removed.
    """
    path = _path(folder, name)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise refused(error, path) from error


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


class _Unfit(ValueError):
    """The file is JSON, but not a record."""


def _record(values: Any, name: str) -> ServiceRecord:
    if not isinstance(values, dict) or values.get("version") != _VERSION or values.get("name") != name:
        raise _Unfit(f"it is not a record of {name} that this version understands")
    for key in ("title", "workspace", "fingerprint", "host", "log", "started_at"):
        if not isinstance(values.get(key), str):
            raise _Unfit(f"{key} is not text")
    port, identity = values.get("port"), values.get("identity")
    if port is not None and (type(port) is not int or not 0 < port < 65536):
        raise _Unfit("port is not a port")
    if type(values.get("ready")) is not bool or not isinstance(identity, dict):
        raise _Unfit("ready or identity is missing")
    try:
        verified = ProcessIdentity.from_json(identity)
    except ValueError as error:
        raise _Unfit(str(error)) from error
    offset = values.get("log_offset", 0)  # a record of an earlier version has none
    if type(offset) is not int or offset < 0:
        raise _Unfit("log_offset is not an offset")
    fields = {key: values[key] for key in ServiceRecord.__dataclass_fields__ if key in values}
    return ServiceRecord(**fields | {"identity": verified})
