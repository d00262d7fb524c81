"""`init`: writes `[tool.blueprint]` into pyproject.toml from a flow of the user's own."""

from __future__ import annotations

import json
import os
import tempfile
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
from blueprint.core.errors import ExitCode, FlowError, UsageError
from blueprint.core.workspace import Workspace
from blueprint.execution.lock import ExecutionLock
from blueprint.tasks.setup_context import SetupContext

if TYPE_CHECKING:
    from blueprint.config.settings import Settings
    from blueprint.prefect_adapter.flow_definition import FlowDefinition
    from blueprint.prefect_adapter.flow_host import FlowHost

_MOST_REFUSED = 2
_NOT_IN_NAMES = str.maketrans(dict.fromkeys("/%&<>", "-"))


@dataclass(frozen=True)
class _Place:
    """Where the flow is: a file in a folder, with or without the function's name, or a dotted path."""

    source: str
    folder: Path
    file: Path | None
    name: str

    def entrypoint(self, name: str) -> str:
        return f"{self.file.relative_to(self.folder).as_posix()}:{name}" if self.file else self.name


def run(options: Options, workspace: Workspace) -> int:
    """Write the table; nothing but the table in pyproject.toml is changed, and it only when it is not there or forced.

    Raises:
        UsageError: The flow cannot be found or loaded, or there is a table already.
    """
    handed = bootstrap.handover() or {}
    path = workspace.root / "pyproject.toml"
    given = {key: one for key, one in configuration.from_arguments(options.settings).items() if one is not None}
    old = toml_file.read(path)
    there = toml_file.tool_table(toml_file.parse(old, path), path)
    if there and not options.force:
        _show_a_further_one(options.target, workspace.root, given, there)
        raise UsageError(
            f"{path} has a [tool.blueprint] already (it sets {', '.join(there)}).",
            "Give --force to replace it; the rest of the file is kept.",
        )
    _place(options.target, workspace.root, given)
    workspace.prepare()
    lock = take_lock(workspace, options.argv, handed)
    try:
        return _write(options, workspace, given, lock)
    finally:
        lock.release()


def _write(options: Options, workspace: Workspace, given: Mapping[str, Any], lock: ExecutionLock) -> int:
    path = workspace.root / "pyproject.toml"
    old = toml_file.read(path)
    place = _place(options.target, workspace.root, given)
    if not _ready(options, workspace, given, lock):
        return int(ExitCode.TASK_FAILED)
    try:
        settings, text, notes = _made(options, workspace, place, given)
    except FlowError as error:
        raise UsageError(error.what, error.hint) from error
    notes += _overridden(workspace, settings)
    pyproject.write(path, pyproject.with_table(old, text, path))
    if configuration.load(workspace.root, {}) != settings:
        raise RuntimeError(f"{path} does not say what was written")
    print(f"Wrote [tool.blueprint] into {path}:\n")
    print("".join(f"    {line}\n" if line else "\n" for line in text.splitlines()))
    for note in notes:
        print(note)
    print("Next: python run_blueprint.py --phase all")
    return int(ExitCode.PROVEN)


