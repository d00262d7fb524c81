"""From a flow of the user's own to a proven platform: `init`, then one command."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import Checkout
from tests.support.wheels import make_wheel

FLOW = """
from typing import Annotated

from prefect import flow, task
from pydantic import Field
from tiny_units import part


@task
def convert(metres: int) -> int:
    return metres * part.PART


@flow(name="Nightly conversion")
def conversion(metres: Annotated[int, Field(ge=1)] = 5) -> int:
    return convert(metres)


@flow
def other() -> None:
    pass
"""


@pytest.fixture
def own(checkout: Checkout, tmp_path: Path) -> Iterator[tuple[Checkout, str]]:
    """A checkout with a flow in it that needs a package which is not there, and that package as a requirement."""
    path = checkout.root / "pyproject.toml"
    before = path.read_bytes()
    wheel = make_wheel(tmp_path, "tiny-units", "1.0")
    (checkout.root / "mine").mkdir()
    (checkout.root / "mine" / "flow.py").write_text(FLOW)
    yield checkout, f"tiny-units @ {wheel.as_uri()}"
    path.write_bytes(before)
    for made in (checkout.root / "mine").rglob("*.py*"):
        made.unlink()
    pip = [str(checkout.workspace.python), "-m", "pip", "uninstall", "-q", "-y", "tiny-units"]
    subprocess.run(pip, env=checkout.environment, check=True, capture_output=True)


def test_a_users_flow_with_a_requirement_of_its_own_is_set_up_and_proven(own: tuple[Checkout, str]) -> None:
    checkout, requirement = own
    path = checkout.root / "pyproject.toml"
    before = path.read_text()

    unusable = {
        "mine/flow.py:conversion": ("No module named 'tiny_units'", "requirements"),
        "mine/nowhere.py:conversion": ("nowhere.py does not exist",),
        "conversion": ("does not name a flow", "path/to/file.py:flow_function"),
    }
    for target, said in unusable.items():
        refused = checkout.run("init", target)
        assert refused.code == 2, refused.output
        assert all(part in refused.output for part in said), refused.output
        assert f"a run would prove the flow that is configured there, not {target}." in refused.last_line
    assert path.read_text() == before

    wanted = ("--set", f"requirements={json.dumps([requirement])}", "--set", f"port={checkout.port}")
    several = checkout.run("init", "mine/flow.py", *wanted)
    assert several.code == 2
    assert "conversion, other" in several.last_line
    nothing = checkout.run("init", "mine/flow.py:convert", *wanted)
    assert nothing.code == 2
    assert "is not a flow" in nothing.last_line
    assert path.read_text() == before

    checkout.must("init", "mine/flow.py:conversion", *wanted)
    after = path.read_text()
    head = before[: before.index("[tool.blueprint]")]
    assert after.startswith(head)
    assert after.endswith(before[before.index("\n[tool.ruff]") :])
    table = tomllib.loads(after)["tool"]["blueprint"]
    assert table == {
        "entrypoint": "mine/flow.py:conversion",
        "source": ".",
        "deployment": "Nightly conversion",
        "requirements": [requirement],
        "port": checkout.port,
        "parameters": {"metres": 5},
        "acceptance": {"refused": [{"metres": 0}, {"metres": "invalid"}]},
    }
    again = checkout.run("init", "mine/flow.py:conversion")
    assert again.code == 2
    assert "--force" in again.last_line
    assert path.read_text() == after

    proven = checkout.must("--phase", "all")
    assert "26 of 30 tasks proven" in proven.output
    tasks = checkout.last().tasks
    assert {number for number, task in tasks.items() if task.status == "skipped"} == {18, 23, 24, 29}
    deployed = checkout.get("/deployments/name/Nightly conversion/Nightly conversion")
    assert deployed["parameters"] == {"metres": 5}
    (run,) = checkout.post("/flow_runs/filter", {"deployments": {"id": {"any_": [deployed["id"]]}}})
    assert run["state"]["type"] == "COMPLETED"
