"""The files that tell Prefect in the project folder where the platform is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.core.files import write_whole
from blueprint.core.task import TaskFailed
from blueprint.core.workspace import Workspace

if TYPE_CHECKING:
    from blueprint.config.settings import Settings


def require_ours(workspace: Workspace) -> None:
    """See that Prefect's home is there, private to the user, and that prefect.toml, if there is one, is ours.

    Raises:
        TaskFailed: There is one of somebody else's. It is never overwritten; and the server would read it too.
    """
    from blueprint.platform import environment

    toml = workspace.root / "prefect.toml"
    if toml.exists() and not toml.read_text(encoding="utf-8", errors="replace").startswith(environment.TOML_HEADER):
        raise TaskFailed(
            "There is a prefect.toml in the project folder that Blueprint did not write.",
            where_to_look=str(toml),
            hint="Move it away, or move its settings into [tool.prefect] of pyproject.toml, and run again.",
        )
    workspace.prefect_home.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_files(settings: Settings, workspace: Workspace) -> list[str]:
    """Write what differs, and return the names."""
    from blueprint.platform import environment

    changed = []
    for path, text in (
        (workspace.root / "prefect.toml", environment.prefect_toml(settings, workspace)),
        (workspace.prefect_home / "profiles.toml", environment.PROFILES_TOML),
    ):
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
            write_whole(path, text)
            changed.append(path.name)
    return changed
