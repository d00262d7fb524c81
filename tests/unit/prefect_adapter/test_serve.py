"""What the serving process is given, and what it answers."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect import Flow
from prefect.runner import server

from blueprint.config.settings import SETTINGS_VARIABLE, Settings
from blueprint.core.workspace import Workspace
from blueprint.platform import specs
from blueprint.prefect_adapter.serve import serve
from tests.support.flow_file import configured


def test_a_serving_process_is_told_of_every_deployment_and_of_no_secret(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").touch()
    settings = Settings.model_validate(
        {
            "deploy_with": "serve",
            "host": "0.0.0.0",
            "api_auth_string": "user:planted",
            "deployments": [{"deployment": "a"}, {"deployment": "b", "entrypoint": "b.py:c"}],
        }
    )
    text = specs.runner(settings, Workspace(tmp_path)).env[SETTINGS_VARIABLE]
    assert "planted" not in text
    read = [Settings.model_validate(one) for one in json.loads(text)]
    assert [(one.deployment, one.entrypoint, one.data_source) for one in read] == [
        ("a", settings.entrypoint, "bundled"),
        ("b", "b.py:c", None),
    ]


def test_nobody_can_end_a_serving_process_by_the_port_of_its_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's own answers `POST /shutdown` to whoever asks: to other users of the machine and to web pages."""
    monkeypatch.setattr(Flow, "serve", lambda _flow, **_terms: None)
    monkeypatch.setattr(server, "build_server", server.build_server)
    serve([configured(tmp_path)], tmp_path)
    stopped: list[bool] = []
    runner: Any = SimpleNamespace(last_polled=datetime.now(UTC), stop=lambda: stopped.append(True))
    asked = [
        ("GET", "/health"),
        ("POST", "/shutdown"),
        ("GET", "/run_count"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
    ]

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(await server.build_server(runner))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [(await client.request(method, path)).status_code for method, path in asked]

    assert (asyncio.run(ask()), stopped) == ([200, 404, 404, 404, 404], [])
