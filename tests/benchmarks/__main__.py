"""How long a proven platform takes, against a script of Prefect commands and against what Prefect itself needs.

    .venv/bin/python -m tests.benchmarks [--rounds 3] [--runs 100] [--from-nothing]

Everything is measured in the same run on the same machine, in turns: each round has the sequential script on a Prefect
of its own, the floor (server, worker and longest chain of runs, each alone), `--phase all` on an empty state and
again, `verify`, `plan` and `--help`, and `--phase all` twice with Prefect's own start of flow runs. Then, once each:
`--runs` flow runs triggered at once, here and with Prefect's default settings; with `--from-nothing` the environment
too, with empty package caches, here and by venv and pip; and the executor with empty tasks. Printed are medians, ratios
with their targets, and where the time of one run went.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx

from blueprint.bootstrap.environment import base_python
from blueprint.execution.history import ExecutionRecord
from tests.benchmarks import executor_overhead
from tests.benchmarks.by_hand import ByHand, await_runs, by_hand, create_run, seconds
from tests.benchmarks.timeline import timeline
from tests.support.checkout import Checkout, make_checkout

POOL_LIMIT = 10  # runs at a time, which is what we configure; the same for Prefect by itself
ROWS = 50  # of each of the many runs
TRIES = 3

T = TypeVar("T")


@contextlib.contextmanager
def project(*, installed: bool = True) -> Iterator[Checkout]:
    """A checkout in a temporary folder."""
    folder = Path(tempfile.mkdtemp())
    checkout = make_checkout(folder, installed=installed)
    try:
        yield checkout
    finally:
        checkout.reset()
        shutil.rmtree(folder)


def by_itself(checkout: Checkout, measure: Callable[[ByHand], T]) -> T:
    """Measure Prefect by itself; again, if a step of its own fails: its server may stand still for a minute."""
    for _ in range(TRIES):
        with by_hand(checkout) as prefect:
            try:
                return measure(prefect)
            except RuntimeError as error:
                print(f"begun again, a step of Prefect's own failed: {error}", file=sys.stderr, flush=True)
    raise RuntimeError(f"Prefect by itself did not do it in {TRIES} tries")


def one_round(checkout: Checkout) -> tuple[dict[str, float], ExecutionRecord]:
    """Each figure once (seconds, but for the memory), and the record of the first execution."""
    checkout.reset()
    figures: dict[str, float] = {}
    figures["script"] = by_itself(checkout, lambda prefect: seconds(prefect.script))
    parts = by_itself(checkout, ByHand.floor)
    figures |= {"floor": sum(parts)} | dict(zip(("  server", "  worker", "  failing run"), parts, strict=True))
    figures["first"] = checkout.must("--phase", "all").seconds
    record = checkout.last()
    ended = checkout.records()[-1]
    figures |= {"cpu": ended["cpu_seconds"], "memory": ended["peak_memory_mb"]}
    figures["again"] = checkout.must("--phase", "all").seconds
    for command in ("verify", "plan", "--help"):
        figures[command] = statistics.median(checkout.must(command).seconds for _ in range(3))
    checkout.must("stop")
    checkout.reset()
    cold = ("--phase", "all", "--set", "warm_start=false")
    figures["first, warm_start off"] = checkout.must(*cold).seconds
    figures["again, warm_start off"] = checkout.must(*cold).seconds
    checkout.must("stop")
    print("  ".join(f"{name.strip()} {figure:.2f}" for name, figure in figures.items()), file=sys.stderr, flush=True)
    return figures, record


def many_runs(api: httpx.Client, count: int) -> tuple[float, dict[str, str]]:
    """Trigger so many runs, one request after the other, and wait for all; gives the seconds and their states."""
    began = time.monotonic()
    states = await_runs(api, [create_run(api, {"batch_size": ROWS}) for _ in range(count)])
    return time.monotonic() - began, states


def at_once(checkout: Checkout, count: int) -> Iterator[str]:
    """The lines about many runs at once."""

    def by_default(prefect: ByHand) -> tuple[float, dict[str, str]]:
        prefect.ready_for_runs(POOL_LIMIT)
        return many_runs(prefect.api, count)

    theirs, their_states = by_itself(checkout, by_default)
    checkout.reset()
    checkout.must("--phase", "2")
    url = f"{checkout.url}/api"
    with httpx.Client(base_url=url, auth=checkout.password, timeout=60, trust_env=False) as api:
        ours, states = many_runs(api, count)
    rows = checkout.rows()
    once = sum(rows.get(run) == (ROWS, ROWS) for run in states)
    checkout.must("stop")
    for who, took, found in (("Prefect's defaults", theirs, their_states), ("here", ours, states)):
        counts = {state: list(found.values()).count(state) for state in sorted(set(found.values()))}
        yield f"{count} runs at once, {who:<20}{took:>8.1f} s   {counts}"
    yield f"  ratio {ours / theirs:.2f} (target 0.7); rows exactly once: {once} of {count} runs"


def from_nothing() -> Iterator[str]:
    """The lines about a machine with no environment and empty package caches."""
    with project(installed=False) as checkout, tempfile.TemporaryDirectory() as caches:
        cold = {"UV_CACHE_DIR": f"{caches}/uv", "PIP_CACHE_DIR": f"{caches}/pip"}
        ours = checkout.must("--phase", "all", env=cold, seconds=900).seconds
        checkout.must("stop")
        shutil.rmtree(checkout.root / ".venv")
        checkout.reset()
        python = str(checkout.root / ".venv" / "bin" / "python")
        lock = str(checkout.root / "requirements.lock")
        env = checkout.environment | cold

        def by_pip() -> None:
            for argv in (
                [base_python(), "-m", "venv", str(checkout.root / ".venv")],
                [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", lock],
            ):
                subprocess.run(argv, env=env, check=True, capture_output=True)

        environment = seconds(by_pip)
        rest = checkout.must("--phase", "all", seconds=900).seconds
        checkout.reset()
        script = by_itself(checkout, lambda prefect: seconds(prefect.script))
    yield f"from nothing, caches empty: `--phase all` takes {ours:.1f} s (target: 0.6 of the same by venv and pip)"
    for what, took in (("`--phase all`", rest), ("the script", script)):
        yield f"  venv and pip {environment:.1f} s, then {what} {took:.1f} s: ratio {ours / (environment + took):.2f}"


def table(medians: dict[str, float]) -> Iterator[str]:
    """The figures with their targets."""
    script, floor = medians["script"], medians["floor"]
    yield f"{'':<46}{'seconds':>9}{'ratio':>8}{'target':>8}"
    yield f"{'sequential script':<46}{script:>9.1f}"
    parts = ", ".join(f"{name.strip()} {medians[name]:.1f}" for name in ("  server", "  worker", "  failing run"))
    yield f"{f'floor: {parts}':<46}{floor:>9.1f}"
    for title, key, base, target in (
        ("--phase all, empty state, to the script", "first", script, 0.26),
        ("--phase all again, to the script", "again", script, 0.14),
        ("--phase all, empty state, to the floor", "first", floor, 1.2),
    ):
        yield f"{title:<46}{medians[key]:>9.1f}{medians[key] / base:>8.2f}{target:>8.2f}"
    for title, key in (
        ("  the same with warm_start = false, first", "first, warm_start off"),
        ("  the same with warm_start = false, again", "again, warm_start off"),
    ):
        yield f"{title:<46}{medians[key]:>9.1f}{medians[key] / script:>8.2f}"
    for title, key, most in (
        ("verify", "verify", 0.45),
        ("plan", "plan", 0.4),
        ("--help", "--help", 0.1),
        ("the executor's own CPU", "cpu", 4.0),
        ("the executor's peak memory (MB)", "memory", 200),
    ):
        yield f"{title:<46}{medians[key]:>9.2f}{'':>8}{most:>8}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=100, help="flow runs triggered at once; 0 leaves them out")
    parser.add_argument("--from-nothing", action="store_true", help="also with no environment (downloads everything)")
    options = parser.parse_args()
    with project() as checkout:
        if options.rounds:
            results = [one_round(checkout) for _ in range(options.rounds)]
            medians = {name: statistics.median(figures[name] for figures, _ in results) for name in results[0][0]}
            lines = (*table(medians), "", *timeline(results[-1][1]), "")
            print(f"medians of {options.rounds}", *lines, sep="\n", flush=True)
        if options.runs:
            print(*at_once(checkout, options.runs), "", sep="\n", flush=True)
    if options.from_nothing:
        print(*from_nothing(), "", sep="\n", flush=True)
    sys.argv = sys.argv[:1]
    return executor_overhead.main()


if __name__ == "__main__":
    sys.exit(main())
