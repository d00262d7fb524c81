"""A flow that writes down all that it can find out about the process that runs it, at import and at work."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import inspect
import json
import logging
import multiprocessing
import os
import random
import resource
import select
import signal
import stat
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.context import get_settings_context
from prefect.settings import get_current_settings

_LOGGERS = (
    "",
    "prefect",
    "prefect.flow_runs",
    "prefect.task_runs",
    "prefect.engine",
    "prefect.server",
    "prefect.extra",
)


def _descriptor(number: int) -> list[object]:
    found = os.fstat(number)
    return [stat.S_IFMT(found.st_mode), os.get_inheritable(number)]


def _stream(name: str) -> list[object]:
    stream = getattr(sys, name)
    same = getattr(sys, f"__{name}__") is stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return [
        *(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.write_through),
        *(stream.seekable(), stream.isatty(), stream.fileno(), stream.newlines, same, type(stream.buffer).__name__),
        *(raw.name, raw.mode, raw.closefd, _descriptor(stream.fileno())),
    ]


def _handlers(name: str) -> list[object]:
    logger = logging.getLogger(name)
    return [
        logger.level,
        logger.propagate,
        [
            [type(handler).__name__, handler.level, getattr(handler, "stream", None) is sys.stderr]
            for handler in logger.handlers
        ],
    ]


def describe() -> dict[str, Any]:
    """Return what is to be the same in every process that Prefect starts for a run."""
    main = sys.modules["__main__"]
    multiprocessing_process = sys.modules["multiprocessing.process"]
    thread = threading.main_thread()
    return {
        "in the main thread": threading.current_thread() is thread,
        "main thread": [thread.name, thread.native_id == os.getpid(), thread.ident == threading.get_ident()],
        "threads": sorted(thread.name.partition("_")[0].partition("-")[0] for thread in threading.enumerate()),
        "signals": {
            number.name: getattr(found, "__qualname__", str(found))
            for number in signal.valid_signals()
            if isinstance(number, signal.Signals)
            for found in [signal.getsignal(number)]
        },
        "blocked signals": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "pending signals": sorted(signal.sigpending()),
        "argv": [sys.argv, sys.orig_argv, sys.executable, list(sys.warnoptions), str(sys.flags)],
        "main": [
            getattr(main, "__file__", None),
            main.__name__,
            main.__spec__ and main.__spec__.name,
            main.__package__,
        ],
        "names in main": sorted(name for name in vars(main) if not name.startswith("_")),
        "path": sys.path,
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "umask": _umask(),
        "streams": {name: _stream(name) for name in ("stdin", "stdout", "stderr")},
        "descriptors": sorted(_open_files()),
        "stdin can be read": bool(select.select([0], [], [], 0)[0]),
        "loggers": {name: _handlers(name) for name in _LOGGERS},
        "hooks": [sys.excepthook.__name__, threading.excepthook.__name__, sys.unraisablehook.__name__],
        "collector": [gc.isenabled(), gc.get_threshold()],
        "limits": [resource.getrlimit(number) for number in range(16)],
        "multiprocessing": [
            multiprocessing.get_start_method(allow_none=True),
            multiprocessing.get_all_start_methods(),
            multiprocessing.current_process().name,
            multiprocessing.parent_process(),
            multiprocessing_process.ORIGINAL_DIR,
            len(multiprocessing.active_children()),
        ],
        "event loop policy": [type(asyncio.get_event_loop_policy()).__name__, sys.getrecursionlimit()],
        "leads its session": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "temporary folder": tempfile.gettempdir(),
        "settings": get_current_settings().model_dump(mode="json"),
        "profile": get_settings_context().profile.name,
        "own packages": sorted(name for name in sys.modules if name.partition(".")[0] == "blueprint"),
        "frames": [frame.function for frame in inspect.stack() if "/site-packages/prefect/" in frame.filename],
        "time zone": [time.tzname, time.localtime().tm_gmtoff],
    }


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def _open_files() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one of the list itself
            kind = str(entry.readlink()).partition(":")[0]
            found.append(f"{entry.name if int(entry.name) < 3 else 'further'} {kind}")
    return found


def chances() -> list[object]:
    """Return what is to be another in every process."""
    authkey = multiprocessing.current_process().authkey.hex()
    return [random.random(), str(uuid.uuid4()), os.urandom(4).hex(), next(tempfile._get_candidate_names()), authkey]  # type: ignore[attr-defined]


AT_IMPORT = describe()
CHANCES = chances()
HASH = hash("seed")


def _last_word(path: Path) -> None:
    path.write_text("atexit", encoding="utf-8")


@flow
def probe(folder: str) -> None:
    """Write down what the process is like."""
    run = os.environ["PREFECT__FLOW_RUN_ID"]
    about = {
        "at import": AT_IMPORT,
        "at work": describe(),
        "chances": CHANCES,
        "ids": [os.getpid(), os.getppid()],
        "shown": dict(
            line.split("=", 1) for line in Path("/proc/self/environ").read_text().split("\0") if "FLOW_RUN_ID" in line
        ),
    }
    atexit.register(_last_word, Path(folder, f"{run}.atexit"))
    print("printed by the flow")
    print("printed to stderr", file=sys.stderr)
    Path(folder, f"{run}.json").write_text(json.dumps(about), encoding="utf-8")
