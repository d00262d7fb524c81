"""Task 17: the page, its API address, and the query that lists the deployment."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task


def read_ui(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the UI page is served and calls this server's API."""
    from blueprint.platform.ui import require_page
    from blueprint.tasks.common.proofs import failing

    where = f"{ctx.settings.server_url}/ and logs/server.log"
    hint = "Set public_url to the address that browsers use, or run `--resume-from 8` to restart the server."
    with failing("A browser would not find the UI", where_to_look=where, hint=hint):
        page = require_page(ctx.platform.api)
    details = {"page": page.url, "script": page.script, "api_url": page.api_url}
    return Evidence(f"{page.url} is served and calls {page.api_url}", details)


@task(
    17,
    "Check deployment in UI",
    needs=(15,),
    timeout=30,
    scope=Scope.DEPLOYMENT,
    shared=read_ui,
    proof="the page, its API address, and the query that lists the deployment",
)
def check_listing(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the query of the UI's page lists the deployment."""
    from blueprint.platform.ui import listed
    from blueprint.tasks.common.proofs import RESTORE_DEPLOYMENT, failing

    found = ctx.require_deployment()
    with failing("The query of the UI's deployments page cannot be made", where_to_look="logs/server.log"):
        ids = listed(ctx.platform.api, found.name)
    if found.id not in ids:
        raise TaskFailed(
            f"The query of the UI's deployments page does not list {found.name}.",
            where_to_look=f"{ctx.settings.server_url}/deployments",
            hint=RESTORE_DEPLOYMENT,
        )
    return Evidence(f"lists {found.name}", {"listed": sorted(ids)})
