"""User code runs in a process of its own: whatever it does there, the one that asks stays well."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blueprint.config.settings import Settings
from blueprint.core.errors import FlowError
from blueprint.core.task import TaskStopped, within
from blueprint.core.workspace import Workspace
from blueprint.prefect_adapter.flow_host import FlowHost
from blueprint.prefect_adapter.models import Run
from blueprint.processes.ownership import tagged_processes
from tests.support.flow_file import configured

OWN_FLOWS = Path(__file__).parents[2] / "support" / "own_flows"
_HANGS = """
import pathlib, time
from prefect import flow
pathlib.Path("tries").open("a").write("x")
while not pathlib.Path("go").exists():
    time.sleep(0.1)

@flow
def mine(): ...
"""
_CHECKS = """
import os, subprocess, sys, time

def dies(run_id, parameters):
    os._exit(7)

def hangs(run_id, parameters):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    open("child", "w").write(str(child.pid))
    time.sleep(3600)

def says_no(run_id, parameters):
    return False

def raises(run_id, parameters):
    raise LookupError("no row of " + run_id)

class Refusal(BaseException):
    pass

def raises_what_is_no_exception(run_id, parameters):
    raise Refusal("no row at all")

class Later:
    def __await__(self):
        raise LookupError("never asked")

def gives_what_is_no_coroutine(run_id, parameters):
    return Later()

def gives_a_number(run_id, parameters):
    return parameters["size"]
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FlowHost]:
    Workspace(tmp_path).prepare()
    made = FlowHost(Workspace(tmp_path))
    yield made
    made.close()


def run(parameters: dict[str, object]) -> Run:
    moments = dict.fromkeys(("deployment_id", "created", "expected_start"))
    texts = {"id": "1", "name": "a-run", "type": "COMPLETED", "state": "Completed", "message": ""}
    return Run(**texts, parameters=parameters, tags=frozenset(), **moments)  # type: ignore[arg-type]


def is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


