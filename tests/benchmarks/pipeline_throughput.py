# ruff: noqa: E402  (run by path: the imports below must wait until the packages can be found)
"""How fast the pipeline is, and how much memory it takes, for 100,000 records in one run.

    python tests/benchmarks/pipeline_throughput.py [--records N] [--repeat R]

Needs nothing running: the metrics API and a throw-away Prefect server are started here. Prints, as medians:

- each stage alone, called as a plain function, in records per second;
- the whole flow run in a process of its own, Prefect included, with its peak memory;
- the reference, measured in between: the same rows put into SQLite by one bare `executemany`.

Everything is measured in the same run on the same machine; compare the ratios and not the seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from blueprint.pipeline.config import ExtractConfig
from blueprint.pipeline.metrics import DailyMetrics, daily_metrics
from blueprint.pipeline.source import fetch
from blueprint.pipeline.warehouse import landed, load
from tests.support.prefect_server import PrefectServer, running_prefect

_T = TypeVar("_T")
TABLE = "warehouse.public.daily_metrics"
FLOW = PROJECT / "blueprint" / "pipeline" / "data_pipeline.py"


@dataclass
class Figures:
    """Seconds by what was measured, and the flow run's peak memory in bytes."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak: list[int] = field(default_factory=list)

    def timed(self, what: str, call: Callable[[], _T]) -> _T:
        """Call, and keep how long it took."""
        started = time.perf_counter()
        result = call()
        self.seconds.setdefault(what, []).append(time.perf_counter() - started)
        return result


@contextlib.contextmanager
def _metrics_api(folder: Path) -> Iterator[str]:
    """The source in a process of its own, so that its work and memory are not counted as the pipeline's."""
    argv = [sys.executable, "-m", "blueprint.pipeline.metrics_api", "--port", "0"]
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=PROJECT, stderr=subprocess.PIPE, stdout=log, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "running on" in line)
        address = next(word for word in line.split() if word.startswith("http://"))
        yield f"{address}/api/v1/metrics"
    finally:
        process.terminate()
        process.communicate()


def _reference(folder: Path, metrics: DailyMetrics, figures: Figures) -> None:
    rows = [
        tuple(cell.isoformat() if isinstance(cell, date) else cell for cell in ("run", *row, row.observed_at))
        for row in metrics.rows()
    ]
    path = folder / f"reference-{time.monotonic_ns()}.sqlite3"
    names = ", ".join(f"c{number}" for number in range(len(rows[0])))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE t ({names}, PRIMARY KEY (c0, c1))")

        def insert() -> None:
            connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(rows[0]))})", rows)
            connection.commit()

        figures.timed("reference: bare executemany", insert)


def _flow_run(server: PrefectServer, url: str, records: int, figures: Figures) -> None:
    flow = server.post("/flows/", {"name": "Enterprise Data Pipeline"})
    parameters = {"source_url": url, "batch_size": records, "timeout_seconds": 600}
    run = server.post("/flow_runs/", {"flow_id": flow["id"], "parameters": parameters, "state": {"type": "PENDING"}})
    env = server.env | {"PREFECT__FLOW_ENTRYPOINT": f"{FLOW}:enterprise_data_pipeline"}
    argv = [sys.executable, "-m", "prefect.engine", run["id"]]

    def execute() -> int:
        process = subprocess.Popen(argv, env=env, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss * 1024

    figures.peak.append(figures.timed("whole flow run, Prefect included", execute))
    state = server.get(f"/flow_runs/{run['id']}")["state_name"]
    if state != "Completed" or landed(TABLE, run["id"]).rows != records:
        raise SystemExit(f"The flow run ended {state}; its figures would mean nothing.")


def _measure(server: PrefectServer, url: str, folder: Path, records: int, figures: Figures) -> None:
    config = ExtractConfig(source_url=url, batch_size=records, timeout_seconds=600)
    readings = figures.timed("extract", lambda: fetch(config))
    metrics = figures.timed("transform", lambda: daily_metrics(readings.items))
    figures.timed("load (SQLite)", lambda: load(TABLE, f"bench-{time.monotonic_ns()}", metrics.rows()))
    _reference(folder, metrics, figures)
    _flow_run(server, url, records, figures)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Records per second and peak memory of the pipeline.")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(running_prefect(folder))
        url = stack.enter_context(_metrics_api(folder))
        os.environ.pop("PIPELINE_DATABASE_URL", None)
        os.environ["PIPELINE_WAREHOUSE_DIR"] = server.env["PIPELINE_WAREHOUSE_DIR"]
        for _ in range(arguments.repeat):
            _measure(server, url, folder, arguments.records, figures)
    medians = {what: statistics.median(values) for what, values in figures.seconds.items()}
    reference = medians["reference: bare executemany"]
    print(f"{arguments.records} records, medians of {arguments.repeat}")
    print(f"{'':34} {'seconds':>8} {'records/s':>10} {'x reference':>11}")
    for what, seconds in medians.items():
        print(f"{what:34} {seconds:8.2f} {arguments.records / seconds:10,.0f} {seconds / reference:11.2f}")
    print(f"peak memory of the flow run: {max(figures.peak) / 1e6:.0f} MB (bound: 300 MB)")


if __name__ == "__main__":
    main()
