"""The one place that talks to Prefect's client: small functions that return facts.

Every answer is a frozen record of our own, so the tasks know nothing of Prefect's classes. A server that does not
answer, or answers with an error, is a `TaskFailed` that says what was asked.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from blueprint.facts import Deployment, LogLine, Pool, Run, Schedule, Transition, Worker
from blueprint.task import TaskFailed

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, TaskRun

_PAGE = 200
_BUSY_SECONDS = 30.0
_creating = threading.Lock()  # with SQLite, of several runs made at once all but one are answered 503


class Refused(Exception):
    """The server refused to create a run; the message is its reason. No run was made."""


@functools.cache
def _client() -> SyncPrefectClient:
    """One client for the whole process; httpx's clients may be shared between threads."""
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)


T = TypeVar("T")


def asking(what: str, question: Callable[[], T], *, refusals: tuple[int, ...] = ()) -> T:
    """Ask the server, again while it is busy, and put what goes wrong into a sentence.

    SQLite lets one writer in at a time, and Prefect's server answers 503 to whoever comes second. Prefect's client
    would sleep for about two seconds each time; a moment is enough. Everything asked here may safely be asked twice.

    Args:
        what: What is asked, as it follows "asked to".
        question: The call of Prefect's client.
        refusals: HTTP statuses that are an answer: raised as `Refused`.

    Raises:
        ObjectNotFound: What was asked for does not exist.
        Refused: The answer has one of the statuses `refusals`.
        TaskFailed: The server does not answer, or with an error.
    """
    import httpx
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    try:
        return Retrying(
            retry=retry_if_exception(_is_busy),
            wait=wait_exponential_jitter(initial=0.05, max=0.5, jitter=0.1),
            stop=stop_after_delay(_BUSY_SECONDS),
            reraise=True,
        )(question)
    except ObjectNotFound:
        raise
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in refusals:
            raise Refused(_detail(error.response.text)) from error
        raise TaskFailed(
            f"The server refused to {what}: HTTP {status}: {error.response.text[:300]}",
            where_to_look="logs/server.log",
            what_to_do="Run again; if it stays, look at the server's log.",
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise TaskFailed(
            f"The server did not answer when asked to {what}: {type(error).__name__} {error}".rstrip(),
            where_to_look="logs/server.log",
            what_to_do="Run `python run_blueprint.py verify`, then `python run_blueprint.py --resume`.",
        ) from error


def _is_busy(error: BaseException | None) -> bool:
    import httpx

    while error is not None:  # Prefect wraps what it met in errors of its own, such as DeploymentApplyError
        if getattr(getattr(error, "response", None), "status_code", None) in (429, 503):
            return True
        if isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
            return True  # after a 503 the server closes the connection, also under a request that follows on it
        error = error.__cause__
    return False


def server_version() -> str:
    """The version of the Prefect that serves the API."""
    return asking("tell its version", lambda: _client().api_version())


def pool(name: str) -> Pool | None:
    """The work pool of that name, or None."""
    from prefect.exceptions import ObjectNotFound

    try:
        found = asking(f"read the work pool {name!r}", lambda: _client().read_work_pool(name))
    except ObjectNotFound:
        return None
    status = found.status.value if found.status else "UNKNOWN"
    return Pool(found.name, found.type, found.is_paused, found.concurrency_limit, status)


def create_process_pool(name: str, concurrency_limit: int | None) -> None:
    """Create a work pool of type process.  One made by somebody else in the same moment is as good."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    wanted = WorkPoolCreate(name=name, type="process", concurrency_limit=concurrency_limit)
    with contextlib.suppress(ObjectAlreadyExists):
        asking(f"create the work pool {name!r}", lambda: _client().create_work_pool(wanted))


def update_pool(name: str, *, paused: bool, concurrency_limit: int | None) -> None:
    """Bring a work pool back to what is configured."""
    from prefect.client.schemas.actions import WorkPoolUpdate

    wanted = WorkPoolUpdate(is_paused=paused, concurrency_limit=concurrency_limit)
    asking(f"update the work pool {name!r}", lambda: _client().update_work_pool(name, wanted))


def workers(pool_name: str) -> list[Worker]:
    """The workers that the server knows of in a pool, online or not."""
    found = asking(f"list the workers of {pool_name!r}", lambda: _client().read_workers_for_work_pool(pool_name))
    return [Worker(one.name, str(getattr(one.status, "value", one.status)), one.last_heartbeat_time) for one in found]


def deployments_named(name: str) -> list[Deployment]:
    """All deployments of that name, of whatever flow."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    named = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
    found = asking(f"list the deployments named {name!r}", lambda: _client().read_deployments(deployment_filter=named))
    return [_deployment(one) for one in found]


def deployment(flow_name: str, name: str) -> Deployment | None:
    """The deployment `flow_name/name`, or None."""
    from prefect.exceptions import ObjectNotFound

    full = f"{flow_name}/{name}"
    try:
        return _deployment(asking(f"read the deployment {full}", lambda: _client().read_deployment_by_name(full)))
    except ObjectNotFound:
        return None


def _deployment(found: Any) -> Deployment:
    schedules = tuple(
        Schedule(str(one.id), bool(one.active), one.schedule.model_dump(mode="json", exclude_none=True))
        for one in found.schedules
    )
    limit = found.global_concurrency_limit.limit if found.global_concurrency_limit else found.concurrency_limit
    return Deployment(
        id=str(found.id),
        name=found.name,
        flow_id=str(found.flow_id),
        entrypoint=found.entrypoint,
        path=found.path,
        pull_steps=tuple(found.pull_steps or ()),
        pool=found.work_pool_name,
        parameters=found.parameters,
        schema=found.parameter_openapi_schema or {},
        enforces_schema=bool(found.enforce_parameter_schema),
        version=found.version,
        description=found.description,
        tags=frozenset(found.tags),
        schedules=schedules,
        paused=bool(found.paused),
        status=str(getattr(found.status, "value", found.status)),
        concurrency_limit=limit,
        job_variables=found.job_variables or {},
    )


def create_run(
    deployment_id: str, parameters: Mapping[str, Any] | None, *, tags: Iterable[str], idempotency_key: str
) -> Run:
    """Trigger a deployment; with a key that was used before, the run made then is returned and no other is made.

    Raises:
        Refused: The server does not accept the parameters.
        TaskFailed: It did not answer, or answered with another error.
    """
    with _creating:
        made = asking(
            "create a flow run",
            lambda: _client().create_flow_run_from_deployment(
                UUID(deployment_id),
                parameters=None if parameters is None else dict(parameters),
                tags=list(tags),
                idempotency_key=idempotency_key,
            ),
            refusals=(409, 422),
        )
    return _run(made)


def _detail(text: str) -> str:
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        return text[:300]


def run(run_id: str) -> Run | None:
    """A flow run by its id, or None."""
    from prefect.exceptions import ObjectNotFound

    try:
        return _run(asking(f"read the flow run {run_id}", lambda: _client().read_flow_run(UUID(run_id))))
    except ObjectNotFound:
        return None


def runs(
    *,
    tags: Iterable[str] = (),
    deployment_id: str | None = None,
    types: Iterable[str] = (),
    auto_scheduled_only: bool = False,
) -> list[Run]:
    """Flow runs that carry all the tags, belong to the deployment and are in one of the states; earliest due first.

    Subflows are not among them: they take over the tags of the run that calls them.
    """
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = filters.FlowRunFilter(
        parent_task_run_id=filters.FlowRunFilterParentTaskRunId(is_null_=True),
        tags=filters.FlowRunFilterTags(all_=list(tags)) if tags else None,
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[UUID(deployment_id)]) if deployment_id else None,
        state=filters.FlowRunFilterState.model_validate({"type": {"any_": list(types)}}) if types else None,
    )
    found = _pages(
        "list flow runs",
        lambda offset: _client().read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=_PAGE, offset=offset
        ),
    )
    return [_run(one) for one in found if one.auto_scheduled or not auto_scheduled_only]


