"""Flow runs: triggering, finding, marking and deleting them, and what they and their tasks went through."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from blueprint.prefect_adapter.client import PAGE, asking, client, pages
from blueprint.prefect_adapter.models import Run, Transition

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, Log, State, TaskRun

_WORKER_LABEL = "prefect.worker.name"  # a worker puts it on each flow run that it takes
_creating = threading.Lock()  # with SQLite, of several runs made at once all but one are answered 503


def create_run(
    deployment_id: str, parameters: Mapping[str, Any] | None, *, tags: Iterable[str], idempotency_key: str
) -> Run:
    """Trigger a deployment, or return the run that was made with this key before.

    Raises:
        Refused: The server does not accept the parameters.
        ApiError: It did not answer, or answered with another error.
    """
    with _creating:
        made = asking(
            "create a flow run",
            lambda: client().create_flow_run_from_deployment(
                UUID(deployment_id),
                parameters=None if parameters is None else dict(parameters),
                tags=list(tags),
                idempotency_key=idempotency_key,
            ),
            refusals=(409, 422),
        )
    return _run(made)


def run(run_id: str) -> Run | None:
    """Return a flow run by its id, or None."""
    from prefect.exceptions import ObjectNotFound

    try:
        return _run(asking(f"read the flow run {run_id}", lambda: client().read_flow_run(UUID(run_id))))
    except ObjectNotFound:
        return None


def runs(*, tags: Iterable[str] = (), deployment_id: str | None = None, types: Iterable[str] = ()) -> list[Run]:
    """Return the flow runs with all the tags, of the deployment, in one of the states; earliest due first.

    Subflows are not among them: they take over the tags of the run that calls them.
    """
    wanted: dict[str, Any] = {"parent_task_run_id": {"is_null_": True}}
    if tags:
        wanted["tags"] = {"all_": list(tags)}
    if deployment_id:
        wanted["deployment_id"] = {"any_": [deployment_id]}
    if types:
        wanted["state"] = {"type": {"any_": list(types)}}
    return [_run(answer) for answer in matching("list flow runs", **wanted)]


def matching(what: str, **wanted: Any) -> list[FlowRun]:
    """Return Prefect's flow runs that match the fields of its filter, earliest due first."""
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    of_these = FlowRunFilter.model_validate(wanted)
    return pages(
        what,
        lambda offset: client().read_flow_runs(
            flow_run_filter=of_these, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=PAGE, offset=offset
        ),
    )


def transitions(run_id: str) -> list[Transition]:
    """Return the states that a flow run went through, in order."""
    what = f"read the states of the flow run {run_id}"
    return _transitions(asking(what, lambda: client().read_flow_run_states(UUID(run_id))))


def task_runs(run_id: str) -> list[Run]:
    """Return the task runs of a flow run."""
    from prefect.client.schemas.filters import FlowRunFilter

    of_run = FlowRunFilter.model_validate({"id": {"any_": [run_id]}})
    found = pages(
        f"list the task runs of {run_id}",
        lambda offset: client().read_task_runs(flow_run_filter=of_run, limit=PAGE, offset=offset),
    )
    return [_run(answer) for answer in found]


def task_run_transitions(task_run_id: str) -> list[Transition]:
    """Return the states that a task run went through, in order; each retry is among them."""
    from prefect.client.schemas.objects import State

    def question() -> list[State]:
        answer = client()._client.get("/task_run_states/", params={"task_run_id": task_run_id})
        return [State.model_validate(state) for state in answer.raise_for_status().json()]

    return _transitions(asking(f"read the states of the task run {task_run_id}", question))


def logs(run_id: str) -> list[str]:
    """Return the messages that a flow run and its tasks logged, in order."""
    return [line.message for line in log_lines(run_id)]


def log_lines(run_id: str) -> list[Log]:
    """Return the lines that a flow run and its tasks logged, in order; `task_run_id` if one of its tasks did."""
    from prefect.client.schemas.filters import LogFilter
    from prefect.client.schemas.sorting import LogSort

    of_run = LogFilter.model_validate({"flow_run_id": {"any_": [run_id]}})
    return pages(
        f"read the logs of {run_id}",
        lambda offset: client().read_logs(of_run, limit=PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC),
    )


def set_crashed(run_id: str, message: str, *, force: bool = False) -> None:
    """Say for a flow run that it has crashed; without force, one that has ended meanwhile keeps its state."""
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with contextlib.suppress(ObjectNotFound):
        asking(
            f"mark the flow run {run_id} as crashed",
            lambda: client().set_flow_run_state(UUID(run_id), Crashed(message=message), force=force),
        )


def _transitions(states: Iterable[State]) -> list[Transition]:
    found = [
        Transition(
            state.type.value, state.name or "", state.timestamp, state.message or "", state.state_details.scheduled_time
        )
        for state in states
    ]
    return sorted(found, key=lambda state: state.at)


def _run(found: FlowRun | TaskRun) -> Run:
    state = found.state
    deployment_id = getattr(found, "deployment_id", None)
    pid = getattr(found, "infrastructure_pid", None) or ""
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
        expected_start=found.expected_start_time,
        worker=getattr(found, "labels", {}).get(_WORKER_LABEL),
        pid=int(pid) if pid.isdecimal() else None,
    )
