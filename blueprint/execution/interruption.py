"""Ctrl-C and SIGTERM: the execution ends its record and gives the prompt back. Standard library only."""

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
    """Set by a signal. A second signal ends the process at once.

    Attributes:
        stop: What the execution watches.
        signal: The signal that came, 0 if none has.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    signal: int = 0

    def install(self) -> None:
        """Take the signals, also an ignored SIGINT: what a shell starts with `&` would hand that on to all services."""
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def pass_on(self) -> None:
        """Before `os.execv`: whatever comes from now on waits, and so does what has come and nobody has acted upon."""
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
