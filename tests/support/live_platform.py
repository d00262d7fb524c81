"""A real platform in a temporary folder, and a spare folder like it: for the tests that break things."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.support.ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[2]
PIPELINE = "blueprint/pipeline/data_pipeline.py"
FLOW = "enterprise_data_pipeline"
PLANTED = {"BLUEPRINT_PLANTED": "planted", "PIP_PLANTED": "planted", "UV_PLANTED": "planted"}  # in the user's shell
_CALLER = Path(__file__).with_name("task_process.py")

eventually = retry(
    wait=wait_fixed(0.1), stop=stop_after_delay(60), retry=retry_if_exception_type(AssertionError), reraise=True
)


@dataclass(frozen=True)
class Outcome:
    """How a task ended: what the executor would record of it."""

    status: str
    summary: str
    details: Mapping[str, Any]
    reason: str
    exit_code: int
    waited: tuple[str, ...]
    where_to_look: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was proven, or there was nothing to prove."""
        return self.status in ("ok", "changed", "skipped")

    def failed_saying(self, *parts: str) -> bool:
        """Whether it failed as a task fails or is refused (not as a bug), and its sentence names all of these."""
        return self.status == "failed" and self.exit_code != 3 and all(part in self.summary for part in parts)


def copy_checkout(folder: Path, *, bytecode: bool = False) -> Path:
    """A checkout's files, without its history; with its bytecode if many short processes would make it anew."""
    folder.mkdir(parents=True)
    for name in ("run_blueprint.py", "pyproject.toml", "requirements.lock"):
        shutil.copy(CHECKOUT / name, folder / name)
    left_out = "*.pyc.*" if bytecode else "__pycache__"  # the former are just being written by another test
    shutil.copytree(CHECKOUT / "blueprint", folder / "blueprint", ignore=shutil.ignore_patterns(left_out))
    return folder.resolve()


