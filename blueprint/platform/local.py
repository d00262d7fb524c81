"""The platform whose services all run on this machine, made from the settings: which services exist is decided here."""

from __future__ import annotations

import base64

from blueprint.config.settings import Settings
from blueprint.core.workspace import Workspace
from blueprint.platform import specs
from blueprint.platform.base import ApiEndpoint, ManagedService, Platform, Service
from blueprint.processes.manager import ServiceManager


def local_platform(settings: Settings, workspace: Workspace, manager: ServiceManager) -> Platform:
    """Describe the platform of a workspace; nothing is started or asked."""
    server = ManagedService(specs.server(settings, workspace), manager)
    if settings.serves:  # a worker would run the served flows as well, and the other way round
        worker = ManagedService(specs.runner(settings, workspace), manager, instead_of=specs.WORKER)
    else:
        name = specs.worker_name(manager.workspace)
        worker = ManagedService(specs.worker(settings, workspace, name), manager, instead_of=specs.RUNNER)
    support: tuple[Service, ...] = ()
    if any(deployment.data_source == "bundled" for deployment in settings.each()):
        support = (ManagedService(specs.source(settings, workspace), manager),)
    authorization = None
    if settings.api_auth_string is not None:
        secret = settings.api_auth_string.get_secret_value()
        authorization = f"Basic {base64.b64encode(secret.encode()).decode()}"
    api = ApiEndpoint(settings.api_url, settings.public_api_url, authorization)
    return Platform(api, (server,), (worker,), support)
