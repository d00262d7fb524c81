from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blueprint.config.settings import Settings
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.workspace import Workspace
from blueprint.platform import environment, specs

SECRET = "user:planted-passwörd"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "requirements.lock").write_text("# a lock\n")
    found = Workspace(tmp_path)
    yield found
    shutil.rmtree(found.temporary, ignore_errors=True)  # it may be outside


def configured(**values: object) -> Settings:
    return Settings.model_validate(values)


def test_a_shell_that_points_elsewhere_changes_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_HOME", "PREFECT__X", "PIPELINE_X"):
        monkeypatch.setenv(name, "http://elsewhere.example")
    monkeypatch.setenv("KEPT", "yes")
    found = environment.for_child(configured(port=5200), workspace)
    assert found["KEPT"] == "yes"
    assert found["PREFECT_API_URL"] == "http://127.0.0.1:5200/api"
    assert found["PREFECT_HOME"] == str(workspace.prefect_home)
    assert [name for name, value in found.items() if "elsewhere.example" in value] == []


@pytest.mark.parametrize(
    ("shell", "expected", "told"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://p:1"}, "127.0.0.1,localhost,::1,prefect.example", "HTTP_PROXY"),
        ({"all_proxy": "http://p:1", "NO_PROXY": "a"}, "a,127.0.0.1,localhost,::1,prefect.example", "all_proxy"),
        ({"http_proxy": "http://p:1", "no_proxy": "*"}, "*", None),
        (
            {"http_proxy": "http://p:1", "no_proxy": "127.0.0.1,localhost"},
            "127.0.0.1,localhost,::1,prefect.example",
            None,
        ),
    ],
)
def test_no_proxy_stands_between_us_and_the_platform(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    shell: dict[str, str],
    expected: str | None,
    told: str | None,
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    found = environment.for_child(configured(public_url="https://prefect.example"), workspace)
    assert found.get("no_proxy") == expected
    assert found.get(environment.PROXIED) == told


def test_nobody_gets_the_settings_of_the_installers_and_of_the_executor(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "BLUEPRINT_API_AUTH_STRING", "BLUEPRINT_WAREHOUSE_URL"):
        monkeypatch.setenv(name, "https://user:planted@index.example")
    services = [make(configured(), workspace) for make in (specs.server, specs.runner, specs.source)]
    services.append(specs.worker(configured(), workspace, "ours"))
    given = [environment.for_child(configured(), workspace), *({**one.inherit, **one.env} for one in services)]
    assert [name for variables in given for name, value in variables.items() if "planted" in value] == []


def test_what_the_user_names_is_kept_and_a_service_is_restarted_when_it_changes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configured(keep_variables=["PREFECT_SERVER_API_MAX_PARAMETER_SIZE", "PIP_INDEX_URL", "PREFECT_NOT_SET"])
    prints = []
    for size in ("1000", "2000"):
        monkeypatch.setenv("PREFECT_SERVER_API_MAX_PARAMETER_SIZE", size)
        found = environment.for_child(settings, workspace)
        assert found["PREFECT_SERVER_API_MAX_PARAMETER_SIZE"] == size
        assert "PREFECT_NOT_SET" not in found
        prints.append(specs.server(settings, workspace).fingerprint(""))
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    "name",
    [
        *("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"),
        *("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_NAME", "PREFECT_SERVER_API_BASE_PATH"),
        *("PREFECT_SERVER_API_HOST", "PREFECT_SERVER_API_PORT", "PREFECT_SERVER_EPHEMERAL_ENABLED", "PREFECT__X"),
        *("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "PATH", "PREFECT_", "x"),
        *("PREFECT_API_AUTH_STRING", "BLUEPRINT_PORT", "LD_PRELOAD"),
    ],
)
def test_a_variable_that_would_lead_the_platform_elsewhere_cannot_be_kept(name: str) -> None:
    with pytest.raises(ValueError, match=r"the platform's own|not the name"):
        configured(keep_variables=[name])


def test_a_foreign_prefect_on_the_shells_python_path_reaches_no_process(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "__init__.py").write_text("raise RuntimeError('a foreign Prefect')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    env = environment.for_child(configured(), workspace)
    answer = subprocess.run([sys.executable, "-c", "import prefect"], env=env, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "PYTHONPATH" not in specs.server(configured(), workspace).inherit


def test_a_process_that_applies_it_to_itself_is_rid_of_the_shells_settings(workspace: Workspace) -> None:
    script = """
import json, os, sys
from pathlib import Path
from blueprint.platform import environment as prefect_env
from blueprint.config.settings import Settings
from blueprint.core.workspace import Workspace
prefect_env.apply_to_self(Settings.model_validate({"port": 5200}), Workspace(Path(sys.argv[1])))
from prefect.settings import get_current_settings
now = get_current_settings()
print(json.dumps([now.api.url, now.api.key and "a key", str(now.home), now.server.ephemeral.enabled]))
"""
    foreign = {"PREFECT_API_URL": "http://elsewhere/api", "PREFECT_API_KEY": "k", "PREFECT_PROFILE": "ephemeral"}
    answer = subprocess.run(
        [sys.executable, "-c", script, str(workspace.root)],
        env=dict(os.environ) | foreign,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(answer.stdout.splitlines()[-1])
    assert shown == ["http://127.0.0.1:5200/api", None, str(workspace.prefect_home), False]


def test_plain_prefect_commands_reach_the_platform_from_a_folder_of_any_name(tmp_path: Path) -> None:
    script = """
import json, os, sys
from prefect.settings import Settings
for folder in sys.argv[1:]:
    os.chdir(folder)
    now = Settings()
    auth = now.api.auth_string and now.api.auth_string.get_secret_value()
    values = [str(now.home), str(now.profiles_path), now.api.url, auth, now.server.ephemeral.enabled, now.ui_url]
    print(json.dumps(values))
"""
    found = configured(port=5200, api_auth_string=SECRET, public_url="https://prefect.example")
    folders = [tmp_path / name for name in ("plain", "with space", "Größe", "emoji-\U0001f600", 'quote"back\\slash')]
    for folder in folders:
        folder.mkdir()
        (folder / "prefect.toml").write_text(environment.prefect_toml(found, Workspace(folder)), encoding="utf-8")
    clean = environment.without_prefect(os.environ)
    answer = subprocess.run(
        [sys.executable, "-c", script, *folders], env=clean, capture_output=True, text=True, check=True
    )
    for folder, line in zip(folders, answer.stdout.splitlines()[-len(folders) :], strict=True):
        home = str(folder / ".blueprint" / "prefect")
        assert json.loads(line) == [
            home,
            f"{home}/profiles.toml",
            "http://127.0.0.1:5200/api",
            SECRET,
            False,
            "https://prefect.example",
        ]


@given(
    auth=st.text(max_size=30).map("user:{}".format),
    name=st.text(st.characters(exclude_characters="/\0", codec="utf-8")),
)
@example(auth='user:"\\', name="\U0001f600")
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_password_and_no_folder_breaks_the_file_that_prefect_reads(auth: str, name: str) -> None:
    try:
        found = configured(api_auth_string=auth)
    except ValueError:
        return
    text = environment.prefect_toml(found, Workspace(Path("/projects") / name))
    document = tomllib.loads(text)
    assert document["api"]["auth_string"] == auth
    assert document["home"] == f"{Path('/projects') / name}/.blueprint/prefect"


def test_a_password_is_given_to_those_who_need_it_and_to_nobody_else(workspace: Workspace) -> None:
    open_to_all = configured(api_auth_string=SECRET, warehouse_url="postgresql://u:planted@h/d")
    server = environment.for_server(open_to_all, workspace)
    assert server["PREFECT_SERVER_API_AUTH_STRING"] == SECRET
    assert environment.for_worker(open_to_all, workspace)["PREFECT_API_AUTH_STRING"] == SECRET
    assert environment.for_worker(open_to_all, workspace)["PIPELINE_DATABASE_URL"] == "postgresql://u:planted@h/d"
    assert [value for value in specs.source(open_to_all, workspace).env.values() if "planted" in value] == []
    without = environment.for_server(configured(), workspace) | environment.for_worker(configured(), workspace)
    assert [name for name in without if "AUTH" in name or "DATABASE" in name] == []


def test_the_server_tells_its_ui_an_address_that_a_browser_can_reach(workspace: Workspace) -> None:
    everywhere = configured(host="0.0.0.0", api_auth_string=SECRET)
    assert environment.for_server(everywhere, workspace)["PREFECT_SERVER_API_HOST"] == "0.0.0.0"
    for_browsers = environment.for_server(everywhere, workspace)["PREFECT_SERVER_UI_API_URL"]
    assert for_browsers == everywhere.public_api_url
    assert "127.0.0.1" not in for_browsers, "a browser on another machine would call itself"
    assert environment.for_server(everywhere, workspace)["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    named = configured(public_url="https://prefect.example")
    assert environment.for_server(named, workspace)["PREFECT_SERVER_UI_API_URL"] == "https://prefect.example/api"
    assert environment.for_worker(named, workspace)["PREFECT_UI_URL"] == "https://prefect.example"
    assert configured(host="::1").api_url == "http://[::1]:4200/api"
    assert configured(host="::", api_auth_string=SECRET).api_url == "http://[::1]:4200/api"
    assert configured(host="localhost").api_url == "http://localhost:4200/api"


def test_a_service_started_with_older_packages_can_be_told_apart(workspace: Workspace) -> None:
    before = environment.client(configured(), workspace)
    (workspace.root / "requirements.lock").write_text("# another lock\n")
    assert environment.client(configured(), workspace) != before


APPLY = """
import sys, tempfile
from multiprocessing.managers import SyncManager
from pathlib import Path
from blueprint.config.settings import Settings
from blueprint.core.workspace import Workspace
from blueprint.platform import environment
environment.apply_to_self(Settings.model_validate({}), Workspace(Path(sys.argv[1])))
with SyncManager():  # it makes a socket there
    print(tempfile.gettempdir())
"""


def test_each_workspace_has_a_private_folder_for_temporary_files() -> None:
    with tempfile.TemporaryDirectory() as short:
        roots = [Path(short, name) for name in ("one", "two", "a-long-path/" * 8)]
        folders = []
        for root in roots:
            root.mkdir(parents=True)
            (root / "requirements.lock").touch()
            answer = subprocess.run(
                [sys.executable, "-c", APPLY, str(root)], capture_output=True, text=True, check=True
            )
            folders.append(Path(answer.stdout.strip()))
        assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 3
        assert folders[:2] == [root / ".blueprint" / "tmp" for root in roots[:2]]
        assert folders[2] == Workspace(roots[2]).temporary
        assert folders[2].parent == Path("/tmp")
        folders[2].rmdir()


def test_a_folder_for_temporary_files_that_is_another_users_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "theirs")
    monkeypatch.setattr(Workspace, "temporary", link)
    with pytest.raises(EnvironmentRefused, match="another user"):
        environment.apply_to_self(configured(), workspace)
    if os.getuid() == 0:
        os.chown(theirs, 12345, 12345)
        monkeypatch.setattr(Workspace, "temporary", theirs)
        with pytest.raises(EnvironmentRefused, match="another user"):
            environment.apply_to_self(configured(), workspace)


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv (util-linux)")
@pytest.mark.parametrize("ours", [False, True])
def test_another_users_temporary_files_are_not_in_the_way(workspace: Workspace, tmp_path: Path, *, ours: bool) -> None:
    """Prefect makes `runner_storage` in the folder for temporary files: in a shared one the second user could not."""
    shared = tmp_path / "shared"
    (shared / "runner_storage").mkdir(parents=True)
    os.chown(shared / "runner_storage", 12345, 12345)
    (shared / "runner_storage").chmod(0o700)
    workspace.temporary.mkdir(parents=True)
    environ = {**os.environ, "TMPDIR": str(shared), "PREFECT_HOME": str(tmp_path / "home")}
    if ours:
        environ |= environment.client(configured(), workspace)
    script = "import asyncio; from prefect.runner import Runner; asyncio.run(Runner().__aenter__()); print('up')"
    drop = "-dac_override,-dac_read_search"  # root without its right to enter everything is like any other user
    done = subprocess.run(
        [
            "setpriv",
            f"--bounding-set={drop}",
            f"--inh-caps={drop}",
            sys.executable,
            "-c",
            script,
        ],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout == "up\n") == ours, done.stderr
    assert ours or "PermissionError" in done.stderr