def transitions(run_id: str) -> list[Transition]:
    """The states that a flow run went through, in order."""
    what = f"read the states of the flow run {run_id}"
    states = asking(what, lambda: _client().read_flow_run_states(UUID(run_id)))
    ordered = sorted(states, key=lambda state: state.timestamp)
    return [Transition(state.type.value, state.name or "", state.timestamp, state.message or "") for state in ordered]


def task_runs(run_id: str) -> list[Run]:
    """The task runs of a flow run."""
    from prefect.client.schemas import filters

    of_run = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[UUID(run_id)]))
    found = _pages(
        f"list the task runs of {run_id}",
        lambda offset: _client().read_task_runs(flow_run_filter=of_run, limit=_PAGE, offset=offset),
    )
    return [_run(one) for one in found]


def task_run_transitions(task_run_id: str) -> list[Transition]:
    """The states that a task run went through, in order; AwaitingRetry among them for each retry."""

    def question() -> list[dict[str, Any]]:
        answer = _client()._client.get("/task_run_states/", params={"task_run_id": task_run_id})
        answer.raise_for_status()
        return list(answer.json())

    states = asking(f"read the states of the task run {task_run_id}", question)
    found = [
        Transition(one["type"], one["name"] or "", datetime.fromisoformat(one["timestamp"]), one["message"] or "")
        for one in states
    ]
    return sorted(found, key=lambda state: state.at)


