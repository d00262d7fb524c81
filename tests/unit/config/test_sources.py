from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prefect.client.schemas.schedules import RRuleSchedule as ClientRRule
from prefect.client.schemas.schedules import is_valid_timezone
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule

from blueprint.config import sources as configuration
from blueprint.config.deployment_settings import Acceptance, DeploymentTable
from blueprint.config.keys import KEYS as SETTING_KEYS
from blueprint.config.keys import OF_DEPLOYMENT, RENAMED, SECRETS
from blueprint.config.settings import Settings
from blueprint.core.errors import UsageError
from blueprint.core.workspace import Workspace
from blueprint.platform import environment as prefect_env
from tests.support import settings_page
from tests.support.garbage import JSON_TEXTS, KEYS, NASTY, TEXTS, VALUES, quoted, see_that_it_is_proper, toml

FUZZ = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
ZONES = frozenset(available_timezones())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "")
    (tmp_path / "requirements.lock").write_text("")
    return tmp_path


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **_more: started.append(args))
    yield
    assert not started


def write(root: Path, table: str) -> None:
    (root / "pyproject.toml").write_bytes(f"[tool.blueprint]\n{table}".encode("utf-8", "surrogatepass"))


def load(
    root: Path, environment: Mapping[str, str] | None = None, arguments: tuple[str, ...] = (), *, secrets: str = ""
) -> Settings | None:
    """The settings if they are accepted, and then they must be fit for use; None if they were refused properly."""
    try:
        found = configuration.load(root, environment or {}, arguments)
    except UsageError as error:
        see_that_it_is_proper(error)
        said = str(error)
        for key in SETTING_KEYS.values():  # which no user wrote: "user:password@host" is no password that was told
            said = said.replace(key.accepted, "")
        assert not secrets or secrets not in said
        return None
    see_that_it_is_usable(found, root)
    return found


def see_that_it_is_usable(found: Settings, root: Path) -> None:
    """Nothing that was accepted may fail later: in JSON, in a process's environment, in TOML, or in Prefect."""
    json.dumps(found.model_dump(mode="json"), allow_nan=False).encode()
    assert (
        found.model_validate_json(found.model_copy(update=dict.fromkeys(SECRETS)).model_dump_json()).port == found.port
    )
    workspace = Workspace(root)
    variables = prefect_env.for_server(found, workspace) | prefect_env.for_worker(found, workspace)
    assert all("\0" not in value and value.encode() is not None for value in variables.values())
    assert tomllib.loads(prefect_env.prefect_toml(found, workspace))["api"]["url"] == found.api_url
    assert len({found.port, found.worker_port, found.source_port}) == 3
    assert found.timezone in ZONES
    if found.cron:
        assert asyncio.run(
            CronSchedule.model_construct(cron=found.cron, timezone=found.timezone, day_or=True).get_dates(1)
        )
    if found.interval:
        assert timedelta(seconds=found.interval).total_seconds() == found.interval
    if found.rrule:
        ClientRRule.validate_rrule_str(found.rrule)


@given(key=KEYS, text=TEXTS | JSON_TEXTS, by=st.sampled_from(("environment", "--set")))
@settings(FUZZ, max_examples=1500)
def test_no_value_of_a_variable_or_an_argument_ends_in_a_traceback(root: Path, key: str, text: str, by: str) -> None:
    if by == "environment":
        load(root, {f"BLUEPRINT_{key.upper()}": text}, secrets=text if key in SECRETS and len(text) > 3 else "")
    else:
        load(root, {}, (f"{key}={text}",), secrets=text if key in SECRETS and len(text) > 3 else "")


@given(values=st.dictionaries(KEYS, TEXTS | JSON_TEXTS, min_size=2, max_size=5))
@settings(FUZZ, max_examples=500)
def test_no_combination_of_values_ends_in_a_traceback(root: Path, values: dict[str, str]) -> None:
    load(root, {f"BLUEPRINT_{key.upper()}": text for key, text in values.items()})


@given(table=st.dictionaries(KEYS, VALUES, max_size=3) | st.dictionaries(KEYS | TEXTS, VALUES, max_size=2))
@settings(FUZZ, max_examples=1000)
def test_no_table_in_pyproject_ends_in_a_traceback(root: Path, table: dict[str, Any]) -> None:
    write(root, "\n".join(f"{quoted(key)} = {toml(one)}" for key, one in table.items()))
    load(root)


