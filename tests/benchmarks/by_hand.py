"""Prefect with nothing of ours: what a shell script does step by step, and what each part takes by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.checkout import Checkout
from tests.support.ports import free_ports

POOL = "local-process-pool"
NAME = "Enterprise Data Pipeline/production-etl"
IMPORT_SERVER = "import prefect.server.api.server as server; server.create_app()"
DEPLOY = """
from prefect import flow
flow.from_source(source={root!r}, entrypoint="blueprint/pipeline/data_pipeline.py:enterprise_data_pipeline").deploy(
    name="production-etl", work_pool_name="local-process-pool", cron="0 9 * * *", parameters={{"batch_size": 500}},
    print_next_steps=False, ignore_warnings=True)
"""
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
QUICK_WORKER = {"PREFECT_WORKER_QUERY_SECONDS": "0.5", "PREFECT_WORKER_HEARTBEAT_SECONDS": "2"}


def create_run(api: httpx.Client, parameters: Mapping[str, Any]) -> str:
    """Trigger the deployment; a busy server is asked again."""
    deployment = api.get(f"/deployments/name/{NAME}").raise_for_status().json()["id"]
    while True:
        answer = api.post(f"/deployments/{deployment}/create_flow_run", json={"parameters": dict(parameters)})
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return str(answer.raise_for_status().json()["id"])
        time.sleep(0.05)


def await_runs(api: httpx.Client, ids: list[str]) -> dict[str, str]:
    """Wait until all of them are final; gives the state of each. A server that stalls for a minute is waited for."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = api.post("/flow_runs/filter", json={"flow_runs": {"id": {"any_": ids}}})
            if answer.status_code == httpx.codes.OK:
                states = {run["id"]: run["state"]["type"] for run in answer.json()}
                if len(states) == len(ids) and set(states.values()) <= set(FINAL):
                    return states
        time.sleep(0.1)


def seconds(step: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    step()
    return time.monotonic() - began


class ByHand:
    """A Prefect of its own in an empty folder, with Prefect's default settings; ended with the block."""

    def __init__(self, checkout: Checkout, folder: Path) -> None:
        self.folder = folder
        self.root = checkout.root
        self.python = checkout.root / ".venv" / "bin" / "python"
        self.port, _, self.source_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.api = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        self.env = checkout.environment | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PIPELINE_WAREHOUSE_DIR": str(folder / "warehouse"),
            "PIPELINE_SOURCE_URL": f"http://127.0.0.1:{self.source_port}/api/v1/metrics",
        }
        self.services: list[subprocess.Popen[bytes]] = []
        (folder / "prefect").mkdir(parents=True)

    # --- steps -------------------------------------------------------------------------------------------------------

    def background(self, *argv: str, **more: str) -> None:
        """Start a service, its output into a file."""
        with (self.folder / "services.log").open("ab") as log:
            command, env = [str(self.python), *argv], self.env | more
            self.services.append(
                subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True)
            )

    def prefect(self, *argv: str, fails: bool = False) -> None:
        """Run a Prefect command to its end."""
        self.run("-m", "prefect", *argv, fails=fails)

    def run(self, *argv: str, fails: bool = False) -> None:
        """Run Python to its end."""
        done = subprocess.run([self.python, *argv], cwd=self.folder, env=self.env, capture_output=True, check=False)
        if (done.returncode != 0) != fails:
            raise RuntimeError(f"{argv} ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]!r}")

    def ready(self, url: str, pause: float = 0.5) -> None:
        """Wait until an address answers 200."""
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK:
                    return
            time.sleep(pause)

    def source(self) -> None:
        """The data source, up."""
        launch = self.root / "blueprint" / "prefect_runtime" / "launch.py"
        self.background(str(launch), "blueprint.pipeline.metrics_api", "--port", str(self.source_port))
        self.ready(f"http://127.0.0.1:{self.source_port}/health")

    def server(self, pause: float = 0.5) -> None:
        """The server, ready on an empty database."""
        self.background("-m", "prefect", "server", "start")
        self.ready(f"{self.url}/ready", pause)

    def deploy(self) -> None:
        """The deployment, by Prefect's own way."""
        self.run("-c", DEPLOY.format(root=str(self.root)))

    def worker(self, **more: str) -> None:
        """The worker, started."""
        self.background("-m", "prefect", "worker", "start", "--pool", POOL, **more)

    def worker_online(self) -> None:
        """Wait until the server knows of it."""
        path = f"/work_pools/{POOL}/workers/filter"
        while not any(one["status"] == "ONLINE" for one in self.api.post(path, json={}).raise_for_status().json()):
            time.sleep(0.05)

    def script(self) -> None:
        """The 30 steps of the shell script, one Prefect command after the other, waiting for each."""
        self.run("-c", IMPORT_SERVER)
        self.prefect("config", "view")
        self.source()
        self.server()
        self.run(str(self.root / "blueprint" / "pipeline" / "data_pipeline.py"))
        self.prefect("flow-run", "ls")
        self.prefect("work-pool", "create", POOL, "--type", "process")
        self.prefect("work-pool", "inspect", POOL)
        self.worker()
        self.deploy()
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

    def floor(self) -> tuple[float, float, float]:
        """What cannot be saved, each alone: server ready, worker online, the longest chain of runs.

        The chain is the run that fails: it is tried four times, two seconds apart. The worker asks every half second.
        """
        self.source()
        server = seconds(lambda: self.server(pause=0.05))
        self.prefect("work-pool", "create", POOL, "--type", "process")
        self.deploy()

        def worker() -> None:
            self.worker(**QUICK_WORKER)
            self.worker_online()

        online = seconds(worker)
        failing = {"source_url": "invalid://url"}
        chain = seconds(lambda: await_runs(self.api, [create_run(self.api, failing)]))
        return server, online, chain

    def ready_for_runs(self, limit: int) -> None:
        """Everything up, as Prefect has it by default, and so many runs at a time."""
        self.source()
        self.server()
        self.prefect("work-pool", "create", POOL, "--type", "process")
        self.prefect("work-pool", "set-concurrency-limit", POOL, str(limit))
        self.deploy()
        self.worker()
        self.worker_online()

    def end(self) -> None:
        """Kill all that was started, and what that has started."""
        self.api.close()
        families = [psutil.Process(one.pid).children(recursive=True) for one in self.services if one.poll() is None]
        for process in (one for family in families for one in family):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for service in reversed(self.services):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(service.pid, signal.SIGKILL)
            service.wait()


@contextlib.contextmanager
def by_hand(checkout: Checkout) -> Iterator[ByHand]:
    """An empty one."""
    with tempfile.TemporaryDirectory() as folder:
        one = ByHand(checkout, Path(folder))
        try:
            yield one
        finally:
            one.end()
