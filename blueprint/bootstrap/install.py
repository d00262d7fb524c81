"""Task 4: the environment equals the lock, hashes checked, bytecode compiled; nothing is done where it does already."""

from __future__ import annotations

import hashlib
import importlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blueprint.bootstrap import extras, installers
from blueprint.bootstrap.environment import environment_problem, how_to_get_venv
from blueprint.bootstrap.failures import Cause, no_room
from blueprint.bootstrap.installed import Difference, compare, scan
from blueprint.bootstrap.installers import InstallerFailed, requirements_file
from blueprint.bootstrap.lockfile import Pin, read_lock, select
from blueprint.core.errors import EnvironmentRefused, SetupError
from blueprint.core.files import write_whole
from blueprint.core.task import Evidence, TaskControl
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace

LOCK = "requirements.lock"
_AS_GOOD_AS_FULL = 1_000_000  # bytes
_FINAL = (Cause.NO_ROOM, Cause.HASH, Cause.CONFLICT)  # the other installer would meet them as well
_SAME_COMMAND = "Correct what the installer reports there, then run the same command again."


def installation_problem(
    workspace: Workspace, *, lock: str = LOCK, extra: Sequence[str] = (), files: bool = True
) -> str | None:
    """Return how the environment differs from the lock, or None if it equals it.

    Starts nothing and changes nothing (0.15 s).

    Args:
        workspace: Its `.venv` may be missing.
        lock: The lock file, from the program's folder.
        extra: Further requirements.
        files: Whether to look at each file; without, only names and versions are compared (0.01 s).

    Raises:
        EnvironmentRefused: The lock cannot be read.
        UsageError: An extra requirement cannot be read.
    """
    problem = environment_problem(workspace)
    if problem:
        return problem
    site = site_packages(workspace.venv)
    difference = compare(select(read_lock(workspace.program / lock)), site, files=files)
    # Without the locked packages there is nothing to read the extra requirements with.
    left = extras.unmet(extra, site) if extra and not difference.packages else []
    return "; ".join(filter(None, [str(difference), f"missing: {', '.join(left)}" if left else ""])) or None


def install(workspace: Workspace, control: TaskControl, *, lock: str = LOCK, extra: Sequence[str] = ()) -> Evidence:
    """Make the environment equal to the lock, then add the extra requirements without moving anything locked.

    Packages beyond both are left alone.

    Args:
        workspace: Its `.venv` is healthy.
        control: Of the task.
        lock: The lock file, from the program's folder.
        extra: Requirements of the user's flows (PEP 508).

    Raises:
        SetupError: A package cannot be had, is not the one that was locked, or an extra one conflicts with the lock.
        EnvironmentRefused: No index can be reached, the disk is full, there is no installer, the lock is damaged.
        UsageError: An extra requirement cannot be read.
    """
    path = workspace.program / lock
    work = _Installation(workspace, control, read_lock(path))
    before = work.compare()
    work.renew_stamp(before)
    if before.packages:
        work.install(path, None)
    elif before:
        installers.compile_bytecode(workspace, control)
        work.installer = "compileall"
    added = work.add(extra) if extra else []
    now = work.compare() if before or added else before
    if now:
        raise work.still_different(path.name, now)
    reason = "; ".join(filter(None, [str(before), f"extra requirements missing: {', '.join(added)}" if added else ""]))
    return work.evidence(path, now, reason)


