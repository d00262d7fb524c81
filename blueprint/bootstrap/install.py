"""Task 4: the environment equals the lock, hashes checked, bytecode compiled; nothing is done where it does already."""

from __future__ import annotations

import hashlib
import importlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blueprint.bootstrap import advice, contents, extras, installers
from blueprint.bootstrap.failures import Cause, InstallerFailed, no_room
from blueprint.bootstrap.installed import Difference, compare, scan
from blueprint.bootstrap.installers import requirements_file
from blueprint.bootstrap.lockfile import Pin, read_lock, select, with_further
from blueprint.core.errors import BlueprintError, SetupError, UsageError
from blueprint.core.files import write_whole
from blueprint.core.task import Evidence, TaskControl
from blueprint.core.venv import problem, site_packages
from blueprint.core.workspace import Workspace

LOCK = "requirements.lock"
_AS_GOOD_AS_FULL = 1_000_000  # bytes
_FINAL = (Cause.NO_ROOM, Cause.HASH, Cause.CONFLICT)  # the other installer would meet them as well


def installation_problem(
    workspace: Workspace, *, extra: Sequence[str] = (), further: Path | None = None, files: bool = True
) -> str | None:
    """Return how the environment differs from the lock and the extra requirements, or None if it does not.

    Starts nothing and changes nothing (0.15 s; 0.01 s without `files`, by names and versions only).
    """
    reason = problem(workspace.venv)
    if reason:
        return reason
    site = site_packages(workspace.venv)
    pins = _pins(workspace.requirements, further)
    difference = compare(select(pins), site, files=files, known=contents.known(workspace.venv))
    # Without the locked packages there is nothing to read the extra requirements with.
    left = extras.unmet(extra, site) if extra and not difference.packages else []
    return "; ".join(filter(None, [str(difference), f"missing: {', '.join(left)}" if left else ""])) or None


def _pins(lock: Path, further: Path | None) -> tuple[Pin, ...]:
    pins = read_lock(lock)
    return with_further(pins, further) if further else pins


