"""The quick look at the platform: against real listeners that answer as Prefect's server does, ours and others'."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest

from blueprint.config.defaults import MADE_BY
from blueprint.config.settings import Settings
from blueprint.core.errors import BlueprintError, ExitCode
from blueprint.core.http import NotReady
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
from blueprint.execution.outcome import raised
from blueprint.platform import status
from blueprint.platform.base import ApiEndpoint, ExternalService, ManagedService, Platform
from blueprint.platform.status import Check, State
from blueprint.platform.ui import listed
from blueprint.tasks.common.proofs import await_worker
from blueprint.tasks.t17_check_deployment_in_ui import check_listing, read_ui
from tests.unit.processes.helpers import House

SETTINGS = {"entrypoint": "flows/etl.py:etl", "deployment": "nightly", "pool": "a pool #1"}


@dataclass
class Server:
    """A listener that answers as Prefect's server does.

    Attributes:
        deployments, workers, ui, listing: What it says of them.
        asked: The paths that it was asked for, and
        authorizations: the passwords that it was sent.
    """

    port: int = 0
    deployments: list[dict[str, Any]] = field(default_factory=list)
    workers: Any = field(default_factory=lambda: [{"name": "ours", "status": "ONLINE"}])
    ui: Any = None
    listing: Any = field(default_factory=lambda: {"results": [{"id": "1"}]})
    ready: int = 200
    asked: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its API."""
        return f"http://127.0.0.1:{self.port}/api"

    def answer(self, path: str) -> tuple[int, Any]:
        """Return a status and a body."""
        if path == "/api/ready":
            return self.ready, "OK"
        if path.endswith("/workers/filter"):
            return 200, self.workers
        known = {
            "/api/admin/version": "3.8.8",
            "/ui-settings": {"api_url": self.url} if self.ui is None else self.ui,
            "/api/deployments/paginate": self.listing,
            "/deployments": '<script type="module" src="/assets/index.js">',
            "/assets/index.js": "",
            "/api/deployments/filter": self.deployments,
        }
        return (200, known[path]) if path in known else (404, "")


@pytest.fixture
def server() -> Iterator[Server]:
    """A running one."""
    state = Server(deployments=[_deployment()])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.asked.append(self.path)
            if self.headers["Authorization"]:
                state.authorizations.append(self.headers["Authorization"])
            code, body = state.answer(self.path)
            is_page = isinstance(body, str) and body.startswith("<")
            data = body.encode() if is_page else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = listener.server_address[1]
    Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield state
    listener.shutdown()
    listener.server_close()


def _deployment(**changes: Any) -> dict[str, Any]:
    folder = {"prefect.deployments.steps.set_working_directory": {"directory": "/project"}}
    return {
        "id": "1",
        "status": "READY",
        "description": MADE_BY,
        "entrypoint": "flows/etl.py:etl",
        "pull_steps": [folder],
        "work_pool_name": "a pool #1",
    } | changes


def _well() -> None:
    """A probe that finds nothing wrong."""


def _named_by_the_user(server: Server, *, authorization: str | None = None) -> Platform:
    services = ExternalService("The server", _well), ExternalService("The worker", _well)
    return Platform(ApiEndpoint(server.url, server.url, authorization), services[:1], services[1:])


def _look(platform: Platform, **settings: Any) -> dict[str, Check]:
    found = Settings.model_validate(SETTINGS | settings)
    return {check.name: check for check in status.look_at(platform, found, Path("/project"), "ours")}


def test_all_is_up(server: Server) -> None:
    checks = _look(_named_by_the_user(server, authorization="Basic abc"))
    assert {name: check.state for name, check in checks.items()} == dict.fromkeys(
        ("server", "worker", "UI", "deployment"), State.UP
    )
    assert "not managed here" in checks["server"].detail
    assert set(server.authorizations) == {"Basic abc"}