@dataclass
class _Installation:
    """An installation at work, and what the evidence tells of it.

    Attributes:
        workspace: Its `.venv` is healthy.
        control: Of the task.
        pins: All packages of the lock, also those of other machines.
        installer: The installer that did the work.
        notes: The reasons why it was not uv at the first attempt, as parts of a sentence.
    """

    workspace: Workspace
    control: TaskControl
    pins: Sequence[Pin]
    installer: str = ""
    notes: list[str] = field(default_factory=list)

    def compare(self) -> Difference:
        return compare(select(self.pins), site_packages(self.workspace.venv))

    def renew_stamp(self, before: Difference) -> None:
        """Change the stamp if packages that the services run on will be replaced.

        Done before the work, so that a kill in the middle cannot hide it. Another lock, such as that of the tests,
        may only add packages: the services then go on.
        """
        if before.packages and before.packages & {pin.name for pin in read_lock(self.workspace.requirements)}:
            write_whole(self.workspace.install_stamp, f"{secrets.token_hex(8)}\n")

    def add(self, extra: Sequence[str]) -> list[str]:
        """Install the extra requirements that are not met, and return them."""
        site, log = site_packages(self.workspace.venv), installers.log_file(self.workspace)
        locked = select(self.pins)
        extras.require_no_conflict(extra, locked)
        left = extras.unmet(extra, site)
        if not left:
            return []
        with requirements_file(list(extra)) as wanted, requirements_file([str(pin) for pin in locked]) as constraints:
            try:
                self.install(wanted, constraints)
            except InstallerFailed as failure:
                raise extras.explained(failure, extra, locked, log) from failure
        remaining = extras.unmet(extra, site)
        if remaining:
            raise SetupError(
                f"{self.installer} reported success, but the extra requirements are not met: {', '.join(remaining)}.",
                _SAME_COMMAND,
                where_to_look=str(log),
            )
        return left

    def install(self, requirements: Path, constraints: Path | None) -> None:
        """Install by uv, and if that fails for a reason that pip may not share, by pip.

        Where the user has told only pip how to get packages, pip alone does the work.

        Raises:
            InstallerFailed: Extra requirements (with `constraints`) were refused.
            SetupError, EnvironmentRefused: As `install` promises.
        """
        failures: list[InstallerFailed] = []
        pip_only = installers.reasons_for_pip(self.workspace, self.control, hashed=constraints is None)
        if pip_only:
            self.notes.append(f"uv was not used: only pip is told of {', '.join(pip_only)}")
        for name in ("pip",) if pip_only else ("uv", "pip"):
            try:
                self.installer = self._attempt(name, requirements, constraints, failures)
            except InstallerFailed as failure:
                failures.append(failure)
                self.notes.append(f"{name} failed: {failure.line}")
                if failure.cause in _FINAL:
                    break
                continue
            failures.clear()
            left = self.compare()
            if left and not left.packages:  # uv compiles what it has just installed, and only that
                installers.compile_bytecode(self.workspace, self.control)
                left = self.compare()
            if not left:
                return
            self.notes.append(f"{name} reported success, but {left}")
        if failures:
            raise self._failure(failures, constraints is not None)

    def _attempt(
        self, name: str, requirements: Path, constraints: Path | None, failures: Sequence[InstallerFailed]
    ) -> str:
        what = "the extra requirements" if constraints else f"{len(select(self.pins))} packages"
        self.control.waiting(f"installing {what} with {name}")
        if constraints is None:
            self.compare().clear_away()
        try:
            if name == "uv":
                return installers.install_with_uv(self.workspace, self.control, self.pins, requirements, constraints)
            patient = not any(failure.cause is Cause.NETWORK for failure in failures)
            return installers.install_with_pip(self.workspace, self.control, requirements, constraints, patient=patient)
        finally:
            importlib.invalidate_caches()

    def _failure(self, failures: Sequence[InstallerFailed], of_extras: bool) -> Exception:
        """Return the error for the user; the first cause in this order is the first to be settled."""
        lines = {failure.cause: failure.line for failure in failures}
        log = str(installers.log_file(self.workspace))
        if Cause.NO_ROOM in lines:
            return no_room(self.workspace.venv)
        if Cause.NETWORK in lines:
            return EnvironmentRefused(
                f"The packages cannot be fetched, no package index was reached: {lines[Cause.NETWORK]}",
                "Check the network; behind a proxy set HTTPS_PROXY, for a mirror UV_DEFAULT_INDEX or PIP_INDEX_URL. "
                f"Then run the same command again. The installers' output is in {log}.",
            )
        if Cause.HASH in lines:
            return SetupError(
                f"The index serves a package that is not the one that was locked: {lines[Cause.HASH]}",
                "Find out who changed it before you go on; behind a mirror, let it serve the original files.",
                where_to_look=log,
            )
        if Cause.NO_INSTALLER in lines:
            return EnvironmentRefused("There is no uv, no pip and no ensurepip on this machine.", how_to_get_venv())
        if of_extras:
            return failures[-1]
        return SetupError(
            f"The locked packages cannot be installed: {failures[-1].line}",
            _SAME_COMMAND,
            where_to_look=log,
            details={"tried": [str(failure) for failure in failures]},
        )

    def still_different(self, lock: str, difference: Difference) -> Exception:
        """Return the error for an environment that no installer could bring into order."""
        if shutil.disk_usage(self.workspace.venv).free < _AS_GOOD_AS_FULL:  # compiling bytecode says nothing of it
            return no_room(self.workspace.venv)
        return SetupError(
            f"After the install the environment still differs from {lock}: {difference}.",
            f"Remove {self.workspace.venv} and run the same command again.",
            where_to_look=str(installers.log_file(self.workspace)),
        )

    def evidence(self, lock: Path, now: Difference, reason: str) -> Evidence:
        needed = select(self.pins)
        prefect = next((f", Prefect {pin.version}" for pin in needed if pin.name == "prefect"), "")
        beyond = f", {len(now.beyond)} beyond the lock" if now.beyond else ""
        by = f", installed by {self.installer}" if self.installer else ""
        note = f" ({self.notes[0]})" if self.notes else ""
        installed = scan(site_packages(self.workspace.venv))
        return Evidence(
            f"{len(needed)} packages as locked{prefect}, {now.modules} modules compiled{beyond}{by}{note}",
            {
                "lock": str(lock.relative_to(self.workspace.program)),
                "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest(),
                "packages": len(needed),
                "modules_with_bytecode": now.modules,
                "installer": self.installer,
                "notes": self.notes,
                "beyond_the_lock": list(now.beyond),
                "versions": {name: found[0].version for name, found in installed.items()},
            },
            changed=bool(reason),
            reason=reason,
        )
