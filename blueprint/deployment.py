"""The deployment as Python: what the flow is, what the deployment should be, and `flow.deploy` or `flow.serve`.

It takes the place of prefect.yaml. Run as a module it is the process that serves the flows in `serve` mode.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import shlex
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from blueprint import prefect_api
from blueprint.facts import Deployment
from blueprint.platform import SETTINGS_VARIABLE
from blueprint.settings import RetryPolicy, Settings, TaskExpectation
from blueprint.task import TaskFailed

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.schedules import Schedule

MADE_BY = "Made by Blueprint."
_RUNS_SERVED = 5  # of a deployment at a time; Prefect's own limit for a process that serves one
_ENGINE = Path(__file__).parent / "worker" / "engine.py"


@dataclass(frozen=True)
class FlowDefinition:
    """A flow as its code defines it."""

    name: str
    function: str
    file: Path | None
    schema: Mapping[str, Any]
    tasks: Mapping[str, TaskExpectation]
    policy: RetryPolicy


_loaded: dict[tuple[str, Path], Flow[..., Any]] = {}
_folders: set[Path] = set()
_loading = threading.Lock()  # loading changes sys.path and sys.modules


def _load(entrypoint: str, folder: Path) -> Flow[..., Any]:
    from prefect.flows import load_flow_from_entrypoint

    path, _, name = entrypoint.rpartition(":")
    full = f"{folder / path}:{name}" if path else entrypoint
    with _loading:
        if (entrypoint, folder) not in _loaded:
            with _told_of(entrypoint, full, folder / path if path else None, folder):
                _loaded[entrypoint, folder] = load_flow_from_entrypoint(full, use_placeholder_flow=False)
        return _loaded[entrypoint, folder]


def import_from(folder: Path, module: str) -> ModuleType:
    """Import a module of the user's that lies beside a flow.

    Raises:
        BaseException: Whatever the module raises.
    """
    with _loading:
        _prefer(folder)
        return importlib.import_module(module)


def _prefer(folder: Path) -> None:
    """Have modules come from this folder; one of the same name from another flow's folder is forgotten.

    Flows with a `helpers.py` each are programs of their own, and here they are loaded into one process.
    """
    if sys.path[0] != str(folder):
        sys.path[:] = [str(folder), *(path for path in sys.path if path != str(folder))]
    others = _folders - {folder}
    _folders.add(folder)
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "")
        if "site-packages" in file.parts or not others & set(file.parents):
            continue
        own, package = folder / f"{name.partition('.')[0]}.py", folder / name.partition(".")[0]
        if (own.is_file() and file != own) or (package.is_dir() and package not in file.parents and file != own):
            del sys.modules[name]


@contextlib.contextmanager
def _told_of(entrypoint: str, full: str, file: Path | None, folder: Path) -> Iterator[None]:
    """Load user code in the block: whatever goes wrong there is one sentence."""
    from prefect.exceptions import MissingFlowError, ScriptError

    advice = "Correct the flow's file or the entrypoint in [tool.blueprint], then run again."
    if file is not None and not file.is_file():
        raise TaskFailed(f"The flow's file {file} does not exist.", what_to_do=advice)
    _prefer(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except MissingFlowError as error:
        raise TaskFailed(
            f"{entrypoint} is not a flow: {error}".strip(), where_to_look=full, what_to_do=advice
        ) from None
    except ScriptError as error:
        raise _unloadable(entrypoint, full, error.user_exc, advice) from error
    except (Exception, SystemExit) as error:
        raise _unloadable(entrypoint, full, error, advice) from error


def _unloadable(entrypoint: str, full: str, cause: BaseException, advice: str) -> TaskFailed:
    where = f" ({Path(cause.filename or '').name}, line {cause.lineno})" if isinstance(cause, SyntaxError) else ""
    what = f"{entrypoint} cannot be loaded: {type(cause).__name__}: {cause}{'' if 'line' in str(cause) else where}"
    if isinstance(cause, ModuleNotFoundError):
        advice = (
            f"If {cause.name} is a package to install, add it to `requirements` in [tool.blueprint]; if it is your "
            "own module, set `source` there to the folder that it is imported from. Then run again."
        )
    elif isinstance(cause, ImportError) and "relative import" in str(cause):
        advice = (
            "Name the flow through its package, as package.module.flow_function, in [tool.blueprint], with `source` "
            "as the folder that the package lies in. Then run again."
        )
    return TaskFailed(what, where_to_look=full, what_to_do=advice)


def flows_in(file: Path, folder: Path) -> list[str]:
    """The names of the flow functions that a file defines, in their order.

    Raises:
        TaskFailed: It cannot be loaded.
    """
    from prefect import Flow
    from prefect.utilities.importtools import load_script_as_module

    with _loading, _told_of(str(file), str(file), file, folder):
        found = vars(load_script_as_module(str(file)))
        return [
            name
            for name, one in found.items()
            if isinstance(one, Flow) and Path(one.fn.__code__.co_filename).resolve() == file.resolve()
        ]


def loaded_schema(settings: Settings, root: Path) -> Mapping[str, Any]:
    """The parameter schema of the flow if it has been loaded; empty if not yet."""
    flow = _loaded.get((settings.entrypoint, folder_of(settings, root)))
    return flow.parameters.model_dump(mode="json") if flow else {}


def folder_of(settings: Settings, root: Path) -> Path:
    """The folder that the flow's code is run from."""
    return (root / settings.source).resolve()