@given(content=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(content=b"\xff\xfe")
@example(content=b"[tool]\nblueprint = 1")
@example(content=b"[[tool.blueprint]]\nport = 1")
@example(content=b"tool = 5")
@example(content=b"a = " + b"9" * 6000)
@example(content=b"a = " + b"[" * 5000)
@example(content=b"[tool.blueprint]\n" + b"a." * 5000 + b"a = 1")
@example(content=b"[tool.blueprint]\nparameters." + b"a." * 5000 + b"a = 1")
@example(content=b"[tool.blueprint]\nparameters = {a = 0x" + b"f" * 6000 + b"}")
@example(content=b"[tool.blueprint]\nparameters = {day = 2026-01-01}")
@example(content=b"[tool.blueprint]\nport = 2026-01-01")
@example(content=b"[tool.blueprint]\ninterval = nan")
@example(content=b"\xef\xbb\xbf[tool.blueprint]\nport = 5200")
@settings(FUZZ, max_examples=1000)
def test_no_content_of_pyproject_ends_in_a_traceback(root: Path, content: bytes) -> None:
    (root / "pyproject.toml").write_bytes(content)
    load(root)


@given(name=TEXTS)
@settings(FUZZ, max_examples=400)
def test_no_name_of_a_variable_or_an_argument_ends_in_a_traceback(root: Path, name: str) -> None:
    load(root, {f"BLUEPRINT_{name}": "1"})
    load(root, {}, (name,))
    load(root, {}, (f"{name}=1",))


def refusal(root: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(UsageError) as raised:
        configuration.load(root, environment or {}, arguments)
    assert raised.value.exit_code == 2
    return str(raised.value)


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("port=70000", ("command line: port", "from 1 to 65535")),
        ("port=0", ("command line: port", "from 1 to 65535")),
        ("port=true", ("command line: port", "a number")),
        ("port=x", ("command line: port", "from 1 to 65535")),
        ("port=65535", ("worker_port", "derived from port")),
        ("worker_port=4200", ("port 4200, worker_port 4200",)),
        ("jobs=0", ("jobs", "from 1 to 30")),
        ("jobs=31", ("jobs", "from 1 to 30")),
        ("deploy_with=yaml", ("deploy_with", "deploy", "serve")),
        ("cron=nonsense", ("cron", "0 9 * * *")),
        ("cron=0 25 * * *", ("cron", "hour '25'", "0 to 23")),
        ("interval=0", ("interval", "from 1")),
        ("interval=inf", ("interval", "finite")),
        ("rrule=FREQ=NEVER", ("rrule", "FREQ=DAILY")),
        ("rrule=FREQ=DAILY;INTERVAL=0", ("rrule", "INTERVAL")),
        ("timezone=Mars/Olympus", ("timezone", "America/Chicago")),
        ("timezone=", ("timezone", "America/Chicago")),
        ("entrypoint=nothing", ("entrypoint", "path/to/file.py:flow_function")),
        ("entrypoint=flow.py", ("entrypoint", "path/to/file.py:flow_function")),
        ("host=example.com", ("host", "an IP address or localhost")),
        ("host=0.0.0.0", ("host", "BLUEPRINT_API_AUTH_STRING")),
        ("data_source=ftp://host/", ("data_source", "http(s)")),
        ("check=rows", ("check", "module:function")),
        ("deployment=a/b", ("deployment", "printable")),
        ("tags=[1]", ("tags.0", "a list of texts")),
        ("parameters=[1]", ("parameters", "a table")),
        ('parameters={"a": NaN}', ("parameters", "not finite")),
        ('parameters={"a": 99999999999999999999}', ("parameters", "64 bits")),
        ('parameters={"a": "\\u0000"}', ("parameters", "character")),
        ('requirements=["--index-url http://x"]', ("requirements.0", "not a requirement")),
        ('tasks={"x": {"retries": -1}}', ("tasks.x.retries", "0 or more")),
        ('acceptance={"overides": {}}', ("acceptance.overides", "unknown key", "overrides")),
        ("unknown=1", ("unknown", "names no setting", "timezone")),
        ("warehouse_url=postgresql://u:planted@h/d", ("warehouse_url", "BLUEPRINT_WAREHOUSE_URL")),
        ("api-auth-string=user:planted", ("api_auth_string", "BLUEPRINT_API_AUTH_STRING")),
        ("api_auth_strin=user:planted", ("api_auth_strin", "names no setting")),
    ],
)
def test_whoever_gives_a_bad_value_reads_its_name_and_what_is_accepted(
    root: Path, argument: str, names: tuple[str, ...]
) -> None:
    text = refusal(root, argument)
    assert [name for name in names if name not in text] == [], text
    assert "planted" not in text