class Tasks:
    """The tasks of a folder, called in another process: `call` gives how one ended.

    They ask for no password, whoever can log in on this machine, unless the settings say otherwise.
    """

    def __init__(self, root: Path, *settings: str, python: str | Path = sys.executable) -> None:
        self.root = root
        self._log = (root.parent / f"{root.name}-tasks.log").open("ab")
        self._process = subprocess.Popen(
            [str(python), str(_CALLER), str(root), "auth=none", *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | PLANTED,
        )

    def call(self, task: int, *, origin: str, seconds: float = 60, **changes: Any) -> Outcome:
        """Call a task's function with so many seconds, under these changes of the settings."""
        answer = self._ask({"task": task, "origin": origin, "seconds": seconds, "changes": changes})
        known = ("status", "summary", "details", "reason", "exit_code", "where_to_look", "hint")
        return Outcome(waited=tuple(answer["waited"]), **{key: answer[key] for key in known if key in answer})

    def stop_services(self) -> list[str]:
        """Stop what the folder's tasks have started; gives the sentences that a user would read."""
        answer = self._ask({"task": "stop", "origin": "", "seconds": 30, "changes": {}})
        return [str(one) for one in answer["stopped"]]

    def close(self) -> None:
        """End the process; the services go on."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        self._log.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process that calls the tasks has died: see {self._log.name}"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def tasks_of(root: Path, *settings: str, python: str | Path = sys.executable) -> Iterator[Tasks]:
    """The tasks of a folder; what they have started is stopped at the end."""
    tasks = Tasks(root, *settings, python=python)
    try:
        yield tasks
        tasks.stop_services()
    finally:
        tasks.close()


class _TryAgain(Exception):
    """The server asks to try again."""


@dataclass(frozen=True)
class Platform:
    """A platform on which tasks 5 to 30, or those that bring it up, were run once, in order.

    Attributes:
        tasks: Calls them again.
        port, worker_port, source_port: Where it listens.
        origin: Of the execution that brought it up.
        first: How each task ended then.
        http: The server's API, without Prefect's client.
    """

    root: Path
    tasks: Tasks
    port: int
    worker_port: int
    source_port: int
    http: httpx.Client
    origin: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")
    first: dict[int, Outcome] = field(default_factory=dict)

    @property
    def server_url(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def server_database(self) -> Path:
        """The server's own SQLite file."""
        return self.root / ".blueprint" / "prefect" / "prefect.db"

    @property
    def ui(self) -> Path:
        """Where this server has the files of its UI: a folder of its own, so that a test may break them."""
        return self.root / "ui"

    @property
    def warehouse(self) -> Path:
        """The SQLite file with the rows."""
        return self.root / ".blueprint" / "warehouse" / "warehouse.sqlite3"

    def call(self, task: int, *, origin: str | None = None, seconds: float = 60, **changes: Any) -> Outcome:
        """Call a task, by default as part of the execution that brought the platform up."""
        return self.tasks.call(task, origin=origin or self.origin, seconds=seconds, **changes)

    def get(self, path: str) -> Any:
        """GET from the API."""
        return self._ask("GET", path).json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST to the API."""
        return self._ask("POST", path, json=body).json()

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """PATCH something."""
        self._ask("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """DELETE something."""
        self._ask("DELETE", path)

    @retry(wait=wait_fixed(0.5), stop=stop_after_delay(70), retry=retry_if_exception_type(_TryAgain), reraise=True)
    def _ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        answer = self.http.request(method, path, **body)
        if answer.status_code == 503:  # SQLite is locked: the server asks to try again, and Prefect's client does
            raise _TryAgain(answer.text)
        answer.raise_for_status()
        return answer

    def deployment(self, name: str = "production-etl") -> dict[str, Any]:
        """A deployment of the bundled flow, as the API shows it."""
        found: dict[str, Any] = self.get(f"/deployments/name/Enterprise Data Pipeline/{name}")
        return found

    def runs(self, tag: str) -> list[dict[str, Any]]:
        """The flow runs with that tag."""
        found: list[dict[str, Any]] = self.post("/flow_runs/filter", {"flow_runs": {"tags": {"all_": [tag]}}})
        return found

    def run_of(self, case: int | str, origin: str | None = None) -> dict[str, Any]:
        """The one flow run of a case."""
        (found,) = self.runs(f"blueprint:{origin or self.origin}:{case}")
        return found

    def pid(self, service: str) -> int:
        """The process that is recorded for a service."""
        record = json.loads((self.root / ".blueprint" / "services" / f"{service}.json").read_text())
        return int(record["identity"]["pid"])

    def kill(self, service: str) -> int:
        """SIGKILL a service with all of its processes; gives its pid."""
        pid = self.pid(service)
        os.killpg(pid, signal.SIGKILL)
        eventually(_is_gone)(pid)
        return pid

    @contextlib.contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """SIGSTOP a service during the block."""
        pid = self.pid(service)
        os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # the test had it restarted
                os.killpg(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def without_rows(self, run: str) -> Iterator[None]:
        """What a flow run landed in the usual table is not there during the block."""
        with taken(self.warehouse, "public.daily_metrics", "flow_run_id = ?", run):
            yield

    @contextlib.contextmanager
    def without_logs(self, run: str, which: str = "") -> Iterator[None]:
        """The server's log lines of a flow run (those with a text in them) are not there during the block."""
        with taken(self.server_database, "log", "flow_run_id = ? AND instr(message, ?)", run, which):
            yield

    def variant(self, name: str, *changes: tuple[str, str]) -> str:
        """A copy of the pipeline's file with pieces of its code replaced; gives its entrypoint."""
        text = (self.root / PIPELINE).read_text()
        for old, new in changes:
            assert old in text, f"the pipeline has no {old!r} to break"
            text = text.replace(old, new)
        path = self.root / "blueprint" / "pipeline" / f"{name}.py"
        path.write_text(text)
        return f"blueprint/pipeline/{name}.py:{FLOW}"

    @contextlib.contextmanager
    def deployed(self, name: str, **changes: Any) -> Iterator[dict[str, Any]]:
        """A deployment of its own, made by task 15, and gone after the block; gives the settings to call tasks with."""
        settings = {"deployment": name, "cron": None} | changes
        outcome = self.call(15, **settings)
        assert outcome.status == "changed", outcome
        found = self.deployment(name)["id"]
        try:
            yield settings
        finally:
            with contextlib.suppress(httpx.HTTPStatusError):  # the test has deleted it
                self.delete(f"/deployments/{found}")


@contextlib.contextmanager
def taken(database: Path, table: str, where: str, *values: str) -> Iterator[list[tuple[Any, ...]]]:
    """Rows are taken out of an SQLite table during the block, and put back after it; gives them."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        rows = connection.execute(f"""SELECT * FROM "{table}" WHERE {where}""", values).fetchall()
        assert rows, f"there is nothing to take out of {table}"
        with connection:
            connection.execute(f"""DELETE FROM "{table}" WHERE {where}""", values)
        try:
            yield rows
        finally:
            with connection:
                places = ", ".join("?" * len(rows[0]))
                connection.executemany(f"""INSERT INTO "{table}" VALUES ({places})""", rows)


def _is_gone(pid: int) -> None:
    with contextlib.suppress(OSError, IndexError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        assert state == "Z", f"process {pid} is still {state}"
        # As long as another thread is on its way out, the kernel keeps the process's ports.
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1, f"process {pid} has threads"


@contextlib.contextmanager
def running_platform(folder: Path, numbers: Iterable[int] = range(5, 31)) -> Iterator[Platform]:
    """Bring a platform up in a copy of the checkout, by these of its tasks, and stop it at the end."""
    root = copy_checkout(folder / "project", bytecode=True)
    with (root / "pyproject.toml").open("a") as file:
        file.write(f"\n[tool.prefect.server.ui]\nstatic_directory = {json.dumps(str(root / 'ui'))}\n")
    port, worker_port, source_port = free_ports(3)
    settings = (f"port={port}", f"worker_port={worker_port}", f"source_port={source_port}")
    url = f"http://127.0.0.1:{port}/api"
    # No connection is kept: a test may have frozen or killed the server since the last request.
    limits = httpx.Limits(max_keepalive_connections=0)
    http = httpx.Client(base_url=url, timeout=70, trust_env=False, limits=limits)
    with tasks_of(root, *settings) as tasks, http:
        platform = Platform(root, tasks, port, worker_port, source_port, http)
        for number in numbers:
            platform.first[number] = platform.call(number, seconds=240)
        yield platform