def install(
    workspace: Workspace,
    control: TaskControl,
    *,
    lock: str = LOCK,
    extra: Sequence[str] = (),
    further: Path | None = None,
) -> Evidence:
    """Make the environment equal to the lock, then add the extra requirements without moving anything locked.

    Packages beyond both are left alone.

    Args:
        workspace: Its `.venv` is healthy.
        control: Of the task.
        lock: The lock file, from the program's folder.
        extra: Requirements of the user's flows (PEP 508). No hash locks them, unless `further` does.
        further: A lock of the user's own that has all that `extra` needs; installed like `lock`.

    Raises:
        SetupError: A package cannot be had, is not the one that was locked, or an extra one conflicts with the lock.
        EnvironmentRefused: The index, the network, the disk or a permission is in the way, or the lock is damaged.
    """
    path = workspace.program / lock
    work = _Installation(workspace, control, _pins(path, further), further, contents.known(workspace.venv))
    before = work.difference()
    # Another lock, such as that of the tests, may only add packages: then the services go on.
    if before.packages and before.packages & {pin.name for pin in read_lock(workspace.requirements)}:
        write_whole(workspace.install_stamp, f"{secrets.token_hex(8)}\n")  # first: a kill cannot hide what follows
    if before.packages:
        with requirements_file([pin.text for pin in work.pins]) as wanted:
            work.install(wanted if further else path)
    elif before:
        installers.compile_bytecode(workspace, control, before.cut_off)
        work.installer = "compileall"
    added = work.add(extra) if extra else []
    now = work.difference() if before or added else before
    if now:
        raise _still_different(workspace, path, now)
    reason = "; ".join(filter(None, [str(before), f"extra requirements missing: {', '.join(added)}" if added else ""]))
    installed = scan(site_packages(workspace.venv))
    folders = {each.folder.name for found in installed.values() for each in found}
    contents.remember(workspace.venv, {name: state for name, state in work.states.items() if name in folders})
    versions = {name: found[0].version for name, found in installed.items()}
    summary, details = _findings(work, now, [] if further else list(extra))
    details |= {"lock": lock, "lock_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "versions": versions}
    return Evidence(summary, details, changed=bool(reason), reason=reason)


def _still_different(workspace: Workspace, lock: Path, difference: Difference) -> BlueprintError:
    if shutil.disk_usage(workspace.venv).free < _AS_GOOD_AS_FULL:  # compiling bytecode says nothing of it
        return no_room(workspace.venv)
    return SetupError(
        f"After the install the environment still differs from {lock.name}: {difference}.",
        f"Remove {workspace.venv} and run the same command again.",
        where_to_look=str(installers.log_file(workspace)),
    )


def _findings(work: _Installation, now: Difference, unhashed: list[str]) -> tuple[str, dict[str, Any]]:
    """Return in a sentence and in details what is installed, and who did it."""
    needed = select(work.pins)
    unowned = contents.unowned_startup_files(site_packages(work.workspace.venv))
    prefect = next((f", Prefect {pin.version}" for pin in needed if pin.name == "prefect"), "")
    beyond = f", {len(now.beyond)} beyond the lock" if now.beyond else ""
    by = f", unhashed beside them {', '.join(unhashed)}" if unhashed else ""
    by += f", installed by {work.installer}" if work.installer else ""
    note = f" ({work.notes[0]})" if work.notes else ""
    if unowned:
        note += f"; at every start of Python code runs from {', '.join(unowned)}, which no package has brought"
    details = {
        "requirements_lock": str(work.further or ""),
        "unhashed_requirements": unhashed,
        "packages": len(needed),
        "modules_with_bytecode": now.modules,
        "installer": work.installer,
        "notes": work.notes,
        "beyond_the_lock": list(now.beyond),
        "unowned_startup_files": unowned,
    }
    return f"{len(needed)} packages as locked{prefect}, {now.modules} modules compiled{beyond}{by}{note}", details


@dataclass
class _Installation:
    """An installation at work.

    Attributes:
        pins: All packages of the locks, also those of other machines.
        further: The lock of the user's own, if there is one.
        states: The states of the packages whose contents were found right, now or before.
        installer: The installer that did the work.
        notes: The reasons why it was not uv at the first attempt, as parts of a sentence.
    """

    workspace: Workspace
    control: TaskControl
    pins: Sequence[Pin]
    further: Path | None
    states: dict[str, str]
    installer: str = ""
    notes: list[str] = field(default_factory=list)

    def difference(self) -> Difference:
        found = compare(select(self.pins), site_packages(self.workspace.venv), known=self.states)
        self.states.update(found.states)
        return found

    def add(self, extra: Sequence[str]) -> list[str]:
        """Install the extra requirements that are not met, and return them."""
        site, locked = site_packages(self.workspace.venv), select(self.pins)
        extras.require_no_conflict(extra, locked)
        left = extras.unmet(extra, site)
        if not left:
            return []
        if self.further:
            raise UsageError(
                f"{self.further} does not lock what these need: {', '.join(left)}.",
                "Renew it with the command in its first lines, or take requirements_lock out to install them unhashed.",
            )
        with requirements_file(extra) as wanted, requirements_file([str(pin) for pin in locked]) as constraints:
            self.install(wanted, constraints, extra)
        remaining = extras.unmet(extra, site)
        if remaining:
            raise SetupError(
                f"{self.installer} reported success, but the extra requirements are not met: {', '.join(remaining)}.",
                extras.SAME_COMMAND,
                where_to_look=str(installers.log_file(self.workspace)),
            )
        return left

    def install(self, requirements: Path, constraints: Path | None = None, extra: Sequence[str] = ()) -> None:
        """Install by uv, and if that fails for a reason that pip may not share, by pip.

        Where the user has told only pip how to get packages, pip alone does the work.
        """
        workspace, control = self.workspace, self.control
        failures: list[InstallerFailed] = []
        pip_only = installers.reasons_for_pip(workspace, control, hashed=not extra)
        if pip_only:
            self.notes.append(f"uv was not used: only pip is told of {', '.join(pip_only)}")
        what = "the extra requirements" if extra else f"{len(select(self.pins))} packages"
        for name in ("pip",) if pip_only else ("uv", "pip"):
            if extra and failures and not installers.pip_asks_no_other(workspace, control):
                self.notes.append("pip was not tried: only uv is told where packages come from")
                break
            control.waiting(f"installing {what} with {name}")
            for folder in () if extra else self.difference().broken:
                shutil.rmtree(folder, ignore_errors=True)
            try:
                if name == "uv":
                    self.installer = installers.install_with_uv(
                        workspace, control, self.pins, requirements, constraints
                    )
                else:
                    hurried = any(failure.cause is Cause.NETWORK for failure in failures)
                    self.installer = installers.install_with_pip(
                        workspace, control, requirements, constraints, patient=not hurried
                    )
            except InstallerFailed as failure:
                failures.append(failure)
                self.notes.append(f"{name} failed: {failure.line}")
                if failure.cause in _FINAL:
                    break
                continue
            finally:
                importlib.invalidate_caches()
            failures.clear()
            left = self.difference()
            if left and not left.packages:  # uv compiles what it has just installed, and only that
                installers.compile_bytecode(workspace, control, left.cut_off)
                left = self.difference()
            if not left:
                return
            self.notes.append(f"{name} reported success, but {left}")
        if failures:
            raise advice.error(workspace, failures, extra, select(self.pins), self.notes)
