"""Options of the whole suite; here, so that they are known whichever tests are named."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The longer chaos run."""
    parser.addoption(
        "--chaos-kills", type=int, default=0, metavar="N", help="N kills at random moments; a few by default"
    )
    parser.addoption("--chaos-seed", type=int, default=None, metavar="SEED", help="repeat a run of random moments")
