from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from blueprint.settings import BUNDLED, Settings

OWN = {"entrypoint": "flows/mine.py:mine"}


def made(**values: object) -> Settings:
    return Settings.model_validate(values)


def test_the_bundled_pipeline_applies_only_as_long_as_no_flow_is_named() -> None:
    assert made().entrypoint == BUNDLED["entrypoint"]
    assert made().cron == "0 9 * * *"
    own = made(**OWN)
    assert (own.cron, own.parameters, own.data_source, own.check, own.tasks) == (None, {}, None, None, {})
    assert own.acceptance == made(**OWN, acceptance={}).acceptance
    assert own.acceptance.overrides is None


def test_another_kind_of_schedule_takes_the_place_of_the_bundled_one() -> None:
    assert (made(interval=60).cron, made(interval=60).interval) == (None, 60)
    assert made(rrule="FREQ=DAILY").cron is None
    assert made(cron=None).has_schedule is False
    with pytest.raises(ValidationError, match="exclude each other"):
        made(cron="@daily", interval=60)


def test_worker_and_source_follow_the_servers_port_unless_they_are_given() -> None:
    assert (made(port=5200).worker_port, made(port="5200").source_port) == (5201, 5202)
    assert (made(port=5200, worker_port=6000).worker_port, made(port=5200, worker_port=6000).source_port) == (
        6000,
        5202,
    )
    assert made(port=65535, worker_port=1, source_port=2).port == 65535
    with pytest.raises(ValidationError, match="worker_port"):
        made(port=65535)
    with pytest.raises(ValidationError, match="source_port"):
        made(port=65534)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "2001:db8::1"])
def test_a_server_open_to_others_without_a_password_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match="open to others"):
        made(host=host)
    assert made(host=host, api_auth_string="user:pw").is_loopback is False


def test_secrets_do_not_show_in_what_is_printed() -> None:
    found = made(api_auth_string="user:planted", database_url="postgresql://u:planted@h/d")
    assert "planted" not in f"{found} {found!r} {found.model_dump()} {found.model_dump_json()}"


def test_dates_of_toml_become_the_texts_that_flows_read_them_from() -> None:
    from datetime import UTC, date, datetime

    found = made(parameters={"day": date(2026, 1, 2), "list": [{"at": datetime(2026, 1, 2, 3, tzinfo=UTC)}]})
    assert found.parameters == {"day": "2026-01-02", "list": [{"at": "2026-01-02T03:00:00+00:00"}]}


def test_settings_cannot_be_changed_on_the_way() -> None:
    with pytest.raises(ValidationError):
        made().port = 1  # type: ignore[misc]


def test_the_bundled_defaults_fit_the_pipeline_that_ships() -> None:
    assert made().serves is False
    assert made(deploy_with="serve").serves is True
    assert made().source_url == "http://127.0.0.1:4202/api/v1/metrics"
    assert made(data_source="https://host/api").source_url == "https://host/api"
    assert made(**OWN).source_url is None
    assert set(made().tasks) == {"extract-task", "transform-task", "load-task"}


def test_the_same_settings_are_the_same_text_in_every_process() -> None:
    code = "from blueprint.settings import Settings; print(Settings.model_validate({}).model_dump_json())"
    root = Path(__file__).parents[2]
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }
    assert len(texts) == 1  # else a serving process would be restarted by every run
