"""What is installed is seen as it is: no damage overlooked, none invented."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import py_compile
from pathlib import Path

import pytest

from blueprint.bootstrap import contents
from blueprint.bootstrap.installed import Difference, compare, same_version, scan
from blueprint.bootstrap.lockfile import Pin

ALPHA = Pin("alpha", "1.0", "", "alpha==1.0")


def put(site: Path, files: dict[str, str], *, folder: str = "alpha-1.0.dist-info", compiled: bool = True) -> None:
    """Lay out an installed package with its RECORD, as an installer does."""
    lines = []
    for name, text in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        shown = f'"{name}"' if "," in name else name
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{shown},sha256={digest},{len(text.encode())}\n")
        if compiled and name.endswith(".py"):
            py_compile.compile(str(path))
    (site / folder).mkdir(parents=True, exist_ok=True)
    (site / folder / "RECORD").write_text("".join(lines) + f"{folder}/RECORD,,\n")


def test_a_whole_package_is_no_difference(tmp_path: Path) -> None:
    put(tmp_path, {"alpha/__init__.py": "A = 1\n", "alpha/a,b.txt": "x", "alpha/ü.txt": "ü"})
    difference = compare([ALPHA], tmp_path)
    assert (bool(difference), str(difference), difference.modules) == (False, "", 1)


def test_a_template_that_is_no_python_is_not_missed_as_bytecode(tmp_path: Path) -> None:
    put(tmp_path, {"alpha/template.py": "def {{ name }}():\n"}, compiled=False)
    assert not compare([ALPHA], tmp_path)
    put(tmp_path, {"alpha/module.py": "A = 1\n"}, compiled=False)
    assert str(compare([ALPHA], tmp_path)) == "1 of 1 modules have no bytecode"


def test_an_edit_of_the_same_size_is_noticed_whatever_its_time(tmp_path: Path) -> None:
    put(tmp_path, {"alpha/__init__.py": "A = 1\n", "alpha/part.py": "B = 1\n"}, compiled=False)
    known = compare([ALPHA], tmp_path).states
    assert list(known) == ["alpha-1.0.dist-info"]
    part = tmp_path / "alpha" / "part.py"
    before = part.stat()
    part.write_text("B = 2\n")
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    difference = compare([ALPHA], tmp_path, known=known)
    assert str(difference) == "alpha is damaged (alpha/part.py is not what was installed)"
    assert difference.states == {}


def test_contents_are_read_again_only_if_a_file_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"alpha/__init__.py": "A = 1\n"})
    known = compare([ALPHA], tmp_path).states
    contents.remember(tmp_path, known)
    read: list[object] = []
    monkeypatch.setattr(contents, "changed_file", read.append)
    assert not compare([ALPHA], tmp_path, known=contents.known(tmp_path))
    assert read == []
    os.utime(tmp_path / "alpha" / "__init__.py")
    compare([ALPHA], tmp_path, known=known)
    assert len(read) == 1


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"alpha-1.0.dist-info": "other"}'])
def test_without_a_good_stamp_contents_are_read(tmp_path: Path, text: str) -> None:
    put(tmp_path, {"alpha/__init__.py": "A = 1\n"}, compiled=False)
    (tmp_path / "alpha" / "__init__.py").write_text("A = 2\n")
    (tmp_path / "contents.json").write_text(text)
    assert "is not what was installed" in str(compare([ALPHA], tmp_path, known=contents.known(tmp_path)))


def test_what_runs_at_every_start_and_is_no_packages_is_told(tmp_path: Path) -> None:
    put(tmp_path, {"alpha/__init__.py": "A = 1\n", "alpha.pth": "import alpha\n"}, compiled=False)
    assert contents.unowned_startup_files(tmp_path) == []
    for name in ("planted.pth", "sitecustomize.py"):
        (tmp_path / name).write_text("import os\n")
    assert contents.unowned_startup_files(tmp_path) == ["planted.pth", "sitecustomize.py"]
    broken = tmp_path / "users-1.0.dist-info"
    broken.mkdir()
    (broken / "RECORD").write_bytes(b"\xff\xfe")
    assert contents.unowned_startup_files(tmp_path) == ["planted.pth", "sitecustomize.py"]


@pytest.mark.parametrize("blocks", [1, 3])
def test_bytecode_that_a_full_disk_cut_off_is_not_taken_for_compiled(tmp_path: Path, blocks: int) -> None:
    put(
        tmp_path,
        {"alpha/__init__.py": "", "alpha/many.py": "".join(f"a{number} = {number}\n" for number in range(500))},
    )
    compiled = Path(importlib.util.cache_from_source(str(tmp_path / "alpha" / "many.py")))
    compiled.write_bytes(compiled.read_bytes()[: blocks * 512])
    difference = compare([ALPHA], tmp_path)
    assert (str(difference), difference.cut_off) == ("1 of 2 modules have no bytecode", (str(compiled),))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("", "its RECORD is empty"),
        ("alpha/__init__.py,sha256=x\n", "its RECORD is damaged"),
        ("alpha/__init__.py,sha256=x,6x\n", "its RECORD is damaged"),
        ('"' + "x" * 200_000 + "\n", "its RECORD is damaged"),
        ("alpha/\0.py,sha256=x,6\n", "alpha/\0.py is missing"),
        ("alpha/__init__.py,sha256=x,6", "its RECORD is cut off"),
        ("alpha/gone.py,sha256=x,3\n", "alpha/gone.py is missing"),
        ("alpha/__init__.py,sha256=x,999\n", "alpha/__init__.py has 6 bytes instead of 999"),
    ],
)
def test_a_half_written_package_is_damaged(tmp_path: Path, record: str, problem: str) -> None:
    put(tmp_path, {"alpha/__init__.py": "A = 1\n"})
    (tmp_path / "alpha-1.0.dist-info" / "RECORD").write_text(record)
    assert str(compare([ALPHA], tmp_path)) == f"alpha is damaged ({problem})"


def test_what_a_user_added_is_no_difference(tmp_path: Path) -> None:
    put(tmp_path, {"alpha/__init__.py": "A = 1\n"})
    put(tmp_path, {"mine.py": "B = 1\n"}, folder="my_tool-0.1.dist-info", compiled=False)
    difference = compare([ALPHA], tmp_path)
    assert (bool(difference), difference.beyond) == (False, ("my-tool",))


def test_names_and_versions_are_compared_by_meaning(tmp_path: Path) -> None:
    for folder in ("Ruamel.Yaml-0.18.dist-info", "torch-2.0+cpu.dist-info", "~alf-1.dist-info", "no.dist-info"):
        (tmp_path / folder).mkdir()
    assert {name: [each.version for each in found] for name, found in scan(tmp_path).items()} == {
        "ruamel-yaml": ["0.18"],
        "torch": ["2.0+cpu"],
        "~alf": ["1"],
    }
    assert same_version("1.0", "1.0.0")
    assert not same_version("1.0", "1.0.1")
    assert not same_version("not a version", "1.0")


def test_an_environment_with_nothing_in_it_misses_everything(tmp_path: Path) -> None:
    difference = compare([ALPHA], tmp_path / "nowhere")
    assert (difference.packages, str(difference)) == (frozenset({"alpha"}), "missing: alpha")


def test_a_long_difference_stays_one_readable_line() -> None:
    names = tuple(f"p{number}" for number in range(100))
    assert str(Difference(missing=names)) == "missing: p0, p1, p2, p3, p4, p5, p6, p7 and 92 more"
