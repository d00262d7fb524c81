"""Imports the user's code into this process: flows, and modules that lie beside them."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from blueprint.config.settings import Settings
from blueprint.core.task import TaskFailed

if TYPE_CHECKING:
    from prefect import Flow

_loaded: dict[tuple[str, Path], Flow[..., Any]] = {}
_folders: set[Path] = set()
_loading = threading.Lock()  # loading changes sys.path and sys.modules


def folder_of(settings: Settings, root: Path) -> Path:
    """The folder that the flow's code is run from."""
    return (root / settings.source).resolve()


def load(settings: Settings, root: Path) -> Flow[..., Any]:
    """The configured flow; loaded once, even if its file is changed later.

    Raises:
        TaskFailed: It cannot be loaded, or is not a flow.
    """
    from prefect.flows import load_flow_from_entrypoint

    entrypoint, folder = settings.entrypoint, folder_of(settings, root)
    path, _, name = entrypoint.rpartition(":")
    full = f"{folder / path}:{name}" if path else entrypoint
    with _loading:
        if (entrypoint, folder) not in _loaded:
            with _told_of(entrypoint, full, folder / path if path else None, folder):
                _loaded[entrypoint, folder] = load_flow_from_entrypoint(full, use_placeholder_flow=False)
        return _loaded[entrypoint, folder]


def loaded(settings: Settings, root: Path) -> Flow[..., Any] | None:
    """The configured flow if it has been loaded, None if not yet."""
    return _loaded.get((settings.entrypoint, folder_of(settings, root)))


def flows_in(file: Path, folder: Path) -> list[str]:
    """The names of the flow functions that a file defines, in their order.

    Raises:
        TaskFailed: It cannot be loaded.
    """
    from prefect import Flow
    from prefect.utilities.importtools import load_script_as_module

    with _loading, _told_of(str(file), str(file), file, folder):
        found = vars(load_script_as_module(str(file)))
        return [
            name
            for name, one in found.items()
            if isinstance(one, Flow) and Path(one.fn.__code__.co_filename).resolve() == file.resolve()
        ]


def import_from(folder: Path, module: str) -> ModuleType:
    """Import a module of the user's that lies beside a flow.

    Raises:
        BaseException: Whatever the module raises.
    """
    with _loading:
        _prefer(folder)
        return importlib.import_module(module)


@contextlib.contextmanager
def _told_of(entrypoint: str, full: str, file: Path | None, folder: Path) -> Iterator[None]:
    """Load user code in the block: whatever goes wrong there is one sentence."""
    from prefect.exceptions import MissingFlowError, ScriptError

    advice = "Correct the flow's file or the entrypoint in [tool.blueprint], then run again."
    if file is not None and not file.is_file():
        raise TaskFailed(f"The flow's file {file} does not exist.", hint=advice)
    _prefer(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except MissingFlowError as error:
        raise TaskFailed(f"{entrypoint} is not a flow: {error}".strip(), where_to_look=full, hint=advice) from None
    except ScriptError as error:
        raise _unloadable(entrypoint, full, error.user_exc, advice) from error
    except (Exception, SystemExit) as error:
        raise _unloadable(entrypoint, full, error, advice) from error


def _unloadable(entrypoint: str, full: str, cause: BaseException, advice: str) -> TaskFailed:
    where = f" ({Path(cause.filename or '').name}, line {cause.lineno})" if isinstance(cause, SyntaxError) else ""
    what = f"{entrypoint} cannot be loaded: {type(cause).__name__}: {cause}{'' if 'line' in str(cause) else where}"
    if isinstance(cause, ModuleNotFoundError):
        advice = (
            f"If {cause.name} is a package to install, add it to `requirements` in [tool.blueprint]; if it is your "
            "own module, set `source` there to the folder that it is imported from. Then run again."
        )
    elif isinstance(cause, ImportError) and "relative import" in str(cause):
        advice = (
            "Name the flow through its package, as package.module.flow_function, in [tool.blueprint], with `source` "
            "as the folder that the package lies in. Then run again."
        )
    return TaskFailed(what, where_to_look=full, hint=advice)


def _prefer(folder: Path) -> None:
    """Have modules come from this folder; one of the same name from another flow's folder is forgotten.

    Flows with a `helpers.py` each are programs of their own, and here they are loaded into one process.
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
