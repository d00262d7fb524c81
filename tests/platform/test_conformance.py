"""User code cannot tell Prefect's own worker from ours: the same flows run under both, and all they see is compared."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from httpx import HTTPStatusError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from blueprint.prefect_runtime import NO_RUN, RUN_VARIABLE, launch
from tests.support.live_platform import CHECKOUT, eventually
from tests.support.prefect_server import PrefectServer, running_prefect

FLOWS = Path(__file__).parents[1] / "support" / "probe_flows"
STOCK, OURS = "stock", "ours"
# Prefect's own start of so many runs at a time takes long on a machine that does other things as well.
patiently = retry(
    wait=wait_fixed(0.1), stop=stop_after_delay(180), retry=retry_if_exception_type(AssertionError), reraise=True
)
ENDINGS = (
    "returns",
    "raises",
    "exits with 3",
    "aborts",
    "is terminated",
    "is killed",
    "is cancelled",
)
# What is another for each run and each deployment, whoever runs it.
_OF_ONE_RUN = ("PREFECT__FLOW_RUN_ID", "PREFECT__DEPLOYMENT_ID", "PREFECT__DEPLOYMENT_NAME")


@dataclass
class Run:
    """A flow run.

    Attributes:
        id: Its id.
        folder: Where it leaves its notes.
        state: How it ended.
    """

    id: str
    folder: Path
    state: dict[str, Any] = field(default_factory=dict)

    def about(self) -> dict[str, Any]:
        """Return what it wrote down."""
        found: dict[str, Any] = json.loads((self.folder / f"{self.id}.json").read_text(encoding="utf-8"))
        return found

    @property
    def notes(self) -> dict[str, str]:
        """What its hooks and its exit have left."""
        return {
            path.suffix: path.read_text(encoding="utf-8")
            for path in sorted(self.folder.glob(f"{self.id}.*"))
            if path.suffix not in (".json", ".pid")
        }

    @property
    def ended(self) -> tuple[str, str, str, dict[str, str]]:
        """How it ended, as far as it is the same for each run."""
        message = str(self.state["message"]).replace(self.id, "RUN")
        return self.state["type"], self.state["name"], message, self.notes


@dataclass(frozen=True)
class Workers:
    """A server with two pools, and a worker for each: Prefect's own and ours."""

    server: PrefectServer
    folder: Path
    pids: dict[str, int]

    @retry(
        wait=wait_fixed(0.5), stop=stop_after_delay(30), retry=retry_if_exception_type(HTTPStatusError), reraise=True
    )
    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST to the API; Prefect's server on SQLite asks to try again when many write, and its client does."""
        return self.server.post(path, body)

    def deploy(self, pool: str, flow: str, entrypoint: str, folder: Path = FLOWS) -> str:
        """Make a deployment, as any client would; returns its id."""
        made = self.post(
            "/deployments/",
            {
                "name": f"{flow}-{pool}",
                "flow_id": self.post("/flows/", {"name": flow})["id"],
                "work_pool_name": pool,
                "entrypoint": entrypoint,
                "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}],
            },
        )
        return str(made["id"])

    def start(self, deployment: str, **parameters: Any) -> Run:
        """Start a run."""
        made = self.post(
            f"/deployments/{deployment}/create_flow_run",
            {"parameters": {"folder": str(self.folder), **parameters}, "state": {"type": "SCHEDULED"}},
        )
        return Run(made["id"], self.folder)

    def await_pid(self, run: Run) -> int:
        """Wait until a run is at work; returns its process."""

        @patiently
        def pid() -> int:
            path = self.folder / f"{run.id}.pid"
            assert path.exists()
            assert path.read_text()
            return int(path.read_text())

        return pid()

    def finish(self, run: Run) -> Run:
        """Wait until a run has ended."""

        @patiently
        def end() -> None:
            run.state = self.server.get(f"/flow_runs/{run.id}")["state"]
            assert run.state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"), run.state

        end()
        return run


def _start_worker(server: PrefectServer, folder: Path, pool: str) -> subprocess.Popen[bytes]:
    program = (launch.__file__, "blueprint.prefect_runtime.worker") if pool == OURS else ("-m", "prefect")
    environment = server.env | {"PREFECT_WORKER_QUERY_SECONDS": "0.5", "PYTHONDONTWRITEBYTECODE": "1"}
    with (folder / f"{pool}.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                *program,
                "worker",
                "start",
                "--type",
                "process",
                "--pool",
                pool,
                "--name",
                "worker",
            ],
            env=environment | ({RUN_VARIABLE: NO_RUN} if pool == OURS else {}),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("conformance")
    with running_prefect(folder, mended=True) as server:
        for pool in (STOCK, OURS):
            server.post("/work_pools/", {"name": pool, "type": "process"})
        processes = {pool: _start_worker(server, folder, pool) for pool in (STOCK, OURS)}
        try:
            yield Workers(server, folder, {pool: process.pid for pool, process in processes.items()})
        finally:
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


