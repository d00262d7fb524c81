from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from blueprint.config.defaults import BUNDLED_DEFAULTS
from blueprint.config.settings import Settings, unique_labels
from blueprint.config.sources import describe_flow

OWN = {"entrypoint": "flows/mine.py:mine"}


def made(**values: object) -> Settings:
    return Settings.model_validate(values)


def test_the_bundled_pipeline_applies_only_as_long_as_no_flow_is_named() -> None:
    assert made().entrypoint == BUNDLED_DEFAULTS["entrypoint"]
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


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("::1", "[::1]"),
        ("192.168.1.5", "192.168.1.5"),
        ("2001:db8:0::1", "[2001:db8::1]"),
        ("0.0.0.0", socket.gethostname()),
        ("::", socket.gethostname()),
    ],
)
def test_browsers_are_told_an_address_that_leads_to_this_machine(host: str, reached_at: str) -> None:
    found = made(host=host, port=5200, api_auth_string="user:pw")
    assert (found.public_url, found.public_api_url) == (f"http://{reached_at}:5200", f"http://{reached_at}:5200/api")


def test_a_proxy_in_front_of_the_server_is_what_browsers_are_told() -> None:
    found = made(public_url="https://prefect.example.com/team/")
    assert found.public_api_url == "https://prefect.example.com/team/api"
    assert found.api_url == "http://127.0.0.1:4200/api"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "2001:db8::1"])
def test_a_server_open_to_others_without_a_password_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match="open to others"):
        made(host=host)
    with pytest.raises(ValueError, match="open to others"):
        made(host=host, auth="none")
    assert made(host=host, api_auth_string="user:pw").host == host
    assert made(host=host, auth="generated").host == host


def test_a_password_that_contradicts_its_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a password"):
        made(auth="given")
    for auth in ("none", "generated"):
        with pytest.raises(ValueError, match="leave one of them out"):
            made(auth=auth, api_auth_string="user:pw")
    assert made(auth="given", api_auth_string="user:pw").auth == "given"


def test_secrets_do_not_show_in_what_is_printed() -> None:
    found = made(api_auth_string="user:planted", warehouse_url="postgresql://u:planted@h/d")
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
    code = "from blueprint.config.settings import Settings; print(Settings.model_validate({}).model_dump_json())"
    root = Path(__file__).parents[3]
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


# --- several deployments ---------------------------------------------------------------------------------------------

NIGHTLY = {
    **OWN,
    "deployment": "nightly",
    "source": "work",
    "cron": "@daily",
    "timezone": "Europe/Berlin",
    "parameters": {"rows": 5},
    "tags": ["mine"],
    "check": "my:check",
    "run_seconds": 60,
    "tasks": {"copy": {"retries": 1}},
    "acceptance": {"overrides": {"rows": 1}},
}


def test_a_single_deployment_is_what_it_always_was() -> None:
    assert [one == found for found in (made(), made(**NIGHTLY)) for one in found.each()] == [True, True]


def test_another_deployment_of_the_same_flow_takes_over_what_is_the_flows_but_never_runs_by_itself_unasked() -> None:
    first, second = made(**NIGHTLY, deployments=[{"deployment": "by hand", "parameters": {"rows": 9}}]).each()
    assert first == made(**NIGHTLY, deployments=[]).model_copy(update={"deployments": ()})
    assert (second.entrypoint, second.deployment, second.source) == (first.entrypoint, "by hand", "work")
    assert (second.parameters, second.acceptance, second.check, second.tasks) == (
        {"rows": 9},
        first.acceptance,
        first.check,
        first.tasks,
    )
    assert (second.has_schedule, second.timezone, second.run_seconds, second.tags) == (
        False,
        "Europe/Berlin",
        60,
        ("mine",),
    )


def test_a_deployment_of_another_flow_takes_over_nothing_that_is_of_the_first_flow() -> None:
    table = {"deployment": "hourly", "entrypoint": "flows/mine.py:hourly", "interval": 3600}
    _, hourly = made(**NIGHTLY, port=5200, deployments=[table]).each()
    assert (hourly.parameters, hourly.check, hourly.tasks, hourly.acceptance.overrides) == ({}, None, {}, None)
    assert (hourly.cron, hourly.interval, hourly.timezone) == (None, 3600, "Europe/Berlin")
    assert (hourly.source, hourly.tags, hourly.port, hourly.worker_port) == ("work", ("mine",), 5200, 5201)