def ends_soon(pid: int) -> bool:
    end = time.monotonic() + 10
    while is_there(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_there(pid)


def once_there(file: Path, action: Callable[[], object]) -> None:
    """Act in a thread as soon as the file is there: user code has written it, and hangs."""

    def wait() -> None:
        while not file.exists():
            time.sleep(0.05)
        action()

    threading.Thread(target=wait, daemon=True).start()


def log(root: Path) -> str:
    return (root / "logs" / "flow_code.log").read_text()


def test_a_module_that_sets_a_signals_handler_prints_and_starts_threads_is_loaded_as_prefect_loads_it(
    tmp_path: Path, host: FlowHost, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.model_validate(
        {"entrypoint": "signals.py:signals", "source": str(OWN_FLOWS), "check": "signals:seen"}
    )
    path = list(sys.path)
    flows: list[str] = []
    asking = threading.Thread(target=lambda: flows.append(host.describe(settings, within(30)).name))
    asking.start()
    asking.join()
    assert flows == ["signals"]
    assert host.parameter_problems(settings, {"times": 0}) != []
    assert host.refused_parameters(settings, [{"times": 0}, {"times": 1}]) == [True, False]
    details = host.check(settings, run({"times": 2}), within(30))
    assert details == {"run": "1", "times": 2, "imported in": "MainThread"}
    assert sys.path == path
    assert "signals" not in sys.modules
    assert {"printed at import", "complained at import", "printed by the check"} <= set(log(tmp_path).splitlines())
    assert r"\x1b]0;title\x07 of a window" in log(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_flow_that_hangs_at_import_is_given_up_at_the_deadline_and_loaded_anew_the_next_time(
    tmp_path: Path, host: FlowHost
) -> None:
    settings = configured(tmp_path, _HANGS)
    waited: list[str] = []
    control = within(60)
    control.tell = waited.append
    once_there(tmp_path / "tries", lambda: setattr(control, "deadline", time.monotonic() + 0.2))
    with pytest.raises(TaskStopped, match="took too long"):
        host.describe(settings, control)
    assert waited == [f"{settings.entrypoint} to load"]
    assert tagged_processes(Workspace(tmp_path).identity()) == {}
    (tmp_path / "go").touch()
    assert host.describe(settings, within(30)).name == "mine"
    assert (tmp_path / "tries").read_text() == "xx"


def test_an_interruption_ends_what_hangs_within_a_second(tmp_path: Path, host: FlowHost) -> None:
    settings = configured(tmp_path, _HANGS)
    control = within(60)
    interrupted: list[float] = []

    def interrupt() -> None:
        interrupted.append(time.monotonic())
        control.stopped.set()

    once_there(tmp_path / "tries", interrupt)
    with pytest.raises(TaskStopped, match="interrupted"):
        host.describe(settings, control)
    assert time.monotonic() - interrupted[0] < 1
    assert tagged_processes(Workspace(tmp_path).identity()) == {}


def test_a_check_that_refuses_hangs_or_ends_its_process_is_told_and_the_next_one_is_called(
    tmp_path: Path, host: FlowHost
) -> None:
    (tmp_path / "own_checks.py").write_text(_CHECKS)
    settings = configured(tmp_path)

    def called(check: str, seconds: float = 30) -> object:
        checked = settings.model_copy(update={"check": f"own_checks:{check}"})
        return host.check(checked, run({"size": 5}), within(seconds))

    with pytest.raises(FlowError, match=r"refused the run a-run: no row of 1") as raised:
        called("raises")
    assert raised.value.where_to_look.endswith("/runs/flow-run/1")
    with pytest.raises(FlowError, match="refused the run a-run: no row at all"):
        called("raises_what_is_no_exception")
    with pytest.raises(FlowError, match="an awaitable that is no coroutine"):
        called("gives_what_is_no_coroutine")
    with pytest.raises(FlowError, match="it returned False"):
        called("says_no")
    with pytest.raises(FlowError, match=r"own_checks:missing cannot be loaded: .*missing"):
        called("missing")
    with pytest.raises(FlowError, match=r"ended its process \(exit code 7\).*own_checks:dies of the run a-run"):
        called("dies")
    assert called("gives_a_number") == {"check": 5}
    with pytest.raises(TaskStopped):
        called("hangs", seconds=2)
    assert ends_soon(int((tmp_path / "child").read_text()))
    assert called("gives_a_number") == {"check": 5}


def test_files_have_processes_of_their_own_and_a_file_has_one(tmp_path: Path, host: FlowHost) -> None:
    one, two = configured(tmp_path), configured(tmp_path)
    for settings in (one, two, one.model_copy(update={"deployment": "another"})):
        host.start(settings)

    def pids() -> list[int]:
        return [process.pid for process in tagged_processes(Workspace(tmp_path).identity())["flow-code"]]

    started = pids()
    assert len(started) == 2
    host.describe(one, within(30))
    assert pids() == started
    host.close()
    assert tagged_processes(Workspace(tmp_path).identity()) == {}


_ASKS = """
import sys
from pathlib import Path
from blueprint.config.settings import Settings
from blueprint.core.workspace import Workspace
from blueprint.prefect_adapter.flow_host import FlowHost
FlowHost(Workspace(Path(sys.argv[1]))).describe(Settings.model_validate({"entrypoint": sys.argv[2]}))
"""


def test_user_code_that_hangs_ends_when_the_one_who_asked_is_killed(tmp_path: Path) -> None:
    Workspace(tmp_path).prepare()
    settings = configured(tmp_path, _HANGS)
    asks = subprocess.Popen([sys.executable, "-c", _ASKS, str(tmp_path), settings.entrypoint])
    identity = Workspace(tmp_path).identity()
    end = time.monotonic() + 30
    while not (tmp_path / "tries").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    (hanging,) = tagged_processes(identity)["flow-code"]
    os.kill(asks.pid, signal.SIGKILL)
    asks.wait()
    assert ends_soon(hanging.pid)
