"""Checks that the configured flow is there, without running its code, before anything is started."""

from __future__ import annotations

import ast
import sys
import warnings
from importlib.machinery import PathFinder
from pathlib import Path

from blueprint.config.excerpt import excerpt
from blueprint.config.keys import KEYS
from blueprint.core.errors import UsageError


def validate_entrypoint(entrypoint: str, folder: Path, *, may_be_installed: bool = False) -> None:
    """Require that the file is Python and has something of the flow's name, or that there is such a package.

    Whether it is a flow, and can be imported, is for task 7 to prove: that takes the flow's packages and runs its code.
    A missing package `may_be_installed` where task 4 installs some for the flow.
    """
    file, colon, name = entrypoint.rpartition(":")
    if not colon:
        package = name.partition(".")[0]
        if not may_be_installed and not PathFinder.find_spec(package, [str(folder), *sys.path]):
            raise _refusal(f"there is no package {excerpt(package)} in {excerpt(folder)}, nor is one installed")
        return
    path = folder / file
    try:
        with warnings.catch_warnings(action="ignore"):  # of the flow's code; its own runs will show them
            tree = ast.parse(path.read_bytes())
    except OSError as error:
        raise _refusal(f"{excerpt(path, 200)} cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        raise _refusal(f"{excerpt(path, 200)}, line {error.lineno}: {excerpt(error.msg)}") from None
    except (ValueError, RecursionError, MemoryError):
        raise _refusal(f"{excerpt(path, 200)} is not Python") from None
    if not any(_makes(node, name) for node in ast.walk(tree)):
        raise _refusal(f"{excerpt(path, 200)} has nothing named {excerpt(name)}")


def _makes(node: ast.AST, name: str) -> bool:
    """Return whether a node may give something this name; in doubt, it does."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name == name
        case ast.alias():
            return (node.asname or node.name.partition(".")[0]) == name or node.name == "*"
        case ast.Name(ctx=ast.Store()):
            return node.id == name
        case ast.Call(func=ast.Name(id="globals" | "setattr" | "exec")):
            return True
    return False


def _refusal(reason: str) -> UsageError:
    return UsageError(f"entrypoint: {reason}.", f"Accepted for entrypoint: {KEYS['entrypoint'].accepted}.")
