"""Readings of this host by psutil, as the bundled metrics API serves them.

What a host does not offer, such as disk counters in a container, is left out.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import count, islice
from typing import Any

import psutil

Value = tuple[str, float, str]  # metric, value, unit
_MIN_INTERVAL_SECONDS = 0.1  # psutil: a utilisation over less than that is meaningless
_MAX_VOLUMES = 16
_NOT_OFFERED = (OSError, AttributeError, NotImplementedError, RuntimeError, psutil.Error)
_TUPLES: tuple[tuple[str, Callable[[], Any], str], ...] = (
    ("memory", psutil.virtual_memory, "bytes"),
    ("swap", psutil.swap_memory, "bytes"),
    ("cpu.time", psutil.cpu_times, "seconds"),
    ("disk_io", psutil.disk_io_counters, "count"),
    ("network", psutil.net_io_counters, "count"),
)


class HostSampler:
    """Takes readings of this host, under ids that no other process gives. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = socket.gethostname()[:200] or "localhost"
        self._instance = secrets.token_hex(6)
        self._numbers = count(1)
        self._clock = clock
        self._utilisation_at = clock()
        psutil.cpu_percent()
        psutil.cpu_percent(percpu=True)

    def take(self, number: int) -> list[dict[str, Any]]:
        """Take readings until there are so many."""
        records: list[dict[str, Any]] = []
        while len(records) < number:
            records += islice(self.sample(), number - len(records))
        return records

    def sample(self) -> Iterator[dict[str, Any]]:
        """Yield a record of every value that the host offers now."""
        tuples = [partial(_fields, *each) for each in _TUPLES]
        groups: list[Callable[[], Iterator[Value]]] = [self._utilisation, _general, *tuples, _disks]
        for group in groups:
            try:
                values = list(group())
            except _NOT_OFFERED:
                continue
            at = datetime.now(UTC).isoformat(timespec="microseconds")
            for metric, value, unit in values:
                yield {
                    "id": f"{self._instance}-{next(self._numbers)}",
                    "observed_at": at,
                    "host": self._host,
                    "metric": metric,
                    "value": float(value),
                    "unit": unit,
                }

    def _utilisation(self) -> Iterator[Value]:
        """Yield CPU utilisation since the previous sample, unless that was too short ago."""
        now = self._clock()
        if now - self._utilisation_at < _MIN_INTERVAL_SECONDS:
            return
        self._utilisation_at = now
        yield "cpu.utilisation", psutil.cpu_percent(), "percent"
        for core, percent in enumerate(psutil.cpu_percent(percpu=True)):
            yield f"cpu.{core}.utilisation", percent, "percent"


def _general() -> Iterator[Value]:
    for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        yield f"load.{minutes}m", load, "processes"
    stats = psutil.cpu_stats()
    yield "cpu.context_switches", stats.ctx_switches, "count"
    yield "cpu.interrupts", stats.interrupts, "count"
    yield "processes.count", len(psutil.pids()), "processes"
    yield "host.boot_time", psutil.boot_time(), "seconds since 1970"
    yield "host.uptime", max(0.0, time.time() - psutil.boot_time()), "seconds"


def _disks() -> Iterator[Value]:
    volumes = dict.fromkeys([os.sep, *(partition.mountpoint for partition in psutil.disk_partitions())])
    for volume in list(volumes)[:_MAX_VOLUMES]:
        printable = "".join(character if character.isprintable() else "?" for character in volume)[:120]
        try:
            yield from _fields(f"disk.{printable}", partial(psutil.disk_usage, volume), "bytes")
        except OSError:
            continue


def _fields(prefix: str, read: Callable[[], Any], unit: str) -> Iterator[Value]:
    """Yield each field of a psutil named tuple with the unit that its name tells."""
    for name, value in read()._asdict().items():
        if name == "percent":
            unit_of_field = "percent"
        elif "bytes" in name:
            unit_of_field = "bytes"
        elif name.endswith("_time"):
            unit_of_field = "milliseconds"
        else:
            unit_of_field = unit
        yield f"{prefix}.{name}", value, unit_of_field
