"""Asks the user's code, which runs in processes of its own.

Nothing of it is imported here; it may hang, or end its process.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueprint.config.settings import Settings
from blueprint.core.errors import FlowError
from blueprint.core.files import private_folder, write_whole
from blueprint.core.task import TaskControl, within
from blueprint.core.workspace import Workspace
from blueprint.prefect_adapter.flow_client import FlowClient
from blueprint.prefect_adapter.flow_definition import DEFINITION, FlowDefinition, folder_of
from blueprint.prefect_adapter.models import Run
from blueprint.processes.ownership import OwnershipTag

_SECONDS = 60.0  # for a request that comes with no deadline of its own


class FlowHost:
    """Runs the user's flows and checks, a process for each of their files; safe to use from several threads.

    A process is started when it is first needed, and again after it hung or died. Requests to it wait for each other.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Prepare; no process is started yet. Their environment is this process's own, with an ownership tag."""
        self._root = workspace.root
        self._log = workspace.logs / "flow_code.log"
        self._tag = OwnershipTag(workspace.identity(), "flow-code").environment("")
        self._processes: dict[tuple[Path, str], FlowClient] = {}
        self._definitions: dict[tuple[Path, str], FlowDefinition] = {}
        self._lock = threading.Lock()

    def start(self, settings: Settings) -> None:
        """Start the process of a flow ahead: it imports Prefect while others have work to do."""
        self._process_of(settings).start()

    def close(self) -> None:
        """End all processes, with what they have started."""
        with self._lock:
            while self._processes:
                self._processes.popitem()[1].close()

    def describe(self, settings: Settings, control: TaskControl | None = None) -> FlowDefinition:
        """Load the configured flow and return what its code says; loaded once, even if its file is changed later.

        Raises:
            FlowError: It cannot be loaded, or is not a flow.
            TaskStopped: Interrupted, or out of time; its process has been killed.
        """
        key = folder_of(settings, self._root), settings.entrypoint
        if key not in self._definitions:
            values = self._ask("describe", settings, control, f"{settings.entrypoint} to load")
            self._definitions[key] = DEFINITION.validate_python(values)
        return self._definitions[key]

    def parameter_problems(
        self, settings: Settings, parameters: Mapping[str, Any], control: TaskControl | None = None
    ) -> list[str]:
        """Return what the flow's own validation has against these parameters; raises as `describe` does."""
        waiting = f"{settings.entrypoint} to judge its parameters"
        problems: list[str] = self._ask("parameter_problems", settings, control, waiting, parameters=dict(parameters))
        return problems

    def refused_parameters(
        self, settings: Settings, candidates: list[Mapping[str, Any]], control: TaskControl | None = None
    ) -> list[bool]:
        """Tell of each whether the server, which knows the flow's schema only, would refuse it."""
        waiting = f"{settings.entrypoint} to judge its parameters"
        refusals: list[bool] = self._ask("refused_parameters", settings, control, waiting, candidates=candidates)
        return refusals

    def deploy(self, settings: Settings, control: TaskControl | None = None, *, scheduled: bool = True) -> str:
        """Deploy the flow with `flow.deploy`, with its schedule or without, and return the deployment's id.

        Raises:
            ApiError: The server refused it.
            FlowError: The flow cannot be loaded.
            TaskStopped: Interrupted, or out of time.
        """
        return str(self._ask("deploy", settings, control, f"{settings.entrypoint} to be deployed", scheduled=scheduled))

    def check(self, settings: Settings, run: Run, control: TaskControl | None = None) -> Mapping[str, Any]:
        """Call the configured check with a run's id and parameters, and return the details that it found.

        The check may be asynchronous. It says that the effect is not there by raising, or by returning False; what
        else it returns is evidence, a mapping by its own keys.

        Raises:
            FlowError: The check cannot be loaded, or says that the effect is not there.
            TaskStopped: Interrupted, or out of time; its process has been killed.
        """
        waiting = f"the check {settings.check} of the run {run.name}"
        answer = self._ask("check", settings, control, waiting, run_id=run.id, parameters=dict(run.parameters))
        if "refused" in answer:
            raise FlowError(
                f"The check {settings.check} refused the run {run.name}: {answer['refused']}",
                "See the run's logs there, then run `python run_blueprint.py --resume`.",
                f"{settings.server_url}/runs/flow-run/{run.id}",
            )
        details: Mapping[str, Any] = answer["details"]
        return details

    def flows_in(self, file: Path, folder: Path, control: TaskControl | None = None) -> list[str]:
        """Return the names of the flow functions that a file defines, in their order; raises as `describe` does."""
        request = {"call": "flows_in", "settings": None, "root": str(folder), "file": str(file)}
        names: list[str] = self._process(folder, str(file)).ask(request, control or within(_SECONDS), f"{file} to load")
        return names

    def _ask(self, call: str, settings: Settings, control: TaskControl | None, waiting: str, **arguments: Any) -> Any:
        request = {"call": call, "settings": settings.without_secrets(), "root": str(self._root), **arguments}
        return self._process_of(settings).ask(request, control or within(_SECONDS), waiting)

    def _process_of(self, settings: Settings) -> FlowClient:
        folder = folder_of(settings, self._root)
        file, _, _ = settings.entrypoint.rpartition(":")
        return self._process(folder, str(folder / file) if file else settings.entrypoint.rpartition(".")[0])

    def _process(self, folder: Path, code: str) -> FlowClient:
        with self._lock:
            if not self._processes:
                private_folder(self._log.parent)
                write_whole(self._log, "")
            if (folder, code) not in self._processes:
                self._processes[folder, code] = FlowClient(self._log, self._tag)
            return self._processes[folder, code]
