"""Prefect must not read the folder of time zones for every schedule, and must know the same zones."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import zoneinfo
from unittest import mock

names = zoneinfo.available_timezones()
with mock.patch("zoneinfo._tzpath.available_timezones", wraps=zoneinfo.available_timezones) as read:
    zoneinfo.available_timezones = read
    from blueprint import zone_names
    zone_names.remember()
    zone_names.remember()
    from prefect.client.schemas.schedules import CronSchedule
    for _ in range(5):
        CronSchedule(cron="0 9 * * *", timezone="America/Chicago")
    try:
        CronSchedule(cron="0 9 * * *", timezone="America/Nowhere")
    except ValueError:
        print("refused")
    zoneinfo.available_timezones().clear()
    assert zoneinfo.available_timezones() == names
    print(read.call_count)
"""


def test_the_zones_are_read_once_and_are_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused", "1"]
