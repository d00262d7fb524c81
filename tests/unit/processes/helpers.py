"""What the tests of services share: a program to serve, a workspace, and a judgement that is not the code's own."""

from __future__ import annotations

import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from blueprint.core.http import NotReady, get
from blueprint.processes.manager import ServiceManager
from blueprint.processes.ownership import SERVICE_VARIABLE
from blueprint.processes.spec import ServiceSpec
from tests.support.ports import free_port

PROGRAM = """
import http.server, os, pathlib, signal, socket, subprocess, sys, time

port, *flags = sys.argv[1:]
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
deaf_sleeper = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
if "dies" in flags:
    print("[INFO] begins", flush=True)
    raise RuntimeError("the database is on fire")
if "deaf" in flags:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "child" in flags:
    subprocess.Popen(sleeper)
if "stray" in flags:
    subprocess.Popen(sleeper, start_new_session=True)
if "bare-deaf-child" in flags:
    subprocess.Popen(deaf_sleeper, env={})
if "bare-stray" in flags:
    subprocess.Popen(sleeper, env={}, start_new_session=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if "ipv6" in flags else socket.AF_INET
    def server_bind(self):
        if "any" in flags and "ipv6" in flags:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

if "slow" in flags:
    time.sleep(1)
loopback, wildcard = ("::1", "::") if "ipv6" in flags else ("127.0.0.1", "")
host = wildcard if "any" in flags else loopback
if "hangs" in flags:
    listener = socket.create_server((host, int(port)))
    time.sleep(600)
print("serving", flush=True)
pathlib.Path("made-by-service").touch()
Server((host, int(port)), Handler).serve_forever()
"""


def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait until `condition` is true, and fail if it never is."""
    end = time.monotonic() + seconds
    never = threading.Event()
    while not condition():
        assert time.monotonic() < end, "it never came true"
        never.wait(0.02)


def runs(pid: int) -> bool:
    """Whether a process with this number runs, by psutil's judgement and not by ours."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def carriers(workspace: str) -> list[int]:
    """The processes whose environment carries the workspace's mark, by psutil's judgement and not by ours."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(SERVICE_VARIABLE, "")
        except (psutil.Error, OSError):
            continue
        if mark.startswith(f"{workspace}:") and runs(process.pid):
            found.append(process.pid)
    return found


@dataclass(frozen=True)
class House:
    """One workspace with its manager, and the means to make services for it."""

    folder: Path
    workspace: str
    manager: ServiceManager
    started: list[tuple[str, dict[str, Any]]]

    def service(self, *flags: str, name: str = "web", port: int | None = None, **changes: Any) -> ServiceSpec:
        """A service that runs the test program with these flags."""
        program = self.folder / "program.py"
        program.write_text(PROGRAM)
        port = port or free_port()
        host = "::1" if "ipv6" in flags else "127.0.0.1"
        url = f"http://[{host}]:{port}/" if "ipv6" in flags else f"http://{host}:{port}/"

        def answers() -> None:
            if get(url, timeout=0.5).status != 200:
                raise NotReady("not 200")

        values: dict[str, Any] = {
            "name": name,
            "title": f"The {name}",
            "argv": (sys.executable, str(program), str(port), *flags),
            "env": {"SETTING": "one"},
            "cwd": self.folder,
            "log": self.folder / "logs" / f"{name}.log",
            "host": host,
            "port": port,
            "ready": answers,
            "alive": answers,
        }
        return ServiceSpec(**values | changes)

    def carriers(self) -> list[int]:
        """What runs with this workspace's mark."""
        return carriers(self.workspace)

    def kill(self, pid: int) -> None:
        """SIGKILL a process of this workspace, and see it gone."""
        kill_all([pid])


def make_house(folder: Path) -> House:
    """A workspace of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    workspace = uuid.uuid4().hex
    started: list[tuple[str, dict[str, Any]]] = []
    manager = ServiceManager(folder / "services", workspace, lambda name, details: started.append((name, details)))
    return House(folder, workspace, manager, started)


def kill_all(pids: list[int]) -> None:
    """End processes that a test started, and wait until they are gone."""
    for pid in pids:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            continue
    eventually(lambda: not any(map(runs, pids)))


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
