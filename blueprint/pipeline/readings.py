"""Readings of this host by psutil, as the bundled metrics API serves them.

What a host does not offer (temperatures in a virtual machine, disk counters in a container) is left out.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psutil

Value = tuple[str, float, str]  # metric, value, unit
_MIN_INTERVAL_SECONDS = 0.1  # psutil: a utilisation over less than that is meaningless
_MAX_VOLUMES = 16
_NOT_OFFERED = (OSError, AttributeError, NotImplementedError, RuntimeError, psutil.Error)


class HostReading(NamedTuple):
    """One value that was read on this host."""

    observed_at: datetime
    metric: str
    value: float
    unit: str


class HostSampler:
    """Takes samples of this host. Not thread-safe: psutil works utilisation out from call to call.

    Attributes:
        host: This machine's name.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.host = socket.gethostname()[:200] or "localhost"
        self._clock = clock
        self._utilisation_at = clock()
        psutil.cpu_percent()
        psutil.cpu_percent(percpu=True)

    def sample(self) -> Iterator[HostReading]:
        """Yield every value that the host offers now, the general ones first."""
        groups = (
            *(self._utilisation, _load, _memory, _swap, _cpu_times, _processes, _disks, _disk_io, _network),
            *(_cores, _interfaces, _temperatures),
        )
        for group in groups:
            try:
                values = list(group())
            except _NOT_OFFERED:
                continue
            at = datetime.now(UTC)
            for metric, value, unit in values:
                yield HostReading(at, metric, float(value), unit)

    def _utilisation(self) -> Iterator[Value]:
        """Yield CPU utilisation since the previous sample, unless that was too short ago."""
        now = self._clock()
        if now - self._utilisation_at < _MIN_INTERVAL_SECONDS:
            return
        self._utilisation_at = now
        yield "cpu.utilisation", psutil.cpu_percent(), "percent"
        for core, percent in enumerate(psutil.cpu_percent(percpu=True)):
            yield f"cpu.{core}.utilisation", percent, "percent"


def _load() -> Iterator[Value]:
    for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        yield f"load.{minutes}m", load, "processes"


def _memory() -> Iterator[Value]:
    yield from _fields("memory", psutil.virtual_memory(), "bytes")


def _swap() -> Iterator[Value]:
    yield from _fields("swap", psutil.swap_memory(), "bytes")


def _cpu_times() -> Iterator[Value]:
    yield from _fields("cpu.time", psutil.cpu_times(), "seconds")
    stats = psutil.cpu_stats()
    yield "cpu.context_switches", stats.ctx_switches, "count"
    yield "cpu.interrupts", stats.interrupts, "count"


def _processes() -> Iterator[Value]:
    yield "processes.count", len(psutil.pids()), "processes"
    yield "host.boot_time", psutil.boot_time(), "seconds since 1970"
    yield "host.uptime", max(0.0, time.time() - psutil.boot_time()), "seconds"


def _disks() -> Iterator[Value]:
    volumes = dict.fromkeys([os.sep, *(partition.mountpoint for partition in psutil.disk_partitions())])
    for volume in list(volumes)[:_MAX_VOLUMES]:
        try:
            usage = psutil.disk_usage(volume)
        except OSError:
            continue
        yield from _fields(f"disk.{_plain(volume)}", usage, "bytes")


def _disk_io() -> Iterator[Value]:
    counters = psutil.disk_io_counters()
    if counters is not None:
        yield from _fields("disk_io", counters, "count")


def _network() -> Iterator[Value]:
    yield from _fields("network", psutil.net_io_counters(), "count")


def _cores() -> Iterator[Value]:
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        yield from _fields(f"cpu.{core}.time", times, "seconds")


def _interfaces() -> Iterator[Value]:
    for name, counters in psutil.net_io_counters(pernic=True).items():
        yield from _fields(f"network.{_plain(name)}", counters, "count")


def _temperatures() -> Iterator[Value]:
    for chip, sensors in psutil.sensors_temperatures().items():
        for index, sensor in enumerate(sensors):
            if sensor.current is not None:
                yield f"temperature.{_plain(chip)}.{index}", sensor.current, "celsius"


def _fields(prefix: str, values: Any, unit: str) -> Iterator[Value]:
    """Yield each field of a psutil named tuple with the unit that its name tells."""
    for name, value in values._asdict().items():
        if name == "percent":
            yield f"{prefix}.{name}", value, "percent"
        elif "bytes" in name:
            yield f"{prefix}.{name}", value, "bytes"
        elif name.endswith("_time"):
            yield f"{prefix}.{name}", value, "milliseconds"
        else:
            yield f"{prefix}.{name}", value, unit


def _plain(name: str) -> str:
    """Make a device's or folder's name printable and short, as part of a metric's name."""
    return "".join(character if character.isprintable() else "?" for character in name)[:120]
