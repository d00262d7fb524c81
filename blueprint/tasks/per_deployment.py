"""Tasks that prove each deployment: one function, called for each of them, and one result over all.

With a single deployment the task is just that function. With several, what each of them showed is kept under its name:
the facts hold, for every deployment, what the journal would hold of a task; a failure names the deployments that failed
and those that passed.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterable, Mapping

from blueprint.core.errors import BlueprintError
from blueprint.core.task import Evidence, TaskControl, TaskFailed, TaskSkipped, TaskStopped
from blueprint.execution import outcome
from blueprint.tasks.context import Context

Function = Callable[[Context, TaskControl], Evidence]
_Ends = Mapping[str, Evidence | BaseException]

_NOTICE_SECONDS = 0.1
_GRACE_SECONDS = 2.0  # for those that end with the deadline; less than the executor gives to the whole task


def in_turn(function: Function, *, first: Function | None = None) -> Function:
    """The function for one deployment after the other: for what they would get into each other's way with.

    Args:
        function: Is given the context of a deployment.
        first: What the task proves once, of the platform. If it fails, so does the task.
    """
    return _over_each(function, first, _one_by_one)


def side_by_side(function: Function, *, first: Function | None = None) -> Function:
    """The function for all deployments at once, so that what is waited for is waited for once. As `in_turn` else."""
    return _over_each(function, first, _at_once)


def _over_each(
    function: Function, first: Function | None, called: Callable[[Function, list[Context], TaskControl], _Ends]
) -> Function:
    def task(ctx: Context, control: TaskControl) -> Evidence:
        of_all = first(ctx, control) if first else Evidence("")
        each = ctx.each()
        if len(each) == 1:
            own = function(each[0], control)
            return _joined(of_all, own, own.details)
        ends = called(function, each, control)
        if control.stopped.is_set():
            raise TaskStopped("interrupted")
        details = {name: _judged(end).as_record() for name, end in ends.items()}
        return _joined(of_all, _all_of(ends, details), {"deployments": details})

    return task


def _joined(of_all: Evidence, own: Evidence, details: Mapping[str, object]) -> Evidence:
    return Evidence(
        "; ".join(filter(None, (of_all.summary, own.summary))),
        {**of_all.details, **details},
        of_all.changed or own.changed,
        "; ".join(filter(None, (of_all.reason, own.reason))),
    )


def _one_by_one(function: Function, each: list[Context], control: TaskControl) -> _Ends:
    return {one.label: _end(function, one, control) for one in each if not control.stopped.is_set()}


def _at_once(function: Function, each: list[Context], control: TaskControl) -> _Ends:
    """Each in a thread of its own; one that hangs is abandoned, and does not take the others' results with it."""
    ended: queue.SimpleQueue[tuple[str, Evidence | BaseException]] = queue.SimpleQueue()

    def work(one: Context) -> None:
        ended.put((one.label, _end(function, one, control)))

    for one in each:
        name = f"{threading.current_thread().name}-{one.key}"
        threading.Thread(target=work, args=(one,), name=name, daemon=True).start()
    ends: dict[str, Evidence | BaseException] = {}
    while len(ends) < len(each) and not control.stopped.is_set():
        try:
            label, end = ended.get(timeout=_NOTICE_SECONDS)
        except queue.Empty:
            if control.clock() >= control.deadline + _GRACE_SECONDS:
                break
        else:
            ends[label] = end
    return {one.label: ends.get(one.label, TaskFailed("It did not end in time.")) for one in each}


def _end(function: Function, one: Context, control: TaskControl) -> Evidence | BaseException:
    def tell(text: str) -> None:
        control.tell(f"{one.label}: {text}")

    try:
        return function(one, dataclasses.replace(control, tell=tell))
    except BaseException as error:  # noqa: BLE001  whatever it is, the task hears of it, as the executor does
        return error


def _judged(end: Evidence | BaseException) -> outcome.TaskOutcome:
    return outcome.raised(end) if isinstance(end, BaseException) else outcome.returned(end)


def _all_of(ends: _Ends, details: Mapping[str, object]) -> Evidence:
    """What all of them showed.

    Raises:
        TaskFailed, BlueprintError: One of them, or several, failed.
        TaskSkipped: There is nothing to prove of any.
        RuntimeError: The task has a bug.
    """
    errors = {name: end for name, end in ends.items() if isinstance(end, BaseException)}
    skipped = {name: str(error) for name, error in errors.items() if isinstance(error, TaskSkipped)}
    failed = {name: error for name, error in errors.items() if name not in skipped}
    if failed:
        raise _failure(failed, [name for name in ends if name not in errors], details)
    if len(skipped) == len(ends):
        raise TaskSkipped(_once(skipped))
    shown = {name: end for name, end in ends.items() if isinstance(end, Evidence)}
    told = {name: shown[name].summary if name in shown else f"skipped, {skipped[name]}" for name in ends}
    reason = _once({name: one.reason for name, one in shown.items() if one.reason})
    return Evidence(_listed(told), changed=any(one.changed for one in shown.values()), reason=reason)


def _failure(failed: Mapping[str, BaseException], passed: list[str], details: Mapping[str, object]) -> Exception:
    for name, error in failed.items():
        if not isinstance(error, TaskFailed | TaskStopped | BlueprintError):
            bug = RuntimeError(f"{name}: {type(error).__name__}: {error}")
            bug.__cause__ = error
            return bug
    judged = {name: outcome.raised(error) for name, error in failed.items()}
    what = _listed({name: one.summary for name, one in judged.items()})
    hint = " ".join(_different(one.hint for one in judged.values()))
    for error in failed.values():
        if isinstance(error, BlueprintError):
            return type(error)(what, hint)
    return TaskFailed(
        f"{what} Passed: {', '.join(passed)}." if passed else what,
        where_to_look="; ".join(_different(one.where_to_look for one in judged.values())),
        hint=hint,
        details={"deployments": details},
    )


def _listed(texts: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in texts.items())


def _once(texts: Mapping[str, str]) -> str:
    """The same, but what is so of all of them is said once."""
    same = set(texts.values())
    return same.pop() if len(same) == 1 and len(texts) > 1 else _listed(texts)


def _different(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
