"""`init`: writes `[tool.blueprint]` into pyproject.toml from a flow of the user's own."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint import bootstrap
from blueprint.cli.options import Options
from blueprint.cli.remembered import remembered
from blueprint.cli.setup import set_up, take_lock
from blueprint.config import sources as configuration
from blueprint.config import toml_file
from blueprint.config.keys import OF_DEPLOYMENT
from blueprint.config.scaffold import pyproject, schema, table
from blueprint.core import venv
from blueprint.core.errors import BlueprintError, ExitCode, FlowError, UsageError
from blueprint.core.workspace import Workspace
from blueprint.execution.lock import ExecutionLock
from blueprint.tasks.context import SetupContext

if TYPE_CHECKING:
    from blueprint.config.settings import Settings
    from blueprint.prefect_adapter.flow_host import FlowHost

_MOST_REFUSED = 2
_NOT_IN_NAMES = str.maketrans(dict.fromkeys("/%&<>", "-"))


@dataclass(frozen=True)
class _Place:
    """The place of a flow: a file in a folder, with or without the function's name, or a dotted path."""

    source: str
    folder: Path
    file: Path | None
    name: str

    def entrypoint(self, name: str) -> str:
        """Return the entrypoint of the flow function `name`."""
        return f"{self.file.relative_to(self.folder).as_posix()}:{name}" if self.file else self.name


def run(options: Options, workspace: Workspace) -> int:
    """Write the table; the rest of pyproject.toml stays, and so does a table that is there, unless forced."""
    # Another flow may still be configured, and a green run after this would prove that one.
    unchanged = (
        f"pyproject.toml is unchanged: a run would prove the flow that is configured there, not {options.target}."
    )
    try:
        code = _run(options, workspace)
    except BlueprintError as error:
        refusal = UsageError if isinstance(error, FlowError) else type(error)
        raise refusal(error.what, f"{error.hint} {unchanged}".lstrip()) from error
    if code != ExitCode.PROVEN:
        print(unchanged)
    return int(code)


def _run(options: Options, workspace: Workspace) -> ExitCode:
    path = workspace.root / "pyproject.toml"
    given = {key: value for key, value in configuration.from_arguments(options.settings).items() if value is not None}
    present = toml_file.tool_table(toml_file.parse(toml_file.read(path), path), path)
    place = _find(options.target, workspace.root, given)
    if present and not options.force:
        _show_further_table(place, given, present)
        raise UsageError(
            f"{path} has a [tool.blueprint] already (it sets {', '.join(present)}).",
            "Give --force to replace it; the rest of the file is kept.",
        )
    workspace.prepare()
    shell = {key: text for key, text in os.environ.items() if key.startswith(configuration.ENVIRONMENT_PREFIX)}
    lock = take_lock(workspace, options.argv)
    try:
        if not _is_ready(options, workspace, given, lock):
            return ExitCode.TASK_FAILED
        text, settings, notes = _draft(options, workspace, place, given)
        pyproject.write(path, pyproject.with_table(toml_file.read(path), text, path))
    finally:
        lock.release()
    if configuration.load(workspace.root, {}) != settings:
        raise RuntimeError(f"{path} does not say what was written")
    print(f"Wrote [tool.blueprint] into {path}:\n")
    print("".join(f"    {line}\n" if line else "\n" for line in text.splitlines()))
    print(*notes, *_overrides(workspace, settings, shell), "Next: python run_blueprint.py --phase all", sep="\n")
    return ExitCode.PROVEN