Pair = dict[str, Run]


@pytest.fixture(scope="module")
def probes(workers: Workers) -> list[Pair]:
    """A run of the flow that describes its process, under each worker, and another under ours."""
    deployments = {pool: workers.deploy(pool, "probe", "probe.py:probe") for pool in (STOCK, OURS)}
    runs = [{pool: workers.start(deployments[pool]) for pool in pools} for pools in ((STOCK, OURS), (OURS,))]
    for pair in runs:
        for run in pair.values():
            assert workers.finish(run).state["type"] == "COMPLETED", run.state
    return runs


def _comparable(about: dict[str, Any]) -> dict[str, Any]:
    environment = about["environment"]
    return about | {
        "environment": {name: value for name, value in environment.items() if name not in _OF_ONE_RUN},
        "names in environment": sorted(environment),
    }


@pytest.mark.parametrize("moment", ["at import", "at work"])
def test_a_run_finds_the_same_process_under_both_workers(probes: list[Pair], moment: str) -> None:
    stock, ours = (_comparable(probes[0][pool].about()[moment]) for pool in (STOCK, OURS))
    if moment == "at work":  # by then Prefect's own threads connect to the server, sooner or later
        stock["descriptors"], stock["threads"] = ours["descriptors"], ours["threads"]
    assert {key: value for key, value in ours.items() if value != stock[key]} == {}
    assert stock["in the main thread"]
    assert ours.keys() == stock.keys()


def test_two_runs_share_no_chance(probes: list[Pair]) -> None:
    first, second = (set(pair[OURS].about()["chances"]) for pair in probes)
    assert first.isdisjoint(second)


def _has_left(run: Run) -> None:
    assert run.notes == {".atexit": "atexit"}


def test_a_run_is_the_workers_child_shows_its_id_and_leaves_by_its_exit(workers: Workers, probes: list[Pair]) -> None:
    for pool, run in probes[0].items():
        about = run.about()
        assert about["ids"][1] == workers.pids[pool]
        assert about["shown"] == {RUN_VARIABLE: run.id}
        eventually(lambda run=run: _has_left(run))()
        log = (workers.folder / f"{pool}.log").read_text()
        assert "printed by the flow" in log
        assert "printed to stderr" in log
        assert "without warm start" not in log


def test_a_folder_with_settings_of_its_own_has_them_under_both_workers(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text((FLOWS / "probe.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "prefect.toml").write_text('[logging]\nlevel = "ERROR"\n', encoding="utf-8")
    runs = [workers.start(workers.deploy(pool, "own-settings", "probe.py:probe", tmp_path)) for pool in (STOCK, OURS)]
    stock, ours = (_comparable(workers.finish(run).about()["at import"]) for run in runs)
    assert {key: value for key, value in ours.items() if value != stock[key]} == {}
    assert stock["settings"]["logging"]["level"] == "ERROR"
    assert "without warm start: Prefect's settings are others there" in (workers.folder / f"{OURS}.log").read_text()


@pytest.fixture(scope="module")
def endings(workers: Workers) -> dict[str, Pair]:
    """A run that ends in each of the ways, under each worker."""
    deployments = {pool: workers.deploy(pool, "ending", "endings.py:ending") for pool in (STOCK, OURS)}
    runs = {
        how: {pool: workers.start(deployment, how=how) for pool, deployment in deployments.items()} for how in ENDINGS
    }
    for pool in (STOCK, OURS):
        os.kill(workers.await_pid(runs["is terminated"][pool]), signal.SIGTERM)
        os.kill(workers.await_pid(runs["is killed"][pool]), signal.SIGKILL)
        cancelled = runs["is cancelled"][pool]
        workers.await_pid(cancelled)
        workers.post(f"/flow_runs/{cancelled.id}/set_state", {"state": {"type": "CANCELLING"}, "force": False})
    for pair in runs.values():
        for run in pair.values():
            workers.finish(run)
    time.sleep(1)  # for a hook that must not be called
    return runs


@pytest.mark.parametrize("how", ENDINGS)
def test_a_run_ends_alike_under_both_workers(endings: dict[str, Pair], how: str) -> None:
    assert endings[how][OURS].ended == endings[how][STOCK].ended


def test_what_a_module_makes_at_import_works(workers: Workers) -> None:
    deployments = [workers.deploy(pool, "made-at-import", "at_import.py:made_at_import") for pool in (STOCK, OURS)]
    stock, ours = (workers.finish(run) for run in [workers.start(deployment) for deployment in deployments])
    assert ours.state["type"] == "COMPLETED", ours.state
    assert ours.about() == stock.about()
    assert ours.about()["signals"]
    assert ours.about()["same process"]