def schedule_between(deployment_id: str, start: datetime, end: datetime) -> None:
    """Have the server make the scheduled runs of a stretch of time now, which it otherwise does when they come near."""
    body = {"start_time": start.isoformat(), "end_time": end.isoformat(), "min_runs": 20, "max_runs": 20}
    path = f"/deployments/{deployment_id}/schedule"
    asking("schedule the coming runs", lambda: _client()._client.post(path, json=body).raise_for_status())


def set_crashed(run_id: str, message: str, *, force: bool = False) -> None:
    """Say for a flow run that it has crashed; without force, one that has ended meanwhile keeps its state."""
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with contextlib.suppress(ObjectNotFound):
        asking(
            f"mark the flow run {run_id} as crashed",
            lambda: _client().set_flow_run_state(UUID(run_id), Crashed(message=message), force=force),
        )


def delete_run(run_id: str) -> None:
    """Delete a flow run; one that is gone already is as good."""
    from prefect.exceptions import ObjectNotFound

    with contextlib.suppress(ObjectNotFound):
        asking(f"delete the flow run {run_id}", lambda: _client().delete_flow_run(UUID(run_id)))


def delete_deployment(deployment_id: str) -> None:
    """Delete a deployment and its scheduled runs."""
    asking("delete the deployment", lambda: _client().delete_deployment(UUID(deployment_id)))


def logs(run_id: str) -> list[str]:
    """The messages that a flow run and its tasks logged, in order."""
    return [line.message for line in log_lines(run_id)]


def log_lines(run_id: str) -> list[LogLine]:
    """The lines that a flow run and its tasks logged, in order."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import LogSort

    of_run = filters.LogFilter(flow_run_id=filters.LogFilterFlowRunId(any_=[UUID(run_id)]))
    found = _pages(
        f"read the logs of {run_id}",
        lambda offset: _client().read_logs(of_run, limit=_PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC),
    )
    return [LogLine(str(one.task_run_id) if one.task_run_id else None, one.message) for one in found]


def _pages(what: str, page: Callable[[int], Sequence[T]]) -> list[T]:
    """All of what comes in pages; `page` is given the offset."""
    found: list[T] = []
    while True:
        more = asking(what, functools.partial(page, len(found)))
        found += more
        if len(more) < _PAGE:
            return found


def _run(found: FlowRun | TaskRun) -> Run:
    state = found.state
    deployment_id = getattr(found, "deployment_id", None)
    return Run(
        id=str(found.id),
        name=found.name,
        type=state.type.value if state else "PENDING",
        state=(state.name if state else None) or "",
        message=(state.message if state else None) or "",
        parameters=getattr(found, "parameters", {}),
        tags=frozenset(found.tags),
        deployment_id=str(deployment_id) if deployment_id else None,
        created=found.created,
        started=found.start_time,
        ended=found.end_time,
        expected_start=found.expected_start_time,
        auto_scheduled=bool(getattr(found, "auto_scheduled", False)),
        run_count=found.run_count,
    )
