"""Task 4: what is installed equals the lock, hashes checked, bytecode compiled; nothing is done where it does."""

from __future__ import annotations

import hashlib
import importlib
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blueprint.bootstrap import extras, installers
from blueprint.bootstrap.environment import environment_problem, how_to_get_venv
from blueprint.bootstrap.failures import Cause, no_room
from blueprint.bootstrap.installed import Difference, compare, scan
from blueprint.bootstrap.installers import InstallerFailed, requirements_file
from blueprint.bootstrap.lockfile import Pin, read_lock, select
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import write_whole
from blueprint.core.task import Evidence, TaskControl, TaskFailed
from blueprint.core.venv import site_packages
from blueprint.core.workspace import Workspace

LOCK = "requirements.lock"
_AS_GOOD_AS_FULL = 1_000_000  # bytes
# What the other installer would meet as well.
_FINAL = (Cause.NO_ROOM, Cause.HASH, Cause.CONFLICT)


@dataclass
class _Account:
    """What was done, for the evidence."""

    installer: str = ""
    fallbacks: list[str] = field(default_factory=list)


def installation_problem(
    workspace: Workspace, *, lock: str = LOCK, extra: Sequence[str] = (), files: bool = True
) -> str | None:
    """How the environment differs from the lock, None if it equals it. Starts nothing and changes nothing (0.15 s).

    Without `files` only names and versions are compared (0.01 s).

    Raises:
        EnvironmentRefused: The lock cannot be read.
        UsageError: An extra requirement cannot be read.
    """
    problem = environment_problem(workspace)
    if problem:
        return problem
    site = site_packages(workspace.venv)
    difference = compare(select(read_lock(workspace.root / lock)), site, files=files)
    if difference.packages or not extra:
        return str(difference) or None
    left = extras.unmet(extra, site)
    return "; ".join(filter(None, [str(difference), f"missing: {', '.join(left)}" if left else ""])) or None


def install(workspace: Workspace, control: TaskControl, *, lock: str = LOCK, extra: Sequence[str] = ()) -> Evidence:
    """Make the environment equal to the lock, then add the extra requirements without moving anything locked.

    Packages beyond both are left alone.

    Args:
        workspace: Its `.venv` is healthy.
        control: Of the task.
        lock: The lock file, from the root.
        extra: Requirements of the user's flow (PEP 508).

    Raises:
        TaskFailed: A package cannot be had, is not the one that was locked, or an extra one conflicts with the lock.
        EnvironmentRefused: No index can be reached, the disk is full, there is no installer, the lock is damaged.
        UsageError: An extra requirement cannot be read.
    """
    path = workspace.root / lock
    pins = read_lock(path)
    account = _Account()
    before = _compare(workspace, pins)
    if before.packages and path.name == LOCK:  # said before it is done: a kill in between must not hide it
        write_whole(workspace.install_stamp, f"{secrets.token_hex(8)}\n")
    if before:
        _repair(workspace, control, path, pins, before, account)
    added = _add(workspace, control, pins, extra, account) if extra else []
    now = _compare(workspace, pins) if before or added else before
    if now:
        raise _still_different(workspace, path, now)
    return _evidence(workspace, path, pins, now, account, _why(before, added))


def _compare(workspace: Workspace, pins: Sequence[Pin]) -> Difference:
    return compare(select(pins), site_packages(workspace.venv))


def _repair(
    workspace: Workspace,
    control: TaskControl,
    path: Path,
    pins: Sequence[Pin],
    difference: Difference,
    account: _Account,
) -> None:
    if not difference.packages:
        installers.compile_bytecode(workspace, control)
        account.installer = "compileall"
        return
    _install(workspace, control, pins, path, None, account)


def _add(
    workspace: Workspace, control: TaskControl, pins: Sequence[Pin], extra: Sequence[str], account: _Account
) -> list[str]:
    site = site_packages(workspace.venv)
    locked = select(pins)
    extras.see_no_conflict(extra, locked)
    left = extras.unmet(extra, site)
    if not left:
        return []
    with requirements_file(list(extra)) as wanted, requirements_file([str(pin) for pin in locked]) as constraints:
        try:
            _install(workspace, control, pins, wanted, constraints, account)
        except InstallerFailed as failure:
            raise extras.explained(failure, extra, locked, installers.log_file(workspace)) from failure
    remaining = extras.unmet(extra, site)
    if remaining:
        raise TaskFailed(
            f"The installer ended well, but the extra requirements are not met: {', '.join(remaining)}.",
            where_to_look=str(installers.log_file(workspace)),
        )
    return left


