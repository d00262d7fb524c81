"""The whole product in a fresh checkout: one environment for all of these tests, and a clean state for each test.

`checkout` has nothing done in it but the install. `installed` is the same one, as the test before left it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout, make_checkout


@pytest.fixture(scope="package")  # an idle platform costs others its time: none is left to what comes after
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose environment is complete."""
    made = make_checkout(tmp_path_factory.mktemp("checkout"))
    yield made
    made.reset()


@pytest.fixture
def checkout(installed: Checkout) -> Iterator[Checkout]:
    """The same checkout with no state: as after a clone and an install."""
    installed.reset()
    yield installed
    installed.reset()
