"""What every task is given: the configuration, the places, the services, and whose execution it is."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from blueprint import deployment, prefect_api, secrecy
from blueprint.deployment import FlowDefinition
from blueprint.facts import Deployment, Run
from blueprint.services.manager import ServiceManager
from blueprint.settings import Settings
from blueprint.task import TaskFailed, TaskSkipped
from blueprint.workspace import Workspace


@dataclass(frozen=True)
class Context:
    """The surroundings of a task.

    Attributes:
        settings: What the user configured.
        workspace: Where things lie.
        services: Starts, adopts and stops server, worker and data source.
        origin: The id of the execution that this one goes on from, or its own: marks the flow runs that belong to it.
        document: Where task 28 writes what happened.
        with_worker: Whether the plan starts the worker: it can be begun while the server is still starting.
    """

    settings: Settings
    workspace: Workspace
    services: ServiceManager
    origin: str
    document: Callable[[str], str]
    with_worker: bool = False

    def flow(self) -> FlowDefinition:
        """The configured flow, loaded once."""
        return deployment.flow_definition(self.settings, self.workspace.root)

    def secrets(self) -> frozenset[str]:
        """The texts that must not be written anywhere; a parameter's only once the flow has said that it is secret."""
        schema = deployment.loaded_schema(self.settings, self.workspace.root)
        return secrecy.configured(self.settings, schema)

    def require_deployment(self) -> Deployment:
        """The deployment as the server has it now.

        Raises:
            TaskFailed: The server does not have it.
        """
        name = f"{self.flow().name}/{self.settings.deployment}"
        found = prefect_api.deployment(self.flow().name, self.settings.deployment)
        if found is None:
            raise TaskFailed(
                f"The server has no deployment {name!r}.",
                where_to_look=f"{self.settings.server_url}/deployments",
                what_to_do="Run `python run_blueprint.py --resume-from 15` to deploy it again.",
            )
        return found

    def tag(self, case: int | str) -> str:
        """The tag that marks the flow runs of one case of this execution."""
        return f"blueprint:{self.origin}:{case}"

    def runs_of(self, case: int | str) -> list[Run]:
        """The flow runs of one case of this execution, oldest first."""
        return prefect_api.runs(tags=[self.tag(case)])

    def skip_without_pool(self) -> None:
        """Skip the task in `serve` mode.

        Raises:
            TaskSkipped: There is no work pool.
        """
        if self.settings.serves:
            raise TaskSkipped("flow.serve needs no work pool and no worker")

    def effect(self, run: Run) -> Mapping[str, Any]:
        """Call the configured check with the run's id and parameters, and return the facts it found.

        The check may be asynchronous. It says that the effect is not there by raising, or by returning False; what
        else it returns is evidence, a mapping by its own keys.

        Raises:
            TaskFailed: The check cannot be called, or says that the effect is not there.
        """
        if self.settings.check is None:
            return {}
        function = self._check(self.settings.check)
        try:
            found = function(run.id, dict(run.parameters))
            if inspect.isawaitable(found):
                found = asyncio.run(_result(found))
            if found is False:
                raise ValueError("it returned False")
            if found is None or found is True:
                return {}
            facts = json.loads(json.dumps(found, default=str))  # the journal holds JSON
            return facts if isinstance(facts, dict) else {"check": facts}
        except Exception as error:  # the user's own check may raise anything, and each of it means: not proven
            raise TaskFailed(
                f"The check {self.settings.check} refused the run {run.name}: {error or type(error).__name__}",
                where_to_look=f"{self.settings.server_url}/runs/flow-run/{run.id}",
                what_to_do="See the run's logs there, then run `python run_blueprint.py --resume`.",
            ) from error

    def _check(self, name: str) -> Callable[[str, dict[str, Any]], Any]:
        module, _, function = name.partition(":")
        folder = deployment.folder_of(self.settings, self.workspace.root)
        try:
            found = getattr(deployment.import_from(folder, module), function)
            if not callable(found):
                raise TypeError(f"{function} is not a function")
        except Exception as error:  # the user's own module may raise anything at import
            raise TaskFailed(
                f"The check {name} cannot be loaded: {type(error).__name__}: {error}.",
                where_to_look="pyproject.toml [tool.blueprint] check",
                what_to_do=f"Name a function as module:function that can be imported from {folder}.",
            ) from error
        return cast("Callable[[str, dict[str, Any]], Any]", found)


async def _result(awaitable: Any) -> Any:
    return await awaitable
