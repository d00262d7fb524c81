"""Run a module of this package, with output escaped, and nothing found by the folder that the package lies in.

    python blueprint/prefect_runtime/launch.py blueprint.prefect_runtime.server server start

`python -m` would put the project's folder first on `sys.path`: an `email.py` of the user's would take the place of the
standard library's in the server. Standard library only.
"""

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder: its names are not the standard library's either

import runpy
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def main() -> None:
    """Be the module that the first argument names; the further ones are its own."""
    folder = Path(__file__).resolve().parents[1]
    spec = spec_from_file_location("blueprint", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    sys.modules["blueprint"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["blueprint"])
    from blueprint.prefect_runtime.visible import escape_output

    escape_output()  # what a worker's flows print goes through it too
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
