"""What is remembered of a service, and what is made of a file that a crash or a hand has damaged."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.processes import records
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.records import RecordDamaged, ServiceRecord

RECORD = ServiceRecord(
    name="web",
    title="The web",
    workspace="w",
    identity=ProcessIdentity(1234, "boot", 5678),
    fingerprint="f",
    host="127.0.0.1",
    port=4200,
    log="/logs/web.log",
    started_at="2026-10-08T09:00:00+00:00",
    ready=True,
)
_FIELDS = ("version", "name", "title", "workspace", "identity", "fingerprint", "host", "log", "started_at", "ready")


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    records.write(tmp_path / "services", RECORD)
    assert records.read(tmp_path / "services", "web") == RECORD
    assert records.names(tmp_path / "services") == ["web"]
    records.remove(tmp_path / "services", "web")
    assert records.read(tmp_path / "services", "web") is None
    assert records.names(tmp_path / "services") == []


def test_other_users_can_read_neither_the_record_nor_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    folder.mkdir(mode=0o755)
    records.write(folder, RECORD)
    assert (folder / "web.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["web.json"], "no temporary file is left"


def test_a_record_torn_at_any_byte_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    records.write(tmp_path, RECORD)
    path = tmp_path / "web.json"
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordDamaged, match=r"^\S*web\.json cannot be used: [^\n]*$"):
            records.read(tmp_path, "web")


_ANYTHING: tuple[Any, ...] = (None, "text", -1, 70000, [], {}, {"pid": 1})
_WRONG = [
    (field, value)
    for field in _FIELDS
    for value in _ANYTHING
    if value != "text" or field in ("version", "name", "identity", "ready")  # elsewhere any text will do
]


@pytest.mark.parametrize(("field", "value"), _WRONG)
def test_a_field_of_the_wrong_kind_is_never_acted_upon(tmp_path: Path, field: str, value: Any) -> None:
    records.write(tmp_path, RECORD)
    path = tmp_path / "web.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, field: value}))
    with pytest.raises(RecordDamaged, match="cannot be used"):
        records.read(tmp_path, "web")


@pytest.mark.parametrize("content", [b"[" * 60_000, b"9" * 60_000, b" " * 1_000_000])
def test_a_file_made_to_exhaust_the_reader_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "web.json").write_bytes(content)
    with pytest.raises(RecordDamaged, match="cannot be used"):
        records.read(tmp_path, "web")


@pytest.mark.parametrize("port", [0, -1, 65536, "4200", True, 1.5])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: Any) -> None:
    records.write(tmp_path, RECORD)
    path = tmp_path / "web.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "port": port}))
    with pytest.raises(RecordDamaged, match="port"):
        records.read(tmp_path, "web")


def test_a_folder_in_the_records_place_is_one_sentence_too(tmp_path: Path) -> None:
    (tmp_path / "web.json").mkdir()
    with pytest.raises(RecordDamaged, match=r"web\.json cannot be read"):
        records.read(tmp_path, "web")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS) | st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | _values.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_never_a_traceback(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "web.json").write_bytes(content)
        with pytest.raises(RecordDamaged):
            records.read(Path(folder), "web")