def test_a_pool_of_any_name_is_asked_for(server: Server) -> None:
    _look(_named_by_the_user(server))
    assert "/api/work_pools/a%20pool%20%231/workers/filter" in server.asked


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"description": "by hand"}, "Blueprint did not make it"),
        ({"description": None}, "Blueprint did not make it"),
        ({"entrypoint": "other/etl.py:etl"}, "its entrypoint is other/etl.py:etl"),
        ({"work_pool_name": "theirs"}, "its work pool is theirs"),
        (
            {"pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": "/theirs"}}]},
            "its flow is in /theirs, not in /project",
        ),
    ],
)
def test_a_deployment_that_has_only_the_name_of_ours_is_not_up(
    server: Server, changes: dict[str, Any], detail: str
) -> None:
    server.deployments = [_deployment(**changes)]
    check = _look(_named_by_the_user(server))["deployment"]
    assert check.state is State.DOWN
    assert detail in check.detail
    server.deployments += [_deployment(id="2")]
    assert _look(_named_by_the_user(server))["deployment"].state is State.UP


def test_a_deployment_that_is_not_there_or_not_ready_is_down(server: Server) -> None:
    server.deployments = []
    assert "none named nightly" in _look(_named_by_the_user(server))["deployment"].detail
    server.deployments = [_deployment(status="NOT_READY")]
    assert _look(_named_by_the_user(server))["deployment"].detail == "nightly is NOT_READY"


def test_a_worker_that_the_server_does_not_see_online_is_down(server: Server) -> None:
    server.workers = [{"name": "theirs", "status": "ONLINE"}, {"name": "ours", "status": "OFFLINE"}]
    assert _look(_named_by_the_user(server))["worker"].state is State.DOWN


def test_the_ui_must_call_the_address_that_browsers_use(server: Server) -> None:
    platform = _named_by_the_user(server)
    elsewhere = replace(platform, api=replace(platform.api, public_url="https://prefect.example/api"))
    check = _look(elsewhere)["UI"]
    assert check.detail == f"the UI is told to call {server.url}, not https://prefect.example/api"


def test_an_answer_in_another_form_is_unknown_and_no_bug(server: Server) -> None:
    server.deployments = [{"name": "nightly"}]
    server.workers = [{"title": "ours"}]
    checks = _look(_named_by_the_user(server))
    assert {checks[name].state for name in ("worker", "deployment")} == {State.UNKNOWN}


_NO_JSON = "<html>a page of some proxy</html>"


@pytest.mark.parametrize("ui", [{}, [], "text", 3, ["api_url"], _NO_JSON])
def test_ui_settings_in_another_form_are_an_expected_error_of_task_17(server: Server, ui: Any) -> None:
    server.ui = ui
    ctx = SimpleNamespace(platform=_named_by_the_user(server), settings=Settings.model_validate(SETTINGS))
    with pytest.raises(BlueprintError) as caught:
        read_ui(cast(Any, ctx), within(5))
    outcome = raised(caught.value)
    assert outcome.exit_code is ExitCode.TASK_FAILED
    assert ("cannot be understood" in outcome.summary) == (ui is not _NO_JSON)
    assert _look(_named_by_the_user(server))["UI"].state is (State.DOWN if ui is _NO_JSON else State.UNKNOWN)


@pytest.mark.parametrize(
    "listing", [{}, [], "text", None, {"results": None}, {"results": {"id": "1"}}, {"results": [{}]}, _NO_JSON]
)
def test_a_listing_in_another_form_is_an_expected_error_of_task_17(server: Server, listing: Any) -> None:
    platform = _named_by_the_user(server)
    assert listed(platform.api, "nightly") == {"1"}
    server.listing = listing
    deployment = SimpleNamespace(name="nightly", id="1")
    ctx = SimpleNamespace(platform=platform, require_deployment=lambda: deployment)
    with pytest.raises(BlueprintError) as caught:
        check_listing(cast(Any, ctx), within(5))
    assert raised(caught.value).exit_code is ExitCode.TASK_FAILED


