"""A real PostgreSQL for the tests, from the binaries of the distribution: own folder, free port, loopback, password.

PostgreSQL refuses to run as root; then it runs as the user `postgres` that the package made.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.ports import free_port

_START_SECONDS = 60


@dataclass(frozen=True)
class Postgres:
    """A running server with an empty database named `warehouse`, owned by `user`."""

    port: int
    user: str
    password: str

    def url(self, *, password: str | None = None, database: str = "warehouse") -> str:
        """The address as a user would configure it."""
        return f"postgresql://{self.user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection that does not go through the code under test."""
        return psycopg.connect(self.url(), autocommit=True)


def _binaries() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if folders:
        return folders[-1]
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start it, and stop it at the end of the block. Skips the test where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's binaries are not installed (apt-get install postgresql)")
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="warehouse-pg-"))
    password = secrets.token_urlsafe(12) + "/@:%"  # what must be encoded in a URL must work too
    encoded = password.replace("%", "%25").replace("/", "%2F").replace("@", "%40").replace(":", "%3A")
    try:
        password_file = folder / "password"
        password_file.write_text(password)
        if user:
            for path in (folder, password_file):
                shutil.chown(path, user)
        data = folder / "data"
        _run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "etl",
                "-A",
                "scram-sha-256",
                "--pwfile",
                password_file,
                "-E",
                "UTF8",
            ],
            user,
        )
        port = free_port()
        argv: list[str | Path] = [
            binaries / "postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-k",
            folder,
            "-c",
            "listen_addresses=127.0.0.1",
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder, user=user, start_new_session=True)
        try:
            with _connected(port, password, process, folder / "log") as connection:
                connection.execute("CREATE DATABASE warehouse")
            yield Postgres(port, "etl", encoded)
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.send_signal(3)  # SIGQUIT: immediate shutdown
                process.wait(timeout=10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(argv: list[str | Path], user: str | None) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, user=user, cwd="/", check=False)
    assert done.returncode == 0, done.stderr


def _connected(
    port: int, password: str, process: subprocess.Popen[bytes], log: Path
) -> psycopg.Connection[tuple[object, ...]]:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            return psycopg.connect(
                host="127.0.0.1", port=port, user="etl", password=password, dbname="postgres", autocommit=True
            )
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(log.read_text(errors="replace")) from None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.1)
