"""A flow whose module makes at import what must not be forked: threads, pools, an engine, sockets, a signal handler."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
import socket
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from prefect import flow, task
from sqlalchemy import create_engine, text

received: list[int] = []


def _received(number: int, _frame: FrameType | None) -> None:
    received.append(number)


signal.signal(signal.SIGUSR1, _received)

words: queue.Queue[str] = queue.Queue()


def _say() -> None:
    while True:
        words.put("still talking")
        threading.Event().wait(0.05)


threading.Thread(target=_say, daemon=True, name="talker").start()
threads = ThreadPoolExecutor(2)
first = threads.submit(os.getpid)
engine = create_engine("sqlite://")
listener = socket.create_server(("127.0.0.1", 0))


def square(number: int) -> int:
    """For a process of a pool."""
    return number * number


@task
def asked(number: int) -> int:
    """Use the pool that was made at import."""
    return threads.submit(square, number).result()


@flow
def made_at_import(folder: str) -> None:
    """Use all of it."""
    os.kill(os.getpid(), signal.SIGUSR1)
    with engine.connect() as connection:
        answer = connection.execute(text("SELECT 6 * 7")).scalar_one()
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
        client.sendall(b"hello")
        heard = server.recv(16).decode()
    with ProcessPoolExecutor(1) as forked:
        of_fork = forked.submit(square, 3).result()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as spawned:
        of_spawn = spawned.submit(square, 4).result()
    about = {
        "same process": first.result() == os.getpid(),
        "talker": words.get(timeout=5),
        "engine": answer,
        "socket": heard,
        "pools": [of_fork, of_spawn, [asked(number) for number in (1, 2)]],
        "signals": received == [signal.SIGUSR1],
    }
    Path(folder, f"{os.environ['PREFECT__FLOW_RUN_ID']}.json").write_text(json.dumps(about), encoding="utf-8")
