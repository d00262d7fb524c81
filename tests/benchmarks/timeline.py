"""Where the time of one execution went: a line for each task, and the chain of tasks that decided its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from blueprint.execution.history import ExecutionRecord
from blueprint.tasks.registry import specs

WIDTH = 60


def timeline(record: ExecutionRecord) -> Iterator[str]:
    """A line per task: when it began and ended, as a bar, the deciding chain marked with `*`."""
    spans = {
        number: tuple(datetime.fromisoformat(at).timestamp() for at in (task.started_at, task.finished_at))
        for number, task in record.tasks.items()
        if task.started_at and task.finished_at
    }
    start = datetime.fromisoformat(record.started_at).timestamp()
    scale = WIDTH / (max(finish for _, finish in spans.values()) - start)
    chain = critical_path(spans)
    yield "task  begin    end  (seconds; * is the chain that decided the end)"
    for number, (begin, finish) in sorted(spans.items()):
        left, width = int(scale * (begin - start)), max(1, round(scale * (finish - begin)))
        bar = " " * left + "█" * width
        mark = "*" if number in chain else " "
        title = specs()[number - 1].title
        yield f"{number:>3}{mark} {begin - start:6.1f} {finish - start:6.1f}  {bar:<{WIDTH + 2}}{title}"


def critical_path(spans: Mapping[int, tuple[float, ...]]) -> set[int]:
    """From the task that ended last back to the need of it that ended last, and so on."""
    number = max(spans, key=lambda one: spans[one][1])
    chain = {number}
    while needs := [need for need in specs()[number - 1].needs if need in spans]:
        number = max(needs, key=lambda one: spans[one][1])
        chain.add(number)
    return chain
