"""Prose that a stranger can follow, and a README whose files and commands exist."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
from pathlib import Path

import pytest

from blueprint.cli.options import parse
from blueprint.config import sources
from blueprint.core.workspace import Workspace
from blueprint.prefect_adapter.flow_host import FlowHost

REPO = Path(__file__).resolve().parents[2]
README, GUIDE = REPO / "README.md", REPO / "docs" / "your-own-flow.md"
PAGES = (README, REPO / "CONTRIBUTING.md", REPO / "CHANGELOG.md", *sorted((REPO / "docs").glob("*.md")))
MODULES = (REPO / "run_blueprint.py", *sorted((REPO / "blueprint").rglob("*.py")))
MOST_WORDS = 20
RIDDLES = re.compile(r"(What|Who|Whom|Whose|Where|When|Why|Whether|How|That|Not|Nothing|Nobody|And|But)\b")


def first_sentence(docstring: str) -> str:
    """Return the text up to the first full stop that ends a sentence, or the first paragraph if none does."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


def docstrings(module: Path) -> list[tuple[int, str]]:
    """Return line and text of every docstring of a module."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [(getattr(node, "lineno", 1), text) for node in nodes if (text := ast.get_docstring(node))]


def offences(docstring: str) -> list[str]:
    """Return what makes a docstring hard to read."""
    sentence = first_sentence(docstring)
    words = len(sentence.split())
    found = [f"begins with {match[0]!r}"] if (match := RIDDLES.match(sentence)) else []
    return found + ([f"its first sentence has {words} words"] if words > MOST_WORDS else [])


def test_a_riddle_and_a_long_sentence_are_found() -> None:
    assert offences("What a run can be told.") == ["begins with 'What'"]
    assert offences("Return the running processes of a service, oldest first. " + "More words. " * 30) == []
    assert offences(" ".join(["word"] * 21) + ".") == ["its first sentence has 21 words"]


@pytest.mark.parametrize("module", MODULES, ids=[str(module.relative_to(REPO)) for module in MODULES])
def test_docstrings_begin_with_a_short_sentence_that_a_stranger_understands(module: Path) -> None:
    assert [(line, offence, text) for line, text in docstrings(module) for offence in offences(text)] == []


def test_the_readme_is_for_users_and_fits_on_a_few_screens() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    commands = [line.split("#")[0].strip() for line in lines if line.startswith("    ")]
    assert len(lines) <= 150
    assert commands[:2] == ["python run_blueprint.py --phase all", "python run_blueprint.py test"]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)} - {""}
    missing = [link for link in links if not (page.parent / link).exists()]
    paths = re.findall(
        r"(?<![\w/.])((?:blueprint|tests|docs|\.ci)(?:/[\w.-]+)+|requirements\.lock|pyproject\.toml)", text
    )
    modules = [module.replace(".", "/") for module in re.findall(r"python -m ((?:blueprint|tests)[\w.]+)", text)]
    found = {path.rstrip(".") for path in paths if "tNN" not in path}
    missing += [path for path in found if not (REPO / path).exists()]
    missing += [path for path in modules if not (REPO / path).exists() and not (REPO / f"{path}.py").exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_command_that_a_page_names_is_understood(page: Path) -> None:
    commands = re.findall(r"run_blueprint\.py((?: [^`\n#]+)?)", page.read_text(encoding="utf-8"))
    assert commands or page.name in ("settings.md", "CHANGELOG.md", "how-it-works.md", "install-faults.md")
    for command in commands:
        with contextlib.suppress(SystemExit):  # --help and --version
            parse(shlex.split(command))


def test_the_guides_deployments_can_be_pasted_and_their_flows_are_in_its_flow_file(tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    flow_file = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    table = next(block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "[tool.blueprint]" in block)
    (tmp_path / "flow.py").write_text(flow_file, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
    deployments = sources.load(tmp_path, {}).each()
    assert [deployment.deployment for deployment in deployments] == ["nightly", "hourly", "nightly-large"]
    workspace = Workspace(tmp_path, REPO)
    workspace.prepare()
    flows = FlowHost(workspace)
    try:
        for deployment in deployments:
            assert flows.parameter_problems(deployment, deployment.parameters) == []
    finally:
        flows.close()