def _show_further_table(place: _Place, given: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """Print the table that would deploy this flow beside the one that is configured."""
    if not {"entrypoint", "deployments"} & present.keys():
        return
    function = place.name.rpartition(".")[2] or "flow_function"
    wanted = {"entrypoint": place.entrypoint(place.name or function), "source": place.source, "deployment": function}
    if os.path.normpath(place.source) == os.path.normpath(str(present.get("source", "."))):
        del wanted["source"]
    wanted |= {key: value for key, value in given.items() if key in OF_DEPLOYMENT}
    print("To deploy this flow beside what is configured there, add to the file:\n\n    [[tool.blueprint.deployments]]")
    print("".join(f"    {table.key(key)} = {table.value(value)}\n" for key, value in wanted.items()))
    if "entrypoint" in present and "deployment" not in present:
        print("and give [tool.blueprint] itself a `deployment`: its name, so that it stays one of them.\n")


def _find(target: str, root: Path, given: Mapping[str, Any]) -> _Place:
    """Find the flow's file, and the folder that its code is run from."""
    source = str(given.get("source") or "")
    base = (root / source).resolve()
    path, colon, name = target.rpartition(":") if ".py:" in target else (target, "", "")
    if not path.endswith(".py"):
        if colon or ":" in target or "/" in target or "." not in target:
            raise UsageError(
                f"{target!r} does not name a flow.",
                "Name it as path/to/file.py:flow_function or package.module.flow_function.",
            )
        return _Place(source or ".", base, None, target)
    file = (Path.cwd() / path).resolve()
    if not file.is_file():
        raise UsageError(f"The file {file} does not exist.", "Name the flow as path/to/file.py:flow_function.")
    if not source:
        base = root.resolve() if file.is_relative_to(root.resolve()) else file.parent
        while base != root.resolve() and (base / "__init__.py").is_file():
            base = base.parent
        source = "." if base == root.resolve() else str(base)
    if not file.is_relative_to(base):
        raise UsageError(f"{file} is not in the source folder {base}.", "Give a `source` that the file lies in.")
    return _Place(source, base, file, name)


def _is_ready(options: Options, workspace: Workspace, given: Mapping[str, Any], lock: ExecutionLock) -> bool:
    """Return whether this process runs in a complete environment, with the given requirements; made if need be."""
    extra = given.get("requirements") or []
    if not isinstance(extra, list) or not all(isinstance(requirement, str) for requirement in extra):
        raise UsageError("requirements is not a list of texts.", """Give it as --set 'requirements=["pandas>=2"]'.""")
    lock_file = given.get("requirements_lock")
    further = workspace.root / lock_file if isinstance(lock_file, str) and lock_file else None
    if venv.problem(workspace.venv, start=True) is None:
        if not venv.inside(workspace.venv):
            bootstrap.reexec(workspace, options.argv, {"lock": str(lock.fd)})
        if bootstrap.installation_problem(workspace, extra=extra, further=further) is None:
            return True
    return set_up(SetupContext(workspace, requirements=tuple(extra), requirements_lock=further), options.argv, lock)


def _draft(
    options: Options, workspace: Workspace, place: _Place, given: Mapping[str, Any]
) -> tuple[str, Settings, list[str]]:
    """Load the flow and draft its table.

    Returns:
        The table as TOML, the settings that it is read as, and sentences that the user should read.
    """
    from blueprint.config import access
    from blueprint.config.settings import Settings as Model
    from blueprint.platform import environment
    from blueprint.prefect_adapter.flow_host import FlowHost

    anything = access.with_password(Model.model_validate({"entrypoint": "flow.py:flow"}), workspace)
    environment.apply_to_self(anything, workspace)  # a flow that asks its server at import asks no other than ours
    with contextlib.closing(FlowHost(workspace)) as flows:
        name = place.name or _only_flow(flows, place)
        first = {"entrypoint": place.entrypoint(name), "source": place.source}
        bare = Model.model_validate(first)
        try:
            flow = flows.describe(bare)
        except FlowError as error:
            if place.file and "is not a flow" in error.what:
                names = flows.flows_in(place.file, place.folder)
                raise UsageError(f"{name} in {place.file} is not a flow.", _name_one(names)) from error
            raise
        values = {**first, "deployment": flow.name.translate(_NOT_IN_NAMES).strip(), **given}
        refused = [] if "acceptance" in given else _refused_cases(flows, bare, flow.schema)
        text = table.text(options.target, values, schema.parameters(flow.schema), refused)
        read = tomllib.loads(text)["tool"]["blueprint"]
        settings = configuration.judge(read, dict.fromkeys(read, "--set"))
        problems = flows.parameter_problems(settings, settings.parameters)
    notes = [f"Flow {flow.name!r}, deployment {settings.deployment!r}."]
    notes += [f"Task 28 will see {json.dumps(dict(case.parameters))} refused: {case.reason}." for case in refused]
    notes += [f"Before you run it, correct [tool.blueprint.parameters]: {problem}." for problem in problems]
    return text, settings, notes


def _only_flow(flows: FlowHost, place: _Place) -> str:
    """Return the name of the only flow in the file."""
    names = flows.flows_in(place.file, place.folder) if place.file else []
    if len(names) != 1:
        raise UsageError(f"{place.file} has {f'{len(names)} flows' if names else 'no flow'}.", _name_one(names))
    return names[0]


def _name_one(flows: Sequence[str]) -> str:
    if not flows:
        return "Decorate the function with @flow."
    return f"Name one of its flows, as path/to/file.py:NAME: {', '.join(flows)}."


def _refused_cases(flows: FlowHost, settings: Settings, flow_schema: Mapping[str, Any]) -> list[schema.Refusal]:
    """Return cases that the server will refuse by the flow's schema, each by another bound."""
    candidates = list(schema.refusals(flow_schema))
    refused = flows.refused_parameters(settings, [case.parameters for case in candidates])
    return [case for case, is_refused in zip(candidates, refused, strict=True) if is_refused][:_MOST_REFUSED]


def _overrides(workspace: Workspace, settings: Settings, variables: Mapping[str, str]) -> list[str]:
    """Name the settings that a variable or the last command line sets, and that have precedence over the file."""
    read, sources = configuration.read(workspace.root, variables, (), remembered(workspace))
    mine = settings.model_dump(mode="json")
    other = {key: source for key, source in sources.items() if "pyproject" not in source and read[key] != mine.get(key)}
    return [f"Note: {key} is still set by the {source}, and that has precedence." for key, source in other.items()]
