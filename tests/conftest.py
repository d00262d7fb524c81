"""Options of the whole suite, and who runs what when several workers share it (`-n`, as `run_blueprint.py test` does).

What takes long begins first. Tests that share something costly, such as a running platform, stay with one worker.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from _pytest.terminal import TerminalReporter

KILLS = 30
_ALONE = ("test_crashes", "test_faults", "test_interrupts", "test_secrets")  # each test of these begins from anything
# These deploy flows that the others do not know; a platform for each of the two halves ends sooner than one for all.
_WITH_FLOWS_OF_THEIR_OWN = ("test_own_flow", "test_task_18_schedules", "test_concurrency_leases")
_LONGEST_FIRST = ("test_killed_behind", "platform", "test_", "tests/e2e", "tests/platform", "")  # beginnings of groups


def pytest_addoption(parser: pytest.Parser) -> None:
    """The longer chaos run."""
    parser.addoption(
        "--chaos-kills", type=int, default=KILLS, metavar="N", help=f"N kills at random moments; {KILLS} by default"
    )
    parser.addoption("--chaos-seed", type=int, default=None, metavar="SEED", help="repeat a run of random moments")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say which tests belong together, and in which order they are given out; leave out the longer ones."""
    if config.getoption("--chaos-kills") <= KILLS:
        for item in items:
            if item.get_closest_marker("longer"):
                item.add_marker(pytest.mark.skip(reason=f"in the longer run: --chaos-kills above {KILLS}"))
    if not hasattr(config, "workerinput"):
        return
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: [groups[item].startswith(one) for one in _LONGEST_FIRST].index(True))


def _group(item: pytest.Item) -> str:
    if "platform" in getattr(item, "fixturenames", ()):
        return "platform of flows" if item.path.stem in _WITH_FLOWS_OF_THEIR_OWN else "platform"
    if item.path.stem in _ALONE:
        return item.name
    mode = item.callspec.params.get("mode", "") if hasattr(item, "callspec") else ""  # test_one_command's two platforms
    return f"{item.path.relative_to(item.config.rootpath)} {mode}".strip()


@pytest.fixture
def chance(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> random.Random:
    """Random moments; the summary tells the seed, with which `--chaos-seed` repeats them."""
    seed = request.config.getoption("--chaos-seed")
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    record_property("--chaos-seed", seed)
    return random.Random(seed)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Tell what was counted, the seeds, and how to have what was skipped run."""
    missing = sorted(
        {
            report.longrepr[2].removeprefix("Skipped: ")
            for report in terminalreporter.stats.get("skipped", [])
            if isinstance(report.longrepr, tuple) and "apt-get install" in report.longrepr[2]
        }
    )
    if missing:
        terminalreporter.section("not tested, because a program is missing")
        for reason in missing:
            terminalreporter.write_line(reason)
    told = [
        f"{report.nodeid.partition('::')[2].partition('@')[0]}: {name} {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
    ]
    if told:
        terminalreporter.section("counted")
        for line in sorted(told):
            terminalreporter.write_line(line)