def flow_definition(settings: Settings, root: Path) -> FlowDefinition:
    """Load the flow by its entrypoint and tell what it is.

    Raises:
        TaskFailed: It cannot be loaded, or is not a flow.
    """
    from prefect import Task

    flow = _load(settings.entrypoint, folder_of(settings, root))
    tasks = [value for value in flow.fn.__globals__.values() if isinstance(value, Task)]
    return FlowDefinition(
        name=flow.name,
        function=getattr(flow.fn, "__qualname__", flow.fn.__name__),
        file=Path(flow.fn.__code__.co_filename),
        schema=flow.parameters.model_dump(mode="json"),
        tasks={
            task.name: TaskExpectation(
                retries=task.retries or 0,
                retry_delay_seconds=_delay(task.retry_delay_seconds),
                tags=frozenset(task.tags),
            )
            for task in tasks
        },
        policy=RetryPolicy(retries=flow.retries or 0, retry_delay_seconds=_delay(flow.retry_delay_seconds)),
    )


def _delay(value: Any) -> float:
    if isinstance(value, list):
        value = value[0] if value else 0
    return float(value or 0) if not callable(value) else 0


def parameter_problems(settings: Settings, root: Path, parameters: Mapping[str, Any]) -> list[str]:
    """What the flow's own validation has against these parameters; empty if they fit."""
    from prefect.exceptions import ParameterBindError, ParameterTypeError, SignatureMismatchError

    flow = _load(settings.entrypoint, folder_of(settings, root))
    schema = flow.parameters.model_dump(mode="json")
    unknown = sorted(set(parameters) - set(schema.get("properties", {})))
    if unknown:
        return [f"{name}: the flow has no such parameter" for name in unknown]
    missing = sorted(set(schema.get("required", ())) - set(parameters))
    if missing:
        return [f"{name}: has no default and is not given" for name in missing]
    try:
        flow.validate_parameters(dict(parameters))
    except (ParameterTypeError, ParameterBindError, SignatureMismatchError, ValueError) as error:
        return [" ".join(str(error).split())]
    return []


