"""The record of each service between two executions: one small private file, never half written.

A record is a help to memory and no proof: the process that it names is looked at before anything is done to it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blueprint.core.files import private_folder, refused, write_whole
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.ownership import OwnershipTag
from blueprint.processes.spec import ServiceSpec

_VERSION = 1
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("title", "workspace", "fingerprint", "host", "log", "started_at"), (str,)),
    "port": (int, type(None)),
    "ready": (bool,),
    "log_offset": (int,),
    "depends_on": (list,),
    "identity": (dict,),
}


class RecordDamaged(Exception):
    """The file is there and cannot be used; the message is one sentence that names it."""


@dataclass(frozen=True)
class ServiceRecord:
    """A service that was started."""

    name: str
    title: str
    workspace: str  # the id of the one that started it
    identity: ProcessIdentity
    fingerprint: str  # of the settings that it was started with
    host: str
    port: int | None
    log: str
    started_at: str  # UTC, ISO 8601; for people only
    ready: bool = False  # whether it has ever been
    log_offset: int = 0  # the byte of the log at which its own lines begin
    depends_on: tuple[str, ...] = ()  # it is stopped before these services


def new(spec: ServiceSpec, tag: OwnershipTag, identity: ProcessIdentity, log_offset: int = 0) -> ServiceRecord:
    """Return the record of a service that was started now."""
    return ServiceRecord(
        name=spec.name,
        title=spec.title,
        workspace=tag.workspace,
        identity=identity,
        fingerprint=spec.fingerprint(tag.workspace),
        host=spec.host,
        port=spec.port,
        log=str(spec.log),
        log_offset=log_offset,
        depends_on=spec.depends_on,
        started_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


def write(folder: Path, record: ServiceRecord) -> None:
    """Write the record in place of the one before."""
    private_folder(folder)
    write_whole(_path(folder, record.name), json.dumps({"version": _VERSION, **asdict(record)}, indent=1) + "\n")


def read(folder: Path, name: str) -> ServiceRecord | None:
    """Read the record of a service; None if there is none.

    Raises:
        RecordDamaged: There is one, and it is torn, garbage, or of another version of this program.
    """
    path = _path(folder, name)
    try:
        return _record(json.loads(path.read_bytes()), name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordDamaged(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise RecordDamaged(f"{path} cannot be used: {error}") from error


def names(folder: Path) -> list[str]:
    """Return the names of the services that have a record, good or damaged."""
    return sorted(path.stem for path in folder.glob("[!.]*.json"))


def remove(folder: Path, name: str) -> None:
    """Forget the service."""
    path = _path(folder, name)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise refused(error, path) from error


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _record(values: Any, name: str) -> ServiceRecord:
    if not isinstance(values, dict) or values.get("version") != _VERSION or values.get("name") != name:
        raise ValueError(f"it is not a record of {name} that this version understands")
    values = {"log_offset": 0, "depends_on": [], **values}  # a record of an earlier version has none of these
    for key, kinds in _KINDS.items():
        if type(values.get(key)) not in kinds:
            raise ValueError(f"its {key} is missing or not as it should be")
    if "\0" in values["log"]:
        raise ValueError("its log is no file")
    if values["port"] is not None and not 0 < values["port"] < 65536:
        raise ValueError("its port is no port")
    fields = {key: values[key] for key in _KINDS}
    fields["identity"] = ProcessIdentity.from_json(values["identity"])
    fields["depends_on"] = tuple(map(str, values["depends_on"]))
    return ServiceRecord(name, **fields)
