"""Ctrl-C and SIGTERM: the execution completes its record and ends. Standard library only."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from types import FrameType

from blueprint.core.errors import ExitCode

# Tasks' threads may be importing or computing; the main thread writes the end, and after each write waits for its turn.
_SWITCH_SECONDS = 0.0002
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Interruption:
    """State of an interruption by a signal; a second signal ends the process at once."""

    stop: threading.Event = field(default_factory=threading.Event)
    signal: int = 0  # none has come

    def install(self) -> None:
        """Handle the signals, also a SIGINT that is ignored.

        A shell starts background commands (`&`) with SIGINT ignored, and all services would inherit that.
        """
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def pass_on(self) -> None:
        """Block the signals before `os.execv`: those that came and were not acted upon stay pending."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self.signal:
            signal.raise_signal(self.signal)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.stop.is_set():
            os._exit(128 + number)
        self.signal = number
        self.stop.set()
        sys.setswitchinterval(_SWITCH_SECONDS)

    @property
    def exit_code(self) -> int:
        """The exit code of an execution that was ended by the signal."""
        return int(ExitCode.TERMINATED if self.signal == signal.SIGTERM else ExitCode.INTERRUPTED)