@pytest.mark.parametrize(
    ("table", "environment", "arguments"),
    [
        ("database_url = 'postgresql://u:planted@h/d'", {}, ()),
        ("", {"BLUEPRINT_DATABASE_URL": "postgresql://u:planted@h/d"}, ()),
        ("", {}, ("database_url=postgresql://u:planted@h/d",)),
        ("", {}, ("database-url=postgresql://u:planted@h/d",)),
        ("deployments = [{ deployment = 'a', database_url = 'postgresql://u:planted@h/d' }]", {}, ()),
    ],
)
def test_the_former_name_of_the_warehouses_address_is_refused_with_its_name_now(
    root: Path, table: str, environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    write(root, table)
    text = refusal(root, *arguments, environment=environment)
    assert "is now named warehouse_url" in text
    assert "planted" not in text


@pytest.mark.parametrize(
    ("argument", "accepted"),
    [
        ("public_url=prefect.example.com", "an http(s) address"),
        ("public_url=https://u:planted@example.com", "an http(s) address"),
        ("public_url=https://büro.example", "an http(s) address"),
        ("public_url=https://example.com/?a=planted", "an http(s) address"),
        ('allowed_origins=["https://prefect.example/planted"]', "a list of http(s) addresses"),
        ('allowed_origins=["planted.example", "*"]', "a list of http(s) addresses"),
        ("warm_start=planted", "true or false"),
        ("sqlite_locking=1", "true or false"),
    ],
)
def test_whoever_misspells_a_switch_or_an_address_reads_what_is_accepted(
    root: Path, argument: str, accepted: str
) -> None:
    text = refusal(root, argument)
    assert f"Accepted for {argument.partition('=')[0]}: {accepted}" in text
    assert "planted" not in text


@pytest.mark.parametrize("variable", ["BLUEPRINT_UNKNOWN", "BLUEPRINT_", "BLUEPRINT_PORTS"])
def test_a_misspelt_variable_is_not_silently_ignored(root: Path, variable: str) -> None:
    assert variable in refusal(root, environment={variable: "1"})


@pytest.mark.parametrize("content", ["prot = 5200", "'pörts' = 1", "[tool.blueprint.ports]\na = 1"])
def test_a_misspelt_key_in_pyproject_is_not_silently_ignored(root: Path, content: str) -> None:
    write(root, content)
    text = refusal(root)
    assert "names no setting" in text
    assert "pyproject.toml" in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff", "not valid TOML"),
        (b"[tool]\nblueprint = 1", "must be a table"),
        (b"tool = 1", "must be a table"),
        (b"[tool.blueprint]\nport = ", "not valid TOML"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
    ],
)
def test_a_broken_pyproject_is_named(root: Path, content: bytes, says: str) -> None:
    (root / "pyproject.toml").write_bytes(content)
    text = refusal(root)
    assert says in text
    assert "pyproject.toml" in text


def test_a_missing_or_unreadable_pyproject_is_named(root: Path) -> None:
    (root / "pyproject.toml").unlink()
    assert "is missing" in refusal(root)
    (root / "pyproject.toml").mkdir()
    assert "cannot be read" in refusal(root)


@given(
    secret=st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=5, max_size=30).map("Zq9{}".format),
    other=VALUES,
)
@settings(FUZZ, max_examples=150)
def test_no_error_tells_a_secret(root: Path, secret: str, other: object) -> None:
    for value in (secret, f" {secret}:x y", f"{secret}\n", {secret: other}, [secret], f"{secret}\ud800"):
        for key in SECRETS:
            given_as = value if isinstance(value, str) else json.dumps(value)
            load(root, {f"BLUEPRINT_{key.upper()}": given_as, "BLUEPRINT_PORT": "x"}, secrets=secret)
            write(root, f"{key} = {toml(value)}\nport = 'x'")
            load(root, secrets=secret)
            write(root, "")


def test_accepted_values_reach_the_settings_from_every_source(root: Path) -> None:
    write(root, "port = 5200\njobs = 3\ncron = '@daily'")
    found = load(root, {"BLUEPRINT_PORT": "5300", "BLUEPRINT_TAGS": '["a"]', "OTHER": "x"}, ("port=5400",))
    assert found
    assert (found.port, found.worker_port, found.source_port) == (5400, 5401, 5402)
    assert (found.jobs, found.cron, found.tags) == (3, "@daily", ("a",))


def test_what_the_last_execution_was_given_stays_until_something_newer_says_otherwise(root: Path) -> None:
    write(root, "port = 5200")
    assert configuration.load(root, {}, (), ("port=5300",)).port == 5300
    assert configuration.load(root, {"BLUEPRINT_PORT": "5400"}, (), ("port=5300",)).port == 5400
    assert configuration.load(root, {}, ("port=5500",), ("port=5300",)).port == 5500


def test_the_table_of_keys_and_the_model_are_of_the_same_settings() -> None:
    assert set(SETTING_KEYS) == set(Settings.model_fields)
    assert set(OF_DEPLOYMENT) == set(DeploymentTable.model_fields)
    assert not RENAMED.keys() & SETTING_KEYS.keys()
    assert set(RENAMED.values()) <= set(SETTING_KEYS)
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert set(SECRETS) == secret


