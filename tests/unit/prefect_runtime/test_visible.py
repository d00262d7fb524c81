"""What flows and servers print acts on no terminal of somebody who reads the log."""

from __future__ import annotations

import subprocess
import sys

import pytest

from blueprint.prefect_runtime.visible import visible, without_controls


@pytest.mark.parametrize("sign", ["\x00", "\x07", "\x1b", "\r", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066"])
def test_what_acts_on_a_terminal_is_written_as_its_number(sign: str) -> None:
    shown = visible(f"a{sign}b")
    assert shown == f"a{ascii(sign)[1:-1]}b"
    assert without_controls(shown) == without_controls(f"a{sign}b") == "ab"


def test_other_text_stays_as_it_is() -> None:
    text = "Größe 3\tµm\n中文 العربية ⚠ C:\\new"
    assert visible(text) == text


def test_all_that_a_process_prints_is_escaped_and_nothing_that_its_children_print() -> None:
    program = """if True:
        import os, subprocess, sys
        from blueprint.prefect_runtime.visible import escape_output
        escape_output()
        print("one\\x1b", flush=True)
        sys.stdout.writelines(["two\\x07\\n"])
        sys.stdout.flush()
        subprocess.run([sys.executable, "-c", "print('three\\\\x9b')"], env=os.environ | {"PYTHONIOENCODING": "utf-8"})
        print("four\\r\\x9b\\udc80", file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=30)
    assert done.stdout.decode() == "one\\x1b\ntwo\\x07\nthree\x9b\n"
    assert done.stderr == b"four\\r\\x9b\\udc80\n"
