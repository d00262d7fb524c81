"""Task 17: the page, its API address, and the query that lists the deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.core.task import Evidence, TaskControl, TaskFailed
from blueprint.tasks.registry import Scope, task

if TYPE_CHECKING:
    from blueprint.tasks.context import Context


def read_ui(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the UI page is served and calls this server's API."""
    from blueprint.prefect_adapter import ui

    page = ui.page(ctx.settings)
    if page.api_url != ctx.platform.api.public_url:
        raise TaskFailed(
            f"The UI is told to call {page.api_url}, not {ctx.platform.api.public_url}.",
            where_to_look=f"{ctx.settings.server_url}/ui-settings",
            hint="Set public_url to the address that browsers use, or run `--resume-from 8` to restart the server.",
        )
    return Evidence(
        f"{page.url} is served and calls {page.api_url}",
        {"page": page.url, "script": page.script, "api_url": page.api_url},
    )


@task(
    17,
    "Check deployment in UI",
    phase=2,
    needs=(15,),
    timeout=30,
    scope=Scope.DEPLOYMENT,
    shared=read_ui,
    proof="the page, its API address, and the query that lists the deployment",
)
def check_listing(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the query of the UI's page lists the deployment."""
    from blueprint.prefect_adapter import ui
    from blueprint.tasks.common.proofs import RESTORE_DEPLOYMENT

    found = ctx.require_deployment()
    listed = ui.listed(ctx.settings, ctx.platform.api.authorization, found.name)
    if found.id not in listed:
        raise TaskFailed(
            f"The query of the UI's deployments page does not list {found.name}.",
            where_to_look=f"{ctx.settings.server_url}/deployments",
            hint=RESTORE_DEPLOYMENT,
        )
    return Evidence(f"lists {found.name}", {"listed": sorted(listed)})