def test_every_field_has_its_help_text() -> None:
    for model in (Settings, DeploymentTable):
        assert {name: field.description for name, field in model.model_fields.items()} == {
            name: SETTING_KEYS[name].help for name in model.model_fields
        }
    assert all(field.description for field in Acceptance.model_fields.values())


def test_the_page_of_settings_is_what_the_code_says() -> None:
    page = Path(__file__).parents[3] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings_page.text(), "run: python -m tests.support.settings_page"


def test_values_are_read_before_anything_is_installed_to_judge_them(root: Path) -> None:
    values, sources = configuration.read(root, {"BLUEPRINT_JOBS": "99"}, ("cron=x",))
    assert values == {"jobs": 99, "cron": "x"}
    assert sources == {"jobs": "environment", "cron": "command line"}


def test_many_mistakes_do_not_fill_the_screen(root: Path) -> None:
    text = refusal(root, f"tags={json.dumps([1] * 1000)}")
    assert "and 995 more" in text
    assert len(text) < 1000


def test_time_zones_are_accepted_exactly_if_prefect_knows_them(root: Path) -> None:
    usable = sorted(zone for zone in ZONES if is_valid_timezone(zone))
    assert len(usable) > 500
    for zone in usable[::7]:
        found = load(root, {}, (f"timezone={zone}",))
        assert found
        assert found.timezone == zone
    for zone in ("Factory", "localtime", "posixrules", "posix/UTC", "right/UTC", "america/chicago", "Europe", "/etc"):
        assert "timezone" in refusal(root, f"timezone={zone}")


def test_the_examples_are_not_all_refused() -> None:
    accepted = [text for text in NASTY if re.fullmatch(r"\d{4,5}", text) and 1 <= int(text) <= 65533]
    assert accepted


def test_an_interval_that_is_accepted_is_one_for_the_server(root: Path) -> None:
    for text in ("1", "60", "0.1e2", "3153600000", "1.1234567"):
        found = load(root, {}, (f"interval={text}",))
        assert found
        assert found.interval
        IntervalSchedule(interval=timedelta(seconds=found.interval))


@pytest.mark.parametrize(
    ("tables", "names"),
    [
        ("[[tool.blueprint.deployments]]\ncron = '@daily'", ("deployments no. 1: deployment: Field required",)),
        (
            "[[tool.blueprint.deployments]]\ndeployment='a'\n[[tool.blueprint.deployments]]\ndeployment='b'\nport=1",
            ("deployments no. 2 (b): port is of the platform", "[tool.blueprint]"),
        ),
        (
            "[[tool.blueprint.deployments]]\ndeployment = 'a'\nintervall = 5",
            ("deployments no. 1 (a): intervall names no setting", "interval, rrule"),
        ),
        (
            "[[tool.blueprint.deployments]]\ndeployment = 'a'\ncron = 'never'",
            ("deployments no. 1 (a): cron: ", "Accepted for cron"),
        ),
        (
            "[[tool.blueprint.deployments]]\ndeployment = 'a'\nacceptance = { refused = [5] }",
            ("deployments no. 1 (a): acceptance.refused.0: ", "Accepted for acceptance"),
        ),
        (
            "[[tool.blueprint.deployments]]\ndeployment = 'a'\n[[tool.blueprint.deployments]]\ndeployment = 'a'",
            ("deployments no. 2 is the same as no. 1",),
        ),
        ("deployments = 5", ("deployments: ", "a list of tables")),
        ("deployments = [5]", ("deployments no. 1: ", "a list of tables")),
        ("cron = '@daily'\n[[tool.blueprint.deployments]]\ndeployment = 'a'", ("cron belongs to a deployment",)),
    ],
)
def test_a_mistake_in_one_of_several_deployments_is_told_with_its_place(
    root: Path, tables: str, names: tuple[str, ...]
) -> None:
    write(root, tables)
    text = refusal(root)
    assert text.startswith("pyproject.toml [tool.blueprint]: ")
    assert [name for name in names if name not in text] == [], text


def test_deployments_are_given_as_json_by_a_variable_or_an_argument(root: Path) -> None:
    tables = json.dumps([{"deployment": "a"}, {"deployment": "b", "cron": "@daily"}])
    for found in (
        load(root, {"BLUEPRINT_DEPLOYMENTS": tables}),
        load(root, {}, (f"deployments={tables}",)),
    ):
        assert found
        assert [(one.deployment, one.cron) for one in found.each()] == [("a", None), ("b", "@daily")]
    text = refusal(root, 'deployments=[{"deployment": "a", "warehouse_url": "postgresql://u:planted@h/d"}]')
    assert "command line: deployments no. 1 (a): warehouse_url is of the platform" in text
    assert "planted" not in text
    assert "environment: deployments no. 1" in refusal(root, environment={"BLUEPRINT_DEPLOYMENTS": "[{}]"})
