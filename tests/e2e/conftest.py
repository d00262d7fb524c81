"""The whole product in a fresh checkout, and the bootstrap alone with wheels that are made on the spot.

One environment serves all tests of the product: `checkout` has nothing done in it but the install, and `installed` is
the same one, as the test before left it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import Checkout, make_checkout
from tests.support.environments import the_path
from tests.support.wheels import lock_line, make_wheel


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


@pytest.fixture(scope="session")
def uv_on_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but uv in it: the one beside this Python, or the one on PATH."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.fail("these tests need uv: it is in requirements.lock")
    folder = tmp_path_factory.mktemp("only-uv")
    (folder / "uv").symlink_to(Path(found).resolve())
    return folder


@pytest.fixture(scope="module")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own for what is made on the spot; the project's lock comes from the user's."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv_cache: Path) -> Path:
    """A folder of wheels that is all that uv and pip are told of; nothing reaches an index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    for_uv = tmp_path / "for-uv.toml"
    for_uv.write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(for_uv))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # should an installer ask an index after all, it gets nowhere
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    return folder


@pytest.fixture(params=["uv", "pip"])
def with_installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, uv_on_path: Path) -> str:
    monkeypatch.setenv("PATH", the_path(uv_on_path) if request.param == "uv" else the_path())
    return str(request.param)


@pytest.fixture
def lock(wheels: Path) -> str:
    """Three packages; the one that reads markers is among them, as in the real lock."""
    alpha = make_wheel(wheels, "alpha", "1.2.0")
    make_wheel(wheels, "alpha", "1.1.0")
    beta = make_wheel(wheels, "beta-tools", "3.0")
    return lock_line(alpha) + lock_line(beta)