def _install(
    workspace: Workspace,
    control: TaskControl,
    pins: Sequence[Pin],
    requirements: Path,
    constraints: Path | None,
    account: _Account,
) -> None:
    """Install by uv, and if that fails for any reason that pip may not share, by pip.

    Raises:
        InstallerFailed: Extra requirements (with `constraints`) were refused.
        TaskFailed, EnvironmentRefused: As `install` promises.
    """
    failures: list[InstallerFailed] = []
    for name in ("uv", "pip"):
        if constraints is None:
            _clear_away(_compare(workspace, pins))
        try:
            if name == "uv":
                installer = installers.uv(workspace, control, pins)
            else:
                patient = not any(failure.cause is Cause.NETWORK for failure in failures)
                installer = installers.pip(workspace, control, patient=patient)
            control.waiting(f"installing {_how_much(pins, constraints)} with {name}")
            installer.install(requirements, constraints)
        except InstallerFailed as failure:
            failures.append(failure)
            account.fallbacks.append(f"{name} failed: {failure.line}")
            if failure.cause in _FINAL:
                break
            continue
        finally:
            importlib.invalidate_caches()
        failures.clear()
        account.installer = installer.name
        left = _compare(workspace, pins)
        if left and not left.packages:  # uv compiles what it has just installed, and only that
            installers.compile_bytecode(workspace, control)
            left = _compare(workspace, pins)
        if not left:
            return
        account.fallbacks.append(f"{name} ended well, but {left}")
    if failures:
        raise _failure(workspace, failures, constraints is not None)


def _how_much(pins: Sequence[Pin], constraints: Path | None) -> str:
    return f"{len(select(pins))} packages" if constraints is None else "the extra requirements"


def _clear_away(difference: Difference) -> None:
    """Make damaged packages count as not installed: neither installer would look at their files again."""
    for distribution in (*(each for each, _ in difference.damaged), *difference.doubled):
        shutil.rmtree(distribution.folder, ignore_errors=True)
    for distribution, _ in difference.wrong:
        if not (distribution.folder / "RECORD").is_file():  # neither could uninstall it
            shutil.rmtree(distribution.folder, ignore_errors=True)


def _failure(workspace: Workspace, failures: Sequence[InstallerFailed], of_extras: bool) -> Exception:
    """The error for the user; the causes in the order of what has to be settled first."""
    by_cause = {failure.cause: failure for failure in failures}
    log = str(installers.log_file(workspace))
    if Cause.NO_ROOM in by_cause:
        return no_room(workspace.venv)
    if Cause.NETWORK in by_cause:
        return EnvironmentRefused(
            f"The packages cannot be fetched, no package index was reached: {by_cause[Cause.NETWORK].line}",
            "Check the network; behind a proxy set HTTPS_PROXY, for a mirror PIP_INDEX_URL or UV_DEFAULT_INDEX. "
            f"Then run the same command again. The installers' words are in {log}.",
        )
    if Cause.HASH in by_cause:
        return TaskFailed(
            f"The index serves a package that is not the one that was locked: {by_cause[Cause.HASH].line}",
            where_to_look=log,
            hint="Find out who changed it before you go on; behind a mirror, let it serve the original files.",
        )
    if Cause.NO_INSTALLER in by_cause:
        return EnvironmentRefused("There is no uv, no pip and no ensurepip on this machine.", how_to_get_venv())
    if of_extras:
        return failures[-1]
    return TaskFailed(
        f"The locked packages cannot be installed: {failures[-1].line}",
        where_to_look=log,
        hint="Settle what the installer says there, then run the same command again.",
        details={"tried": [str(each) for each in failures]},
    )


def _still_different(workspace: Workspace, path: Path, difference: Difference) -> Exception:
    if shutil.disk_usage(workspace.venv).free < _AS_GOOD_AS_FULL:  # compiling bytecode says nothing of it
        return no_room(workspace.venv)
    return TaskFailed(
        f"After the install the environment still differs from {path.name}: {difference}.",
        where_to_look=str(installers.log_file(workspace)),
        hint=f"Remove {workspace.venv} and run the same command again.",
    )


def _why(before: Difference, added: Sequence[str]) -> str:
    return "; ".join(filter(None, [str(before), f"extra requirements missing: {', '.join(added)}" if added else ""]))


def _evidence(
    workspace: Workspace, path: Path, pins: Sequence[Pin], now: Difference, account: _Account, reason: str
) -> Evidence:
    started = time.monotonic()
    needed = select(pins)
    prefect = next((f", Prefect {pin.version}" for pin in needed if pin.name == "prefect"), "")
    by = f", installed by {account.installer}" if account.installer else ""
    after = f" after {account.fallbacks[0]}" if account.fallbacks else ""
    details = {
        "lock": str(path.relative_to(workspace.root)),
        "lock_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "packages": len(needed),
        "modules_with_bytecode": now.modules,
        "installer": account.installer,
        "fallbacks": account.fallbacks,
        "beyond_the_lock": list(now.beyond),
        "versions": {name: found[0].version for name, found in scan(site_packages(workspace.venv)).items()},
        "seconds_for_evidence": round(time.monotonic() - started, 3),
    }
    beyond = f", {len(now.beyond)} beyond the lock" if now.beyond else ""
    return Evidence(
        f"{len(needed)} packages as locked{prefect}, {now.modules} modules compiled{beyond}{by}{after}",
        details,
        changed=bool(reason),
        reason=reason,
    )
