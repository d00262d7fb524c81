"""Task 8: what is started beside the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blueprint.config.settings import Settings
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
from blueprint.platform.base import ApiEndpoint, ManagedService, Platform
from blueprint.prefect_adapter.flow_host import FlowHost
from blueprint.prefect_runtime import own_listener
from blueprint.processes.log import BEGINNING
from blueprint.tasks import t08_start_prefect_server as task_8
from blueprint.tasks.context import Context
from tests.unit.processes.helpers import House, kill_all, make_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A workspace whose processes are gone after the test."""
    made = make_house(tmp_path / "house")
    yield made
    kill_all(made.carriers())


@pytest.mark.parametrize(
    ("authorization", "tells", "worker"),
    [(None, False, "running"), ("Basic abc", False, "stopped"), ("Basic abc", True, "running")],
)
def test_the_worker_is_begun_before_the_server_is_proven_only_if_it_gives_no_password_to_others(
    house: House, monkeypatch: pytest.MonkeyPatch, authorization: str | None, worker: str, *, tells: bool
) -> None:
    monkeypatch.setattr(own_listener, "CAN_TELL", tells)
    server, other = (ManagedService(house.service(name=name), house.manager) for name in ("server", "worker"))
    api = ApiEndpoint("http://127.0.0.1:1/api", "http://127.0.0.1:1/api", authorization)
    settings, workspace = Settings.model_validate({"entrypoint": "a.py:b"}), Workspace(house.folder)
    ctx = Context(
        settings,
        workspace,
        house.manager,
        Platform(api, (server,), (other,)),
        FlowHost(workspace),
        "origin",
        lambda text, key: f"{key}: {text}",
        BEGINNING,
        with_worker=True,
    )
    task_8._begin(ctx, within(20))
    assert house.manager.state("server") == "running"
    assert house.manager.state("worker") == worker
