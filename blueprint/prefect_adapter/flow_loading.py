"""Imports the user's code: flows, and modules that lie beside them. Only processes of their own do that.

User code may call `signal.signal`, start threads, or hang: the executor leaves it to `flow_process` and `serve`, which
load it in their main thread, as Prefect does.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from blueprint.core.errors import FlowError

if TYPE_CHECKING:
    from prefect import Flow

_folders: set[Path] = set()


@functools.cache
def load(entrypoint: str, folder: Path) -> Flow[..., Any]:
    """Load a flow from the folder that it is run from; once, even if its file is changed later.

    Raises:
        FlowError: It cannot be loaded, or is not a flow.
    """
    from prefect.flows import load_flow_from_entrypoint

    path, _, name = entrypoint.rpartition(":")
    full = f"{folder / path}:{name}" if path else entrypoint
    with _explained(entrypoint, full, folder / path if path else None, folder):
        flow: Flow[..., Any] = load_flow_from_entrypoint(full, use_placeholder_flow=False)
    return flow


def flows_in(file: Path, folder: Path) -> list[str]:
    """Return the names of the flow functions that a file defines, in their order; raises as `load` does."""
    from prefect import Flow
    from prefect.utilities.importtools import load_script_as_module

    with _explained(str(file), str(file), file, folder):
        found = vars(load_script_as_module(str(file)))
    return [
        name
        for name, value in found.items()
        if isinstance(value, Flow) and Path(value.fn.__code__.co_filename).resolve() == file.resolve()
    ]


def load_check(name: str, folder: Path) -> Callable[[str, dict[str, Any]], Any]:
    """Import the check `module:function`, which lies beside the flow; raises as `load` does."""
    module, _, function = name.partition(":")
    prefer(folder)
    try:
        found = getattr(importlib.import_module(module), function)
        if not callable(found):
            raise TypeError(f"{function} is not a function")
    except BaseException as error:  # the user's own module may raise anything at import
        raise FlowError(
            f"The check {name} cannot be loaded: {type(error).__name__}: {error}.",
            f"Name a function as module:function that can be imported from {folder}.",
            "pyproject.toml [tool.blueprint] check",
        ) from error
    return cast("Callable[[str, dict[str, Any]], Any]", found)


def prefer(folder: Path) -> None:
    """Have modules come from this folder; one of the same name from another flow's folder is forgotten.

    Flows with a `helpers.py` each are programs of their own; a process that serves several loads them one by one.
    """
    if sys.path[0] != str(folder):
        sys.path[:] = [str(folder), *(path for path in sys.path if path != str(folder))]
    others = tuple(f"{other}{os.sep}" for other in _folders - {folder})
    _folders.add(folder)
    for name, module in list(sys.modules.items()) if others else ():
        path = getattr(module, "__file__", None) or ""
        if not path.startswith(others) or "site-packages" in (file := Path(path)).parts:
            continue
        own, package = folder / f"{name.partition('.')[0]}.py", folder / name.partition(".")[0]
        if (own.is_file() and file != own) or (package.is_dir() and package not in file.parents and file != own):
            del sys.modules[name]


@contextlib.contextmanager
def _explained(entrypoint: str, full: str, file: Path | None, folder: Path) -> Iterator[None]:
    """Load user code in the block, and put whatever goes wrong there into one sentence."""
    from prefect.exceptions import MissingFlowError, ScriptError

    hint = "Correct the flow's file or the entrypoint in [tool.blueprint], then run again."
    if file is not None and not file.is_file():
        raise FlowError(f"The flow's file {file} does not exist.", hint)
    prefer(folder)
    try:
        yield
    except MissingFlowError as error:
        raise FlowError(f"{entrypoint} is not a flow: {error}".strip(), hint, full) from None
    except BaseException as error:  # as above
        cause = error.user_exc if isinstance(error, ScriptError) else error
        raise _cannot_be_loaded(entrypoint, full, cause, hint) from error


def _cannot_be_loaded(entrypoint: str, full: str, cause: BaseException, hint: str) -> FlowError:
    where = f" ({Path(cause.filename or '').name}, line {cause.lineno})" if isinstance(cause, SyntaxError) else ""
    what = f"{entrypoint} cannot be loaded: {type(cause).__name__}: {cause}{'' if 'line' in str(cause) else where}"
    stem = Path(full.rpartition(":")[0]).stem
    if isinstance(cause, ImportError) and ("relative import" in str(cause) or f"'{stem}." in str(cause)):
        hint = (
            "Relative imports need a package: name the flow as package.module.flow_function in [tool.blueprint], with "
            "`source` as the folder that the package lies in. Then run again."
        )
    elif isinstance(cause, ModuleNotFoundError):
        hint = (
            f"If {cause.name} is a package to install, add it to `requirements` in [tool.blueprint]; if it is your "
            "own module, set `source` there to the folder that it is imported from. Then run again."
        )
    return FlowError(what, hint, full)