@pytest.mark.parametrize(
    "workers",
    [
        {"results": []},
        "text",
        3,
        None,
        [None],
        [{}],
        [{"name": "ours"}],
        [{"name": "ours", "status": "ONLINE", "last_heartbeat_time": "noon"}],
        [{"name": "ours", "status": "ONLINE", "last_heartbeat_time": 3}],
        _NO_JSON,
    ],
)
def test_workers_in_another_form_are_an_expected_error_of_task_13(server: Server, workers: Any) -> None:
    server.workers = workers
    ctx = SimpleNamespace(
        platform=_named_by_the_user(server),
        settings=Settings.model_validate(SETTINGS),
        services=SimpleNamespace(workspace="0123456789"),
    )
    with pytest.raises(BlueprintError) as caught:
        await_worker(cast(Any, ctx), within(5), seconds=0.1)
    assert raised(caught.value).exit_code is ExitCode.TASK_FAILED


def test_what_depends_on_a_server_that_is_down_is_unknown(server: Server) -> None:
    def down() -> None:
        raise NotReady("the database does not answer")

    platform = replace(_named_by_the_user(server), servers=(ExternalService("The server", down),))
    states = {name: check.state for name, check in _look(platform).items()}
    assert states == {
        "server": State.DOWN,
        "worker": State.UNKNOWN,
        "UI": State.UNKNOWN,
        "deployment": State.UNKNOWN,
    }
    assert server.asked == []


def test_another_checkouts_server_is_not_up_and_is_not_sent_our_password_and_nothing_is_written(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "requirements.lock").write_text("# a lock\n")
    settings = Settings.model_validate({"port": server.port, "api_auth_string": "user:planted-secret"})
    checks = status.look(settings, Workspace(tmp_path))
    states = [(check.name, check.state) for check in checks]
    assert states == [
        ("server", State.DOWN),
        ("worker", State.DOWN),
        ("UI", State.UNKNOWN),
        ("deployment", State.UNKNOWN),
    ]
    assert server.authorizations == []
    assert server.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.lock"]


def test_a_stranger_in_the_place_of_our_server_is_named_and_is_not_sent_our_password(
    server: Server, house: House
) -> None:
    ours = house.service(name="server", argv=(sys.executable, "-c", "import time; time.sleep(600)"))
    house.manager.ensure(replace(ours, ready=_well, port=None), within(20))
    moved = ManagedService(replace(ours, port=server.port), house.manager)
    platform = replace(_named_by_the_user(server, authorization="Basic abc"), servers=(moved,))
    checks = _look(platform)
    assert checks["server"].state is State.DOWN
    assert "is held by" in checks["server"].detail
    assert server.authorizations == []


def test_a_service_is_up_by_its_own_process_and_down_by_the_cause_in_its_log(house: House, server: Server) -> None:
    service = ManagedService(house.service(name="server"), house.manager)
    service.ensure(within(20))
    (process,) = service.instances()
    platform = replace(_named_by_the_user(server), servers=(service,))
    assert f"pid {process.pid}" in _look(platform)["server"].detail
    with service.log().path.open("a") as file:
        file.write("OSError: the disk is on fire\n")
    house.kill(process.pid)
    assert "its log says: OSError: the disk is on fire" in _look(platform)["server"].detail


def test_a_service_takes_the_place_of_another_that_must_not_run_beside_it(house: House) -> None:
    ManagedService(house.service(name="runner"), house.manager).ensure(within(20))
    ManagedService(house.service(name="worker"), house.manager, instead_of="runner").ensure(within(20))
    assert house.manager.state("runner") == "stopped"
    assert house.manager.state("worker") == "running"


def test_an_external_service_is_waited_for_and_shows_no_process() -> None:
    tries = iter([NotReady("not yet"), None])

    def probe() -> None:
        error = next(tries)
        if error:
            raise error

    service = ExternalService("The server", probe)
    assert not service.ensure(within(20)).changed
    assert service.instances() == ()
    assert service.log() is None
