"""The error for the user when no installer could do its work: its cause, and how to settle it."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence

from blueprint.bootstrap import extras
from blueprint.bootstrap.environment import how_to_get_venv
from blueprint.bootstrap.failures import Cause, InstallerFailed, no_room
from blueprint.bootstrap.installers import log_file
from blueprint.bootstrap.lockfile import Pin
from blueprint.core.errors import BlueprintError, EnvironmentRefused, SetupError
from blueprint.core.venv import dotted
from blueprint.core.workspace import Workspace

_MACHINE = f"Python {dotted(sys.version_info[:2])} on {sysconfig.get_platform()}"
_NO_WHEEL = (  # pip does not tell a package that is not there from one that is there as a source
    f"A locked package cannot be had as a wheel for {_MACHINE}",
    "Check that UV_DEFAULT_INDEX or PIP_INDEX_URL names a whole package index: a mirror that lacks the package, or a "
    "network's login page, answers like this. Source packages are not built: what builds them is locked by no hash.",
)
_REFUSED = {
    Cause.CREDENTIALS: (
        "The package index, or a proxy on the way to it, refuses access",
        "Give the index user and password in ~/.netrc or in its address (UV_DEFAULT_INDEX or PIP_INDEX_URL), a proxy "
        "in HTTPS_PROXY; see docs/installation.md.",
    ),
    Cause.NETWORK: (
        "The packages cannot be fetched, the connection to the package index failed",
        "Check the network; behind a proxy set HTTPS_PROXY, for a mirror UV_DEFAULT_INDEX or PIP_INDEX_URL.",
    ),
    Cause.NO_WHEEL: _NO_WHEEL,
    Cause.UNKNOWN_PACKAGE: _NO_WHEEL,
    Cause.PERMISSION: (
        "The installer may not write where it must",
        "Make the file or folder that it names writable for this user, for example with `chown`.",
    ),
}
_VAGUE = (Cause.OTHER, Cause.NO_INSTALLER)


def error(
    workspace: Workspace,
    failures: Sequence[InstallerFailed],
    extra: Sequence[str],
    pins: Sequence[Pin],
    tried: list[str],
) -> BlueprintError:
    """Return the error for the user.

    Args:
        workspace: Its log has the installers' whole output.
        failures: Of each installer in turn; not empty.
        extra: The extra requirements, if they were to be installed.
        pins: The locked packages.
        tried: What happened, for the record.
    """
    log = str(log_file(workspace))
    by_cause = {failure.cause: failure for failure in reversed(failures)}
    if Cause.NO_ROOM in by_cause:
        return no_room(workspace.venv)
    if Cause.HASH in by_cause:
        return SetupError(
            f"The index serves a package that is not the one that was locked: {by_cause[Cause.HASH].line}.",
            "Find out who changed it before you go on; behind a mirror, let it serve the original files.",
            where_to_look=log,
        )
    # The first one is the one that is told where packages come from; the next may not know it.
    told = next((failure for failure in failures if failure.cause not in _VAGUE), failures[-1])
    if told.cause in _REFUSED and not (extra and told.cause in (Cause.UNKNOWN_PACKAGE, Cause.NO_WHEEL)):
        what, hint = _REFUSED[told.cause]
        return EnvironmentRefused(
            f"{what}: {told.line.rstrip('.')}.",
            f"{hint} Then run the same command again.",
            log,
            details={"tried": list(tried)},
        )
    if told.cause is Cause.NO_INSTALLER:
        return EnvironmentRefused("There is no uv, no pip and no ensurepip on this machine.", how_to_get_venv())
    if extra:
        return extras.explained(told, extra, pins, log)
    return SetupError(
        f"The locked packages cannot be installed: {told.line}",
        extras.SAME_COMMAND,
        where_to_look=log,
        details={"tried": list(tried)},
    )