def server_refuses(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Whether the server, which knows a flow's schema only, would refuse these parameters for what they are."""
    from prefect.utilities.schema_tools.validation import validate

    return bool(validate(dict(parameters), dict(schema), ignore_required=True))


@dataclass(frozen=True)
class Wanted:
    """The deployment that the settings and the flow's code describe."""

    flow_name: str
    name: str
    entrypoint: str
    folder: str
    pool: str | None
    parameters: Mapping[str, Any]
    schema: Mapping[str, Any]
    tags: frozenset[str]
    version: str
    schedule: Mapping[str, Any] | None
    concurrency_limit: int | None
    job_variables: Mapping[str, Any]

    def differences(self, found: Deployment) -> list[str]:
        """What is other on the server, a text for each."""
        directories = [
            step["prefect.deployments.steps.set_working_directory"]["directory"]
            for step in found.pull_steps
            if "prefect.deployments.steps.set_working_directory" in step
        ]
        schedules = [one.definition for one in found.schedules if one.active]
        pairs: list[tuple[str, object, object]] = [
            ("entrypoint", self.entrypoint, found.entrypoint),
            ("work pool", self.pool, found.pool),
            ("parameters", dict(self.parameters), dict(found.parameters)),
            ("parameter schema", _without_empty(self.schema), _without_empty(found.schema)),
            ("tags", sorted(self.tags), sorted(found.tags)),
            ("version", self.version, found.version),
            ("enforces its schema", True, found.enforces_schema),
            ("paused", False, found.paused),
            ("concurrency limit", self.concurrency_limit, found.concurrency_limit),
            ("job variables", dict(self.job_variables), dict(found.job_variables)),
            ("number of active schedules", 1 if self.schedule else 0, len(schedules)),
        ]
        if self.pool:
            pairs.append(("folder", [self.folder], directories))
        if self.schedule and len(schedules) == 1:
            pairs += [(f"schedule's {key}", value, schedules[0].get(key)) for key, value in self.schedule.items()]
            pairs = [pair for pair in pairs if pair[0] != "schedule's rrule" or not _same_rrule(pair[1], pair[2])]
        return [f"{what} is {have!r}, not {want!r}" for what, want, have in pairs if want != have]


def _same_rrule(wanted: object, found: object) -> bool:
    """The server puts a line with a start before a rule that has none."""
    return found == wanted or (
        str(found).startswith("DTSTART") and str(found).partition("\n")[2] == wanted and "DTSTART" not in str(wanted)
    )


def same_schedule(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether the server's schedule is the one that is wanted."""
    return all(
        _same_rrule(value, found.get(key)) if key == "rrule" else found.get(key) == value
        for key, value in wanted.items()
    )


def _without_empty(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The server leaves out what is empty, the client does not."""
    return {key: value for key, value in schema.items() if value not in ([], {}, None)}


def _served_entrypoint(flow: FlowDefinition, root: Path) -> str:
    """What the serving process, whose folder is `root`, registers: Prefect names a served flow by its file."""
    return f"{os.path.relpath(flow.file or '', root)}:{flow.function}"


def wanted(settings: Settings, root: Path) -> Wanted:
    """Describe the deployment that is to be made."""
    flow = flow_definition(settings, root)
    schedule: dict[str, Any] | None = None
    if settings.cron:
        schedule = {"cron": settings.cron, "timezone": settings.timezone}
    elif settings.interval:
        schedule = {"interval": settings.interval, "timezone": settings.timezone}
    elif settings.rrule:
        schedule = {"rrule": settings.rrule, "timezone": settings.timezone}
    content = flow.file.read_bytes() if flow.file and flow.file.is_file() else settings.entrypoint.encode()
    return Wanted(
        flow_name=flow.name,
        name=settings.deployment,
        entrypoint=_served_entrypoint(flow, root) if settings.serves else settings.entrypoint,
        folder=str(folder_of(settings, root)),
        pool=None if settings.serves else settings.pool,
        parameters=settings.parameters,
        schema=flow.schema,
        tags=frozenset(settings.tags),
        version=hashlib.sha256(content).hexdigest()[:12],
        schedule=schedule,
        concurrency_limit=settings.concurrency_limit,
        job_variables={} if settings.serves else _job_variables(folder_of(settings, root)),
    )


def _job_variables(folder: Path) -> dict[str, str]:
    """What the pool's worker starts a run with; Prefect's own way imports Prefect twice for each run."""
    return {"command": shlex.join((sys.executable, "-I", "-S", str(_ENGINE))), "working_dir": str(folder)}


def _schedule(settings: Settings) -> Schedule | None:
    from prefect import schedules

    if settings.cron:
        return schedules.Cron(settings.cron, timezone=settings.timezone)
    if settings.interval:
        return schedules.Interval(timedelta(seconds=settings.interval), timezone=settings.timezone)
    if settings.rrule:
        return schedules.RRule(settings.rrule, timezone=settings.timezone)
    return None


def deploy(settings: Settings, root: Path, *, scheduled: bool = True) -> str:
    """Register the deployment with `flow.deploy`; one of the same name is updated and keeps its id.

    Args:
        settings: Of the deployment.
        root: The project folder.
        scheduled: Whether with its schedule.

    Returns:
        The deployment's id.
    """
    from prefect import Flow
    from prefect.deployments.runner import DeploymentApplyError

    target = wanted(settings, root)

    def question() -> object:
        with contextlib.redirect_stdout(io.StringIO()):
            flow = Flow.from_source(source=target.folder, entrypoint=target.entrypoint)
            return flow.deploy(  # type: ignore[union-attr]
                name=target.name,
                work_pool_name=settings.pool,
                build=False,
                push=False,
                schedule=_schedule(settings) if scheduled else None,
                paused=False,
                concurrency_limit=settings.concurrency_limit,
                job_variables=dict(target.job_variables),
                parameters=dict(settings.parameters),
                tags=list(settings.tags),
                version=target.version,
                description=MADE_BY,
                enforce_parameter_schema=True,
                print_next_steps=False,
                ignore_warnings=True,
            )

    try:
        return str(prefect_api.asking(f"deploy {target.flow_name}/{target.name}", question))
    except DeploymentApplyError as error:
        raise TaskFailed(
            f"The server refused the deployment {target.flow_name}/{target.name}: {error}",
            where_to_look="logs/server.log",
            what_to_do="Correct what it says in [tool.blueprint] or in the flow, then run again.",
        ) from error


def serve(each: Sequence[Settings], root: Path) -> None:
    """Serve the flows in this process until it is told to stop; their schedules stay active without it."""
    import prefect

    flows = [_load(settings.entrypoint, folder_of(settings, root)) for settings in each]
    terms = [_served(settings, root) for settings in each]
    how: dict[str, Any] = {"pause_on_shutdown": False, "print_starting_message": True, "webserver": True}
    if len(each) == 1:
        flows[0].serve(global_limit=each[0].concurrency_limit, **terms[0], **how)
        return
    made: list[Any] = [
        flow.to_deployment(concurrency_limit=settings.concurrency_limit, **of_flow)
        for flow, settings, of_flow in zip(flows, each, terms, strict=True)
    ]
    prefect.serve(*made, limit=_RUNS_SERVED * len(each), **how)


def _served(settings: Settings, root: Path) -> dict[str, Any]:
    target = wanted(settings, root)
    return {
        "name": target.name,
        "schedule": _schedule(settings),
        "parameters": dict(settings.parameters),
        "tags": list(settings.tags),
        "version": target.version,
        "description": MADE_BY,
        "enforce_parameter_schema": True,
    }


if __name__ == "__main__":
    serve([Settings.model_validate(one) for one in json.loads(os.environ[SETTINGS_VARIABLE])], Path.cwd())
