"""Faults of an installation, each with what the user is told; `python -m tests.support.install_faults` writes the page.

`tests/e2e/test_install_faults.py`, `test_bootstrap.py` and `test_machines.py` bring them about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from blueprint.core.errors import BlueprintError, ExitCode

_PAGE = Path(__file__).parents[2] / "docs" / "install-faults.md"
_INTRODUCTION = """\
# When the installation fails

This page is generated from the tests that bring these faults about (`python -m tests.support.install_faults`).
"…" stands for what the installer said. Its whole output is in `logs/install.log`. Exit codes: 1 is a package that must
not or cannot be installed, 4 is a machine or a network that does not allow it.

| fault | message | exit code |
|---|---|---|
"""


@dataclass(frozen=True)
class Fault:
    """A fault of the package index, or of the machine; "…" in the message stands for what differs from case to case."""

    name: str
    of_index: str
    message: str
    exit_code: ExitCode

    def is_told_by(self, error: BlueprintError) -> bool:
        """Tell whether the user hears exactly this."""
        pattern = ".+".join(map(re.escape, self.message.split("…")))
        return bool(re.fullmatch(pattern, str(error))) and error.exit_code == self.exit_code


_FETCH = (
    "The packages cannot be fetched, the connection to the package index failed: …. Check the network; behind a proxy "
    "set HTTPS_PROXY, for a mirror UV_DEFAULT_INDEX or PIP_INDEX_URL. Then run the same command again."
)
_REFUSED = (
    "The package index, or a proxy on the way to it, refuses access: …. Give the index user and password in ~/.netrc "
    "or in its address (UV_DEFAULT_INDEX or PIP_INDEX_URL), a proxy in HTTPS_PROXY; see docs/installation.md. Then "
    "run the same command again."
)
_LACKS = (
    "A locked package cannot be had as a wheel for Python …: …. Check that UV_DEFAULT_INDEX or PIP_INDEX_URL names a "
    "whole package index: a mirror that lacks the package, or a network's login page, answers like this. Source "
    "packages are not built: what builds them is locked by no hash. Then run the same command again."
)
_CHANGED = (
    "The index serves a package that is not the one that was locked: …. Find out who changed it before you go on; "
    "behind a mirror, let it serve the original files."
)
FAULTS = (
    Fault("the connection ends in the middle of a wheel", "cut", _FETCH, ExitCode.ENVIRONMENT),
    Fault("a wheel stops in the middle: no byte for 30 s", "stalled", _FETCH, ExitCode.ENVIRONMENT),
    Fault("the index takes the connection and never answers", "page-stalled", _FETCH, ExitCode.ENVIRONMENT),
    Fault("the index is out of order (HTTP 503)", "503", _FETCH, ExitCode.ENVIRONMENT),
    Fault("the index wants a password (HTTP 401)", "401", _REFUSED, ExitCode.ENVIRONMENT),
    Fault("the index, or a proxy, refuses access (HTTP 403)", "403", _REFUSED, ExitCode.ENVIRONMENT),
    Fault("a login page answers instead of the index", "garbage", _LACKS, ExitCode.ENVIRONMENT),
    Fault("the index lists a wheel that it does not have", "missing", _LACKS, ExitCode.ENVIRONMENT),
    Fault("the index serves another file than the locked one", "another", _CHANGED, ExitCode.TASK_FAILED),
)
FULL_DISK = Fault(
    "the disk runs full",
    "",
    "The disk ran full while … was filled. Free some space (1.5 GB are needed), then run the same command again.",
    ExitCode.ENVIRONMENT,
)
NOT_WRITABLE = Fault(
    "the installer may not write in `.venv`",
    "",
    "The installer may not write where it must: …. Make the file or folder that it names writable for this user, for "
    "example with `chown`. Then run the same command again.",
    ExitCode.ENVIRONMENT,
)
CONFLICT = Fault(
    "a requirement of yours contradicts a locked package",
    "",
    "The extra requirement `…` cannot be had together with …, which requirements.lock keeps… Ask for a version that "
    "fits, or change requirements.lock with the command in its first lines.",
    ExitCode.TASK_FAILED,
)


def text() -> str:
    """Return the page."""
    rows = (
        f"| {each.name} | {each.message} | {each.exit_code} |\n"
        for each in (*FAULTS, FULL_DISK, NOT_WRITABLE, CONFLICT)
    )
    return _INTRODUCTION + "".join(rows)


if __name__ == "__main__":
    _PAGE.write_text(text(), encoding="utf-8")
