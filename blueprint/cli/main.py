"""The command line's entry point and its only error boundary.

An expected error is one sentence and its exit code; anything else is a bug, kept whole in a file to report.
Standard library only at import, and little of it: this runs before anything is installed, and twice where `.venv` is.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from blueprint import __version__
from blueprint.core import venv
from blueprint.core.errors import BlueprintError, ExitCode

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# They look around and are over, in the environment if there is one: it is entered before anything else is imported.
_QUICK = {"plan", "verify", "stop"}
_WITH_OWN_ARGUMENTS = ("init", "test")


def main(argv: Sequence[str]) -> int:
    """Run one command, whose words follow the program's name, flush its output, and return the exit code."""
    _open_closed_streams()
    code = _run(argv)
    try:
        sys.stdout.flush()
    except OSError as error:
        return _unheard(error, code)
    return code


def _run(argv: Sequence[str]) -> int:
    root = Path(__file__).resolve().parents[2]
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # the door's; from here on there is this boundary
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if _QUICK.intersection(argv) and argv[0] not in _WITH_OWN_ARGUMENTS:
            venv.reexec_in_venv(root / ".venv", root / "run_blueprint.py", argv)
            venv.handed_over()
            gc.disable()  # it goes through the imported modules again and again, and finds nothing
            os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # looking for some reads every package's metadata
        from blueprint.cli.options import parse

        options = parse(argv)  # answers --help, before anything that only a command needs is imported
        from blueprint.core.workspace import Workspace

        command = importlib.import_module(f"blueprint.cli.commands.{options.command}")
        return int(command.run(options, Workspace(root)))
    except BlueprintError as error:
        _say(f"Error: {_redacted(str(error), root, argv)}")
        return int(error.exit_code)
    except KeyboardInterrupt:
        _say("Interrupted.")
        return int(ExitCode.INTERRUPTED)
    except SystemExit as error:  # argparse, after --help and --version
        return error.code if isinstance(error.code, int) else int(ExitCode.PROVEN)
    except BrokenPipeError as error:
        return _unheard(error, int(ExitCode.PROVEN))
    except Exception as error:  # noqa: BLE001  the boundary: whatever comes here is a bug
        if isinstance(error, OSError) and error.errno in _NO_ROOM:  # what a command writes itself, it refuses itself
            return _unheard(error, int(ExitCode.ENVIRONMENT))
        told = _redacted(f"{type(error).__name__}: {error}", root, argv)
        _say(f"This is a bug in Blueprint: {told}. {_keep_bug_report(root, argv)}")
        return int(ExitCode.BUG)


def _open_closed_streams() -> None:
    """Open closed standard streams: else the next opened file would become the output (`… >&-`)."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w", errors="backslashreplace")  # noqa: SIM115, PTH123


def _unheard(error: OSError, code: int) -> int:
    """Discard the rest of an output that cannot be written, and return the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # whoever read it has gone, as in `… plan | head`
        return code
    _say(f"Error: The output cannot be written: {error.strerror}. Send it elsewhere, or make room there.")
    return int(ExitCode.ENVIRONMENT)


def _say(text: str) -> None:
    from blueprint.prefect_runtime.visible import visible

    with contextlib.suppress(OSError):  # nobody reads it; the exit code says it too
        sys.stdout.flush()  # what was said before comes before, also where both go to one file
    with contextlib.suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)


def _redacted(text: str, root: Path, argv: Sequence[str]) -> str:
    """Return a text without the secrets of the settings, wherever those come from."""
    from blueprint.config import redaction, sources

    given = [word for word in argv if "=" in word and not word.startswith("-")]
    for environment, arguments in ((os.environ, given), (os.environ, ()), ({}, given)):
        with contextlib.suppress(BlueprintError):  # one of the sources may be the very thing that is refused
            redaction.REDACTOR.learn(redaction.unjudged(sources.read(root, environment, arguments)[0]))
    return str(redaction.REDACTOR(text))


def _keep_bug_report(root: Path, argv: Sequence[str]) -> str:
    import traceback

    from blueprint.config.redaction import redact_command
    from blueprint.prefect_runtime.visible import visible

    path = root / "logs" / "bug.log"
    about = f"Blueprint {__version__}\nPython {sys.version}\n{sys.platform}\narguments: {redact_command(argv)}\n\n"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            text = visible(about + _redacted(traceback.format_exc(), root, argv))
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError:
        return "Please report it."
    return f"Please report it with the file {path}."
