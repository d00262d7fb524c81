"""How long a proven platform takes, against a script that does the steps with Prefect's command line one by one.

    .venv/bin/python -m tests.benchmarks.against_the_script [--rounds 3]

Everything is measured in the same run on the same machine, each round: the sequential script on a Prefect of its own
with default settings, `--phase all` on an empty state, `--phase all` again, `verify`, `plan` and `--help`. Printed are
medians, the ratio to the script, and where the time of one run goes, with the longest chain of tasks marked.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import httpx

from blueprint.catalog import BY_NUMBER
from blueprint.history import ExecutionRecord
from tests.support.checkout import Checkout, make_checkout
from tests.support.ports import free_ports

DEPLOY = """
import sys
from prefect import flow
flow.from_source(source={root!r}, entrypoint="blueprint/pipeline/data_pipeline.py:enterprise_data_pipeline").deploy(
    name="production-etl", work_pool_name="local-process-pool", cron="0 9 * * *", parameters={{"batch_size": 500}},
    print_next_steps=False, ignore_warnings=True)
"""
NAME = "Enterprise Data Pipeline/production-etl"


class Script:
    """The steps of the shell script, one Prefect command after the other, waiting for each."""

    def __init__(self, checkout: Checkout, folder: Path) -> None:
        self.folder = folder
        self.root = checkout.root
        self.python = checkout.root / ".venv" / "bin" / "python"
        self.port = free_ports(3)[0]
        self.env = checkout.environment | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PIPELINE_WAREHOUSE_DIR": str(folder / "warehouse"),
            "PIPELINE_SOURCE_URL": f"http://127.0.0.1:{self.port + 2}/api/v1/metrics",
        }
        (folder / "prefect").mkdir(parents=True)

    def background(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a service, its output into a file."""
        with (self.folder / "services.log").open("ab") as log:
            return subprocess.Popen(
                [str(self.python), *argv], cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
            )

    def prefect(self, *argv: str, fails: bool = False) -> None:
        """Run a Prefect command to its end."""
        finished = subprocess.run(
            [str(self.python), "-m", "prefect", *argv], cwd=self.folder, env=self.env, capture_output=True, check=False
        )
        if (finished.returncode != 0) != fails:
            raise RuntimeError(f"{argv} ended with {finished.returncode}: {finished.stdout[-800:]!r}")

    def run(self, *argv: str) -> None:
        """Run Python to its end."""
        subprocess.run([str(self.python), *argv], cwd=self.folder, env=self.env, capture_output=True, check=True)

    def ready(self, url: str) -> None:
        """Wait until an address answers 200."""
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url, timeout=2, trust_env=False).status_code == 200:
                    return
            time.sleep(0.5)

    def steps(self, services: list[subprocess.Popen[bytes]]) -> None:
        """What the script did, in its order."""
        pipeline = str(self.root / "blueprint" / "pipeline" / "data_pipeline.py")
        self.run("-c", "import prefect.server.api.server as server; server.create_app()")
        self.prefect("config", "view")
        metrics_api = str(self.root / "blueprint" / "pipeline" / "metrics_api.py")
        services.append(self.background(metrics_api, "--port", str(self.port + 2)))
        self.ready(f"http://127.0.0.1:{self.port + 2}/health")
        services.append(self.background("-m", "prefect", "server", "start"))
        self.ready(f"http://127.0.0.1:{self.port}/api/ready")
        self.run(pipeline)
        self.prefect("flow-run", "ls")
        self.prefect("work-pool", "create", "local-process-pool", "--type", "process")
        self.prefect("work-pool", "inspect", "local-process-pool")
        services.append(self.background("-m", "prefect", "worker", "start", "--pool", "local-process-pool"))
        self.run("-c", DEPLOY.format(root=str(self.root)))
        for _ in range(3):  # registration, schedule, phase 2 as a whole
            self.prefect("deployment", "inspect", NAME)
        self.prefect("work-pool", "ls")
        self.prefect("deployment", "run", NAME, "--watch")
        self.prefect("deployment", "run", NAME, "--param", "batch_size=50", "--watch")
        self.prefect("deployment", "run", NAME, "--params", '{"batch_size": 200}', "--watch")
        self.prefect("flow-run", "ls")
        self.prefect("deployment", "run", NAME, "--param", 'source_url="invalid://url"', "--watch", fails=True)
        self.prefect("deployment", "run", NAME, "--param", "batch_size=-1", fails=True)
        self.prefect("deployment", "schedule", "ls", NAME)
        self.prefect("flow-run", "ls")