def _show_a_further_one(target: str, root: Path, given: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """What to write in order to have this flow deployed beside the one that is configured."""
    place = _place(target, root, given)
    if not {"entrypoint", "deployments"} & there.keys():
        return
    function = place.name.rpartition(".")[2] or "flow_function"
    wanted = {"entrypoint": place.entrypoint(place.name or function), "source": place.source, "deployment": function}
    if os.path.normpath(place.source) == os.path.normpath(str(there.get("source", "."))):
        del wanted["source"]
    wanted |= {key: one for key, one in given.items() if key in OF_DEPLOYMENT}
    print("To deploy this flow beside what is configured there, add to the file:\n\n    [[tool.blueprint.deployments]]")
    print("".join(f"    {table.key(key)} = {table.value(one)}\n" for key, one in wanted.items()))
    if "entrypoint" in there and "deployment" not in there:
        print("and give [tool.blueprint] itself a `deployment`: its name, so that it stays one of them.\n")


def _place(target: str, root: Path, given: Mapping[str, Any]) -> _Place:
    """Find the flow's file, and the folder that its code is run from.

    Raises:
        UsageError: There is no such file.
    """
    source = str(given.get("source") or "")
    base = (root / source).resolve()
    path, colon, name = target.rpartition(":") if ".py:" in target else (target, "", "")
    if not path.endswith(".py"):
        if colon or ":" in target or "/" in target or "." not in target:
            raise UsageError(
                f"{target!r} is no flow.", "Name it as path/to/file.py:flow_function or package.module.flow_function."
            )
        return _Place(source or ".", base, None, target)
    file = (Path.cwd() / path).resolve()
    if not file.is_file():
        raise UsageError(f"The file {file} does not exist.", "Name the flow as path/to/file.py:flow_function.")
    if not source:
        base = root.resolve() if file.is_relative_to(root.resolve()) else _above_packages(file)
        source = "." if base == root.resolve() else str(base)
    if not file.is_relative_to(base):
        raise UsageError(f"{file} is not in the source folder {base}.", "Give a `source` that the file lies in.")
    return _Place(source, base, file, name)


def _above_packages(file: Path) -> Path:
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _ready(options: Options, workspace: Workspace, given: Mapping[str, Any], lock: ExecutionLock) -> bool:
    """Whether this process runs in a complete environment, the given requirements included; made if it must be."""
    extra = given.get("requirements") or []
    if not isinstance(extra, list) or not all(isinstance(one, str) for one in extra):
        raise UsageError("requirements is no list of texts.", """Give it as --set 'requirements=["pandas>=2"]'.""")
    if bootstrap.environment_problem(workspace) is None:
        if not bootstrap.inside(workspace):
            bootstrap.reexec(workspace, options.argv, {"lock": str(lock.fd)})
        if bootstrap.installation_problem(workspace, extra=extra) is None:
            return True
    return set_up(SetupContext(workspace, requirements=tuple(extra)), options.argv, lock)


def _made(
    options: Options, workspace: Workspace, place: _Place, given: Mapping[str, Any]
) -> tuple[Settings, str, list[str]]:
    """The table for the flow, as its text and as the settings that it is read as, and what the user should know.

    Raises:
        UsageError: No flow is named and the file has not exactly one, or a given setting is not accepted.
        FlowError: The flow cannot be loaded.
    """
    from blueprint.config.settings import Settings as Model
    from blueprint.platform import environment

    anything = Model.model_validate({"entrypoint": "flow.py:flow"})
    environment.apply_to_self(anything, workspace)  # a flow that asks its server at import asks no other than ours

    from blueprint.prefect_adapter.flow_host import FlowHost

    flows = FlowHost(workspace)
    try:
        return _table_of(flows, options, place, given)
    finally:
        flows.close()


def _table_of(
    flows: FlowHost, options: Options, place: _Place, given: Mapping[str, Any]
) -> tuple[Settings, str, list[str]]:
    from blueprint.config.settings import Settings as Model

    name = place.name or _only_flow(flows, place)
    first = {"entrypoint": place.entrypoint(name), "source": place.source}
    try:
        flow = flows.describe(Model.model_validate(first))
    except FlowError as error:
        if place.file and "is not a flow" in error.what:
            names = flows.flows_in(place.file, place.folder)
            raise UsageError(f"{name} in {place.file} is not a flow.", _name_one(names)) from error
        raise
    values = {**first, "deployment": flow.name.translate(_NOT_IN_NAMES).strip(), **given}
    known = schema.parameters(flow.schema)
    refused = [] if "acceptance" in given else _refused(flows, Model.model_validate(first), flow)
    text = table.text(options.target, values, known, refused)
    settings = _as_read(text)
    notes = [f"Flow {flow.name!r}, deployment {settings.deployment!r}."]
    notes += [f"Task 28 will see {json.dumps(dict(one.parameters))} refused: {one.reason}." for one in refused]
    problems = flows.parameter_problems(settings, settings.parameters)
    notes += [f"Before you run it, correct [tool.blueprint.parameters]: {problem}." for problem in problems]
    return settings, text, notes


def _only_flow(flows: FlowHost, place: _Place) -> str:
    names = flows.flows_in(place.file, place.folder) if place.file else []
    if len(names) == 1:
        return names[0]
    has = "no flow" if not names else f"{len(names)} flows"
    raise UsageError(f"{place.file} has {has}.", _name_one(names))


def _name_one(flows: Sequence[str]) -> str:
    if not flows:
        return "Decorate the function with @flow."
    return f"Name one of its flows, as path/to/file.py:NAME: {', '.join(flows)}."


def _refused(flows: FlowHost, settings: Settings, flow: FlowDefinition) -> list[schema.Refusal]:
    """Cases that the server will refuse by the flow's schema, each by another bound; checked as the server checks."""
    candidates = list(schema.refusals(flow.schema))
    refused = flows.refused_parameters(settings, [case.parameters for case in candidates])
    return [case for case, is_refused in zip(candidates, refused, strict=True) if is_refused][:_MOST_REFUSED]


def _as_read(text: str) -> Settings:
    """What the table is read as, seen before it is put where it counts."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").write_text(text, encoding="utf-8")
        try:
            return configuration.load(Path(folder), {})
        except UsageError as error:
            raise UsageError(error.what.replace("pyproject.toml [tool.blueprint]", "--set"), error.hint) from None


def _overridden(workspace: Workspace, settings: Settings) -> list[str]:
    """What else is set, by a variable or by the last command line, and has precedence over the file."""
    variables = {key: one for key, one in os.environ.items() if key.startswith(configuration.ENVIRONMENT_PREFIX)}
    read, sources = configuration.read(workspace.root, variables, (), remembered(workspace))
    mine = settings.model_dump(mode="json")
    other = {key: source for key, source in sources.items() if "pyproject" not in source and read[key] != mine.get(key)}
    return [f"Note: {key} is still set by the {source}, and that has precedence." for key, source in other.items()]
