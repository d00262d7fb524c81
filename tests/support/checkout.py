"""A fresh checkout with an environment of its own, and the program run in it as a user runs it: in a process.

What a test learns, it learns as a user could: from the exit code, the terminal, the journal, the server's API (without
Prefect's client), the warehouse's tables and the table of processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from blueprint import bootstrap
from blueprint.bootstrap.environment import base_python
from blueprint.core.task import within
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace
from blueprint.execution import history, journal
from blueprint.execution.history import ExecutionRecord
from tests.support.live_platform import copy_checkout
from tests.support.ports import PLAIN, free_ports

T = TypeVar("T")

SECONDS = 240.0
_FOREIGN = ("PREFECT_", "PIPELINE_", "BLUEPRINT_", "_BLUEPRINT_", "PYTEST_", "VIRTUAL_ENV", "PYTHONPATH")
_MARK = "_BLUEPRINT_SERVICE"


@dataclass(frozen=True)
class Finished:
    """A command that ended: its exit code, and what its terminal showed (both streams, as a person sees them)."""

    code: int
    output: str
    seconds: float

    @property
    def last_line(self) -> str:
        """The last line that says something."""
        return next((line for line in reversed(self.output.splitlines()) if line.strip()), "")


@dataclass
class Running:
    """A command at work, in a session of its own as under a terminal of its own.

    Attributes:
        process: The executor; its pid stays the same when the execution changes its Python.
        terminal: The file that its terminal is.
        journal_bytes: How long the journal was when it began.
        read_bytes: How long it was when it was last read, and
        records: what of it is this execution's.
    """

    process: subprocess.Popen[bytes]
    terminal: Path
    journal_bytes: int = 0
    began: float = field(default_factory=time.monotonic)
    read_bytes: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The executor's process."""
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL the executor alone, as the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """What a terminal does on Ctrl-C: the signal goes to the foreground group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def finish(self, seconds: float = SECONDS) -> Finished:
        """Wait for its end; a hang is a failure of the test, and leaves nothing behind."""
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end within {seconds:.0f} s:\n{self.output}") from None
        return Finished(code, self.output, time.monotonic() - self.began)

    @property
    def output(self) -> str:
        """What its terminal shows so far."""
        return self.terminal.read_text(encoding="utf-8", errors="replace")


def _as_at_a_terminal() -> None:
    """Ctrl-C is heard; what a shell starts in the background, such as these tests, ignores it and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(found: Callable[[], T], seconds: float = 60.0, every: float = 0.05) -> T:
    """Ask until the answer is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        assert time.monotonic() < end, f"still {answer!r} after {seconds:.0f} s"
        time.sleep(every)


@dataclass(frozen=True)
class Checkout:
    """A checkout with its own .venv, home folder and ports.

    Attributes:
        root: The project folder.
        home: What HOME says.
        port: The server's; the worker and the data source have the next two.
    """

    root: Path
    home: Path
    port: int

    # --- as a user at a terminal -----------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """A user's shell: nothing in it of Prefect, of this project or of the tests; the package caches are shared."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        real = Path.home()
        kept.setdefault("UV_CACHE_DIR", str(real / ".cache" / "uv"))
        if (real / ".config" / "pip" / "pip.conf").exists():
            kept.setdefault("PIP_CONFIG_FILE", str(real / ".config" / "pip" / "pip.conf"))
        return kept | {"HOME": str(self.home)}

    def start(self, *args: str, env: Mapping[str, str] | None = None, python: str | None = None) -> Running:
        """Start the program with the system's Python; `--port` is added to what sets a platform up."""
        sets_up = not {"--resume", "init", "verify", "stop", "test", "--help", "--version"} & set(args)
        port = ("--port", str(self.port)) if sets_up and "--port" not in args else ()
        before = self.workspace.journal.read_bytes().rfind(b"\n") + 1 if self.workspace.journal.exists() else 0
        fd, name = tempfile.mkstemp(dir=self.home, prefix="terminal-", suffix=".txt")
        with os.fdopen(fd, "wb") as terminal:
            process = subprocess.Popen(
                [python or base_python(), "run_blueprint.py", *args, *port],
                cwd=self.root,
                env=self.environment | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
                start_new_session=True,
                preexec_fn=_as_at_a_terminal,
            )
        return Running(process, Path(name), before)

    def run(self, *args: str, env: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Finished:
        """Run the program to its end."""
        return self.start(*args, env=env).finish(seconds)

    def must(self, *args: str, env: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Finished:
        """Run it; what it was asked for must be proven."""
        finished = self.run(*args, env=env, seconds=seconds)
        assert finished.code == 0, f"{args} ended with {finished.code}:\n{finished.output}"
        return finished

    # --- what was remembered ---------------------------------------------------------------------------------------

    @property
    def workspace(self) -> Workspace:
        """Its places."""
        return Workspace(self.root)

    def records(self) -> list[dict[str, Any]]:
        """The journal's records; none before the first execution."""
        return journal.read(self.workspace.journal) if self.workspace.journal.exists() else []

    def last(self) -> ExecutionRecord:
        """The last execution."""
        found = history.load(self.workspace.journal).last
        assert found, "no execution is in the journal"
        return found

    def records_of(self, running: Running) -> list[dict[str, Any]]:
        """What the execution at work has written so far; cheap enough to ask all the time."""
        size = self.workspace.journal.stat().st_size if self.workspace.journal.exists() else 0
        if size != running.read_bytes:
            found = self._tail(running)
            running.records = [record for record in found if record.get("execution") == found[0]["execution"]]
            running.read_bytes = size
        return running.records

    def _tail(self, running: Running) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError), self.workspace.journal.open("rb") as file:
            file.seek(running.journal_bytes)
            lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
            records = [json.loads(line) for line in lines]
            starts = (n for n, one in enumerate(records) if one.get("pid") == running.pid and "origin" in one)
            return records[next(starts, len(records)) :]
        return []

    def await_record(self, running: Running, kind: str, seconds: float = 120.0, **wanted: Any) -> dict[str, Any]:
        """Wait for a record of the execution at work, watching closely: what follows is done right behind it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for record in self.records_of(running):
                if record["kind"] == kind and all(record.get(key) == value for key, value in wanted.items()):
                    return record
            assert running.process.poll() is None, f"it ended before {kind} {wanted}:\n{running.output}"
            time.sleep(0.001)
        raise AssertionError(f"no {kind} {wanted} within {seconds:.0f} s:\n{running.output}")

    # --- what is there -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> tuple[str, str] | None:
        """The user and the password that were generated here: where others can log in, each platform has one."""
        kept = self.workspace.password
        user, colon, password = kept.read_text().strip().partition(":") if kept.exists() else ("", "", "")
        return (user, password) if colon else None

    def get(self, path: str) -> Any:
        """GET from the API."""
        answer = httpx.get(f"{self.url}/api{path}", auth=self.password, timeout=30, **PLAIN)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST to the API."""
        url = f"{self.url}/api{path}"
        answer = httpx.post(url, json=dict(body), auth=self.password, timeout=30, **PLAIN)
        answer.raise_for_status()
        return answer.json()

    def deployment(self) -> dict[str, Any]:
        """The deployment as the API shows it."""
        found: dict[str, Any] = self.get("/deployments/name/Enterprise Data Pipeline/production-etl")
        return found

    def runs(self, *tags: str) -> list[dict[str, Any]]:
        """The flow runs that carry all of the tags."""
        found: list[dict[str, Any]] = self.post("/flow_runs/filter", {"flow_runs": {"tags": {"all_": list(tags)}}})
        return found

    def rows(self, table: str = "public.daily_metrics") -> dict[str, tuple[int, int]]:
        """For each flow run: how many rows it has in the SQLite warehouse, and how many different ones."""
        database = next(iter(self.workspace.warehouse.glob("*.sqlite3")))
        query = f'SELECT flow_run_id, count(*), count(DISTINCT record_id) FROM "{table}" GROUP BY 1'
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as connection:
            return {run: (rows, different) for run, rows, different in connection.execute(query)}

    def service_record(self, name: str) -> dict[str, Any]:
        """What is remembered of a service."""
        found: dict[str, Any] = json.loads((self.workspace.services / f"{name}.json").read_text(encoding="utf-8"))
        return found

    def pid(self, name: str) -> int:
        """The process that is recorded for a service."""
        return int(self.service_record(name)["identity"]["pid"])

    def processes(self) -> dict[str, list[psutil.Process]]:
        """All running processes that carry the mark of this checkout's services, by service; by psutil, not by us."""
        workspace = json.loads((self.workspace.state / "workspace.json").read_text(encoding="utf-8"))
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mark = process.environ().get(_MARK, "")
                if process.status() != psutil.STATUS_ZOMBIE and mark and mark.rpartition(":")[0] in workspace.values():
                    found.setdefault(mark.rpartition(":")[2], []).append(process)
        return found

    def mains(self, name: str) -> list[int]:
        """The main processes of a service: those whose parent is none of it. One, if all is well."""
        family = self.processes().get(name, [])
        pids = {process.pid for process in family}
        found = []
        for process in family:
            with contextlib.suppress(psutil.Error):
                if process.ppid() not in pids:
                    found.append(process.pid)
        return found

    # --- breaking it -----------------------------------------------------------------------------------------------

    def signal_service(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a service's whole process group; gives its pid."""
        pid = self.pid(name)
        os.killpg(pid, number)
        return pid

    def kill_service(self, name: str) -> int:
        """SIGKILL a service's group and see it gone."""
        pid = self.signal_service(name, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 10)
        return pid

    def kill_everything(self) -> None:
        """What a power failure does to processes."""
        for processes in self.processes().values():
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        until(lambda: not self.processes(), 10)

    def _started_here(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.root:
                    found.append(process.pid)
        return found

    def reset(self) -> None:
        """Stop everything, and forget all that was done here but the environment."""
        if self.workspace.state.exists():
            with contextlib.suppress(OSError, ValueError):  # no identity: nothing was started
                self.kill_everything()
            until(lambda: not self._started_here(), 30)  # children that a killed executor has left, on their way out
            shutil.rmtree(self.workspace.state)
        for path in self.root.glob("logs/*"):
            path.unlink()
        (self.root / "prefect.toml").unlink(missing_ok=True)


def install(workspace: Workspace) -> None:
    """Make the environment that tasks 1 to 4 make, from the package cache where there is one.

    The bytecode of these tests' own environment is there before the packages: what fits needs no compiling, which is
    most of an install's work.
    """
    bootstrap.ensure_environment(workspace, within(120))
    own, new = Path(sysconfig.get_path("purelib")), site_packages(workspace.venv)
    for compiled in own.rglob(f"__pycache__/*.{sys.implementation.cache_tag}.pyc"):
        copy = new / compiled.relative_to(own)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(compiled, copy)
    bootstrap.install(workspace, within(600))


def make_checkout(folder: Path, *, name: str = "project", installed: bool = True) -> Checkout:
    """Copy the checkout, and make its environment."""
    root = copy_checkout(folder / name)
    (root / "logs").mkdir()
    home = folder / f"{name}-home"
    home.mkdir()
    made = Checkout(root, home, free_ports(3)[0])
    if installed:
        workspace = Workspace(root)
        workspace.prepare()
        install(workspace)
    return made
