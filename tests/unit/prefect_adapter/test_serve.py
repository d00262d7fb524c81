"""What the serving process is given."""

from __future__ import annotations

import json
from pathlib import Path

from blueprint.config.settings import SETTINGS_VARIABLE, Settings
from blueprint.core.workspace import Workspace
from blueprint.platform import specs


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
