"""Context of the tasks. Standard library only at module level: what is installed is imported by the methods."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint.core import child
from blueprint.core.files import PRIVATE_UMASK
from blueprint.core.task import TaskControl, TaskFailed, TaskSkipped
from blueprint.core.workspace import Workspace

if TYPE_CHECKING:
    from blueprint.config.settings import Settings
    from blueprint.platform.base import Platform
    from blueprint.prefect_adapter.desired_state import DesiredDeployment
    from blueprint.prefect_adapter.flow_definition import FlowDefinition
    from blueprint.prefect_adapter.flow_host import FlowHost
    from blueprint.prefect_adapter.models import Deployment, Run
    from blueprint.processes.log import LogPosition
    from blueprint.processes.manager import ServiceManager

_NOT_IN_KEYS = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True)
class SetupContext:
    """The surroundings of tasks 1 to 4, which run before the settings can be judged.

    Attributes:
        lock: The lock file to install, from the project's root.
        requirements: Further requirements of the user's flows.
        requirements_lock: The lock file that has them with their hashes, if the user has made one.
    """

    workspace: Workspace
    lock: str = "requirements.lock"
    requirements: tuple[str, ...] = ()
    requirements_lock: Path | None = None


@dataclass(frozen=True)
class Context:
    """The surroundings of tasks 5 to 30.

    Attributes:
        origin: The id of the execution that this one goes on from, or its own: marks the flow runs that belong to it.
        document: Writes task 28's document; called with its text and the deployment's key.
        log_start: The place in the worker's log behind which the lines of this execution's runs are.
        with_worker: Whether the plan starts the worker: it can be begun while the server is still starting.
        label: The name of the deployment, if there are several; see `each`.
        every: If so, the settings of all of them.
    """

    settings: Settings
    workspace: Workspace
    services: ServiceManager
    platform: Platform
    flows: FlowHost
    origin: str
    document: Callable[[str, str], str]
    log_start: LogPosition
    with_worker: bool = False
    label: str = ""
    every: tuple[Settings, ...] = ()

    def each(self) -> dict[str, Context]:
        """Return the context of each deployment by its label."""
        from blueprint.config.settings import unique_labels

        every = self.settings.each()
        if len(every) == 1:
            return {every[0].deployment: dataclasses.replace(self, settings=every[0])}
        pairs = zip(every, unique_labels(every), strict=True)
        return {label: dataclasses.replace(self, settings=own, label=label, every=every) for own, label in pairs}

    @property
    def key(self) -> str:
        """The deployment's name as a part of a file's name; empty if there is only one deployment."""
        plain = _NOT_IN_KEYS.sub("-", self.label.lower()).strip("-_")[:40]
        return plain if plain == self.label else f"{plain or 'x'}-{hashlib.sha256(self.label.encode()).hexdigest()[:6]}"

    def flow(self, control: TaskControl | None = None) -> FlowDefinition:
        """Return the flow as its code defines it; from then on what it declares as secret is never written."""
        from blueprint.config import redaction

        flow = self.flows.describe(self.settings, control)
        redaction.REDACTOR.learn(redaction.configured(self.settings, flow.schema))
        return flow

    def desired_deployment(self, control: TaskControl | None = None) -> DesiredDeployment:
        """Return the deployment that the settings and the flow's code describe."""
        from blueprint.prefect_adapter.desired_state import desired_deployment

        return desired_deployment(self.flow(control), self.settings, self.workspace.root)

    def require_deployment(self) -> Deployment:
        """Return the deployment as the server has it now."""
        from blueprint.prefect_adapter import deployments

        flow_name, name = self.flow().name, self.settings.deployment
        found = deployments.deployment(flow_name, name)
        if found is None:
            raise TaskFailed(
                f"The server has no deployment '{flow_name}/{name}'.",
                where_to_look=f"{self.settings.server_url}/deployments",
                hint="Run `python run_blueprint.py --resume-from 15` to deploy it again.",
            )
        return found

    @property
    def mark(self) -> str:
        """The tag that marks the flow runs of this deployment in this execution."""
        return f"{self.execution_mark}{f'/{self.label}' if self.label else ''}"

    @property
    def execution_mark(self) -> str:
        """The tag that marks all flow runs of this execution."""
        return f"blueprint:{self.origin}"

    def tag(self, case: int | str) -> str:
        """Return the tag that marks the flow runs of one case of this deployment in this execution."""
        return f"{self.mark}:{case}"

    def tags(self, case: int | str) -> tuple[str, ...]:
        """Return all the tags of such a flow run."""
        return tuple(dict.fromkeys((self.tag(case), self.mark, self.execution_mark)))

    def runs_of(self, case: int | str) -> list[Run]:
        """Return the flow runs of one case of this deployment in this execution, oldest first."""
        from blueprint.prefect_adapter import flow_runs

        return flow_runs.runs(tags=[self.tag(case)])

    def end_child(self, name: str, control: TaskControl) -> str | None:
        """End what a killed execution left of a command of that name, and return what it was."""
        return self.services.stop(name, control, grace=2.0)

    def run_child(
        self,
        name: str,
        argv: Sequence[str | Path],
        control: TaskControl,
        *,
        env: Mapping[str, str],
        niceness: int = child.STANDS_BACK,
        given: str = "",
    ) -> child.Finished:
        """Run a command to its end; `stop` and the next execution find it if this one is killed.

        Args:
            name: Its name in the ownership tag; no service has that name.
            argv: The program and its arguments.
            control: Gives the deadline and the wish to stop.
            env: Its environment, without the tag.
            niceness: 0 to 19; a higher one leaves the processor to others.
            given: Text for its standard input.
        """
        from blueprint.processes.ownership import OwnershipTag

        tagged = {**env, **OwnershipTag(self.services.workspace, name).environment("")}
        cwd = self.workspace.root
        return child.run(argv, control, env=tagged, cwd=cwd, niceness=niceness, given=given, umask=PRIVATE_UMASK)

    def run_page(self, run: Run) -> str:
        """Return the address of a run's page in the UI."""
        return f"{self.settings.server_url}/runs/flow-run/{run.id}"

    def skip_without_pool(self) -> None:
        """Skip the task in `serve` mode."""
        if self.settings.serves:
            raise TaskSkipped("flow.serve needs no work pool and no worker")

    def effect(self, run: Run, control: TaskControl) -> Mapping[str, Any]:
        """Call the configured check with the run's id and parameters, and return the details that it found."""
        return self.flows.check(self.settings, run, control) if self.settings.check else {}
