"""A real Prefect server for the pipeline's tests: free port, own home folder, foreground, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.support.live_platform import CHECKOUT
from tests.support.ports import PLAIN, free_port

_START_SECONDS = 90


@dataclass(frozen=True)
class PrefectServer:
    """A server that answers.

    Attributes:
        url: Its API.
        env: The environment in which a child process uses it, and nothing of the user's own Prefect.
        process: The server itself, to be frozen or killed.
    """

    url: str
    env: dict[str, str]
    process: subprocess.Popen[bytes]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST to the API, independently of Prefect's client."""
        response = httpx.post(self.url + path, json=body, timeout=30, **PLAIN)
        response.raise_for_status()
        return response.json()

    def get(self, path: str) -> Any:
        """GET from the API."""
        response = httpx.get(self.url + path, timeout=30, **PLAIN)
        response.raise_for_status()
        return response.json()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server does not answer during the block."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)


@contextlib.contextmanager
def running_prefect(folder: Path, *, mended: bool = False) -> Iterator[PrefectServer]:
    """Start a server that keeps its files in `folder`.

    Args:
        folder: Where its files are kept.
        mended: Whether it waits for SQLite's locks as the platform's does; Prefect's own may stand still for a minute.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "PIPELINE_"))} | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PIPELINE_WAREHOUSE_DIR": str(folder / "warehouse"),
    }
    program = "blueprint.prefect_runtime.server" if mended else "prefect"
    argv = [sys.executable, "-m", program, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env=env, cwd=CHECKOUT if mended else folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(url, process, folder / "server.log")
        yield PrefectServer(url, env, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@retry(
    wait=wait_fixed(0.2),
    stop=stop_after_delay(_START_SECONDS),
    retry=retry_if_exception_type(httpx.HTTPError),
    reraise=True,
)
def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.poll() is None, log.read_text(errors="replace")
    httpx.get(url + "/ready", timeout=2, **PLAIN).raise_for_status()
