"""Reading how the services of one workspace are; nothing is started, ended or written."""

from __future__ import annotations

import contextlib
from pathlib import Path

from blueprint.core.http import NotReady
from blueprint.processes import records
from blueprint.processes.finding import NOT_RUNNING, RUNNING, STOPPED, Found, find
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.listening import require_listener
from blueprint.processes.log import ServiceLog
from blueprint.processes.ownership import OwnershipTag, owned_processes
from blueprint.processes.records import RecordDamaged, ServiceRecord
from blueprint.processes.spec import ServiceSpec

_LAST_LINES = 20  # of the log of a service that died: what it said hours ago is not the cause


class ServiceReader:
    """Reads the services of one workspace."""

    def __init__(self, folder: Path, workspace_id: str) -> None:
        """Read the services whose records are in a folder and whose processes carry a workspace's id."""
        self._folder = folder
        self.workspace = workspace_id

    def record(self, name: str) -> ServiceRecord | None:
        """Read the record of a service; None if there is none that can be used, or it is another workspace's."""
        with contextlib.suppress(RecordDamaged):
            record = records.read(self._folder, name)
            if record is not None and record.workspace == self.workspace:
                return record
        return None

    def state(self, name: str) -> str:
        """Say how a service is: `running`, `frozen`, `stopped…`, `not ours: …` or `running without a record: …`."""
        found = self._find(name)
        if found.state != STOPPED:
            return found.state
        if found.record is None:
            processes = owned_processes(self._tag(name))
            if processes:
                return f"running without a record: {processes[0]}"
            return STOPPED if found.reason == NOT_RUNNING else f"{STOPPED}: {found.reason}"
        said = ServiceLog(Path(found.record.log)).telling_line(found.record.log_offset, _LAST_LINES)
        return f"{STOPPED}: {found.reason}; its log says: {said}"

    def require_running(self, spec: ServiceSpec) -> ProcessIdentity:
        """Return the service's main process, proven to run and to hold the service's port.

        Raises:
            NotReady: It does not run, or nobody listens; says how the service is.
            EnvironmentRefused: Somebody else holds the port; names the process.
        """
        found = self._find(spec.name)
        if found.record is None or found.state != RUNNING:
            raise NotReady(self.state(spec.name))
        require_listener(spec, self._tag(spec.name), found.record.identity)
        return found.record.identity

    def _tag(self, name: str) -> OwnershipTag:
        return OwnershipTag(self.workspace, name)

    def _find(self, name: str) -> Found:
        return find(self._folder, self._tag(name))