def sequential_script(checkout: Checkout) -> float:
    """Seconds that the script takes."""
    with tempfile.TemporaryDirectory() as folder:
        script = Script(checkout, Path(folder))
        services: list[subprocess.Popen[bytes]] = []
        began = time.monotonic()
        try:
            script.steps(services)
            return time.monotonic() - began
        finally:
            for service in reversed(services):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(service.pid, signal.SIGKILL)
                service.wait()


@contextlib.contextmanager
def installed() -> Iterator[Checkout]:
    """A checkout with its environment, in a temporary folder."""
    folder = Path(tempfile.mkdtemp())
    checkout = make_checkout(folder)
    try:
        yield checkout
    finally:
        checkout.reset()
        shutil.rmtree(folder)


def timed(checkout: Checkout, *argv: str) -> float:
    """Seconds of a command of ours."""
    return checkout.must(*argv).seconds


def one_round(checkout: Checkout) -> tuple[dict[str, float], ExecutionRecord]:
    """Each figure once, in seconds, and the record of the first execution."""
    checkout.reset()
    figures = {"script": sequential_script(checkout)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures["--phase all, empty state"] = timed(checkout, "--phase", "all")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The services are not waited for by us and so not in it; the checks and the local run, which are awaited, are.
    figures["  CPU of it and of the commands it waits for"] = (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    )
    record = checkout.last()
    figures["--phase all again"] = timed(checkout, "--phase", "all")
    for command in ("verify", "plan", "--help"):
        figures[command] = timed(checkout, command)
    checkout.must("stop")
    return figures, record


def timeline(record: ExecutionRecord) -> Iterator[str]:
    """A line per task: when it began and ended, as a bar, the longest chain marked with `*`."""
    spans = {
        number: tuple(datetime.fromisoformat(at).timestamp() for at in (task.started_at, task.finished_at))
        for number, task in record.tasks.items()
        if task.started_at and task.finished_at
    }
    start, end = min(begin for begin, _ in spans.values()), max(finish for _, finish in spans.values())
    chain = critical_path(spans)
    for number, (begin, finish) in sorted(spans.items()):
        left, width = int(60 * (begin - start) / (end - start)), max(1, round(60 * (finish - begin) / (end - start)))
        bar = " " * left + "█" * width
        mark = "*" if number in chain else " "
        yield f"{number:>3}{mark} {begin - start:6.1f} {finish - start:6.1f}  {bar:<62}{BY_NUMBER[number].title}"


def critical_path(spans: Mapping[int, tuple[float, ...]]) -> set[int]:
    """The chain that decided when the last task ended: from it back to the need that ended last, and so on."""
    number = max(spans, key=lambda one: spans[one][1])
    chain = {number}
    while needs := [need for need in BY_NUMBER[number].needs if need in spans]:
        number = max(needs, key=lambda one: spans[one][1])
        chain.add(number)
    return chain


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with installed() as checkout:
        results = [one_round(checkout) for _ in range(rounds)]
    medians = {name: statistics.median(figures[name] for figures, _ in results) for name in results[0][0]}
    print(f"{'medians of ' + str(rounds):<46}{'seconds':>9}{'x script':>10}")
    for name, seconds in medians.items():
        print(f"{name:<46}{seconds:>9.2f}{seconds / medians['script']:>10.2f}")
    print("\ntask  begin    end  (seconds; * is the chain that decided the end)")
    print("\n".join(timeline(results[-1][1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