def test_the_same_function_in_another_folder_is_another_flow() -> None:
    _, other = made(**NIGHTLY, deployments=[{"deployment": "next", "source": "next"}]).each()
    assert (other.entrypoint, other.source, other.parameters) == (OWN["entrypoint"], "next", {})


def test_nothing_of_the_bundled_pipeline_leaks_into_a_flow_of_the_users_own() -> None:
    own = {**OWN, "deployment": "mine"}
    (mine,) = made(port=5200, deployments=[own]).each()
    alone = made(port=5200, **own)
    assert mine.model_dump() == alone.model_dump()
    bundled, mine = made(deployment="production-etl", deployments=[own]).each()
    assert bundled.data_source == "bundled"
    assert (mine.data_source, mine.tags, mine.timezone, mine.check) == (None, (), "UTC", None)
    _, mine = made(deployment="production-etl", data_source="https://host/", deployments=[own]).each()
    assert mine.data_source == "https://host/"


def test_the_bundled_pipeline_can_be_deployed_more_than_once() -> None:
    found = made(deployments=[{"deployment": "small", "parameters": {"batch_size": 5}}, {"deployment": "large"}]).each()
    assert [(one.deployment, one.parameters, one.data_source) for one in found] == [
        ("small", {"batch_size": 5}, "bundled"),
        ("large", {"batch_size": 500}, "bundled"),
    ]


def test_the_passwords_of_the_platform_are_those_of_every_deployment() -> None:
    found = made(api_auth_string="user:planted", deployments=[{"deployment": "a"}, {"deployment": "b"}]).each()
    secrets = [one.api_auth_string for one in found]
    assert [one.get_secret_value() for one in secrets if one] == ["user:planted"] * 2


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"deployment": "a", "deployments": [{"deployment": "a"}]}, r"no\. 1 is the same as \[tool.blueprint\] itself"),
        ({"deployments": [{"deployment": "a"}] * 2}, r"no\. 2 is the same as no\. 1"),
        ({**OWN, "deployments": [{"deployment": "a"}, {"deployment": "a", "source": "./x/.."}]}, r"no\. 2 is the same"),
        ({**OWN, "deployments": [{"deployment": "a", "entrypoint": "b.py:c"}]}, "entrypoint belongs to a deployment"),
        ({**OWN, "cron": "@daily", "deployments": [{"deployment": "a"}]}, "cron belongs to a deployment"),
        ({"parameters": {}, "deployments": [{"deployment": "a", "entrypoint": "b.py:c"}]}, "parameters belongs to"),
        ({"deployments": [{"entrypoint": "b.py:c"}]}, "Field required"),
        ({"deployments": [{"deployment": "a", "port": 1}]}, "Extra inputs"),
        ({"deployments": [{"deployment": "a", "cron": "@daily", "interval": 5}]}, "exclude each other"),
    ],
)
def test_a_table_of_deployments_that_cannot_be_meant_is_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        made(**values)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (({}, {"deployment": "b"}), ("a", "b")),
        (({}, {"entrypoint": "x.py:other"}), ("mine/a", "other/a")),
        (({}, {"entrypoint": "pkg.flows.other"}), ("mine/a", "other/a")),
        (({}, {"entrypoint": "x.py:mine"}), ("flows/mine.py:mine/a", "x.py:mine/a")),
        (({}, {"source": "x"}), ("./flows/mine.py:mine/a", "x/flows/mine.py:mine/a")),
    ],
)
def test_deployments_are_told_apart_by_the_shortest_names_that_do(
    tables: tuple[dict[str, object], ...], told: tuple[str, ...]
) -> None:
    found = made(**OWN, deployments=[{"deployment": "a", **table} for table in tables])
    assert unique_labels(found.each()) == told


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {},
            "Flow: blueprint/pipeline/data_pipeline.py:enterprise_data_pipeline "
            "(the bundled pipeline; no entrypoint is configured)",
        ),
        (OWN, "Flow: flows/mine.py:mine"),
        ({"entrypoint": BUNDLED_DEFAULTS["entrypoint"]}, f"Flow: {BUNDLED_DEFAULTS['entrypoint']}"),
        ({"deployments": [{**OWN, "deployment": "a"}, {**OWN, "deployment": "b"}]}, "Flow: flows/mine.py:mine"),
        (
            {**OWN, "deployment": "a", "deployments": [{"entrypoint": "b.py:c", "deployment": "b"}]},
            "Flows: flows/mine.py:mine, b.py:c",
        ),
    ],
)
def test_a_run_says_which_flow_it_proves_and_whether_anybody_asked_for_it(values: dict[str, object], line: str) -> None:
    assert describe_flow(values) == line
