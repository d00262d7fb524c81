"""The warehouse on SQLite: rows land exactly once, in a private file, and errors give no secret away."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blueprint.pipeline.checks import rows_landed
from blueprint.pipeline.database import Database, database_for
from blueprint.pipeline.errors import RowsMissing, WarehouseError
from blueprint.pipeline.metrics import DailyMetric
from blueprint.pipeline.table_name import BadTableName, TableName
from blueprint.pipeline.warehouse import landed, load
from tests.support.loader import KILL_POINTS
from tests.support.rows import batch

PROJECT = Path(__file__).resolve().parents[3]
LOADER = PROJECT / "tests" / "support" / "loader.py"
TABLE = "warehouse.public.daily_metrics"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embedded warehouse's folder of this test; nothing else in the environment counts."""
    monkeypatch.delenv("PIPELINE_DATABASE_URL", raising=False)
    monkeypatch.setenv("PIPELINE_WAREHOUSE_DIR", str(tmp_path / "state" / "warehouse"))
    return tmp_path / "state" / "warehouse"


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/warehouse.sqlite3"


def _loader(folder: Path, rows: int, prefix: str, point: str, run: str = "run") -> subprocess.Popen[str]:
    argv = [sys.executable, str(LOADER), _url(folder), TABLE, run, str(rows), prefix, point]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_rows_are_found_by_the_sqlite_shell_under_their_schema_and_name(folder: Path) -> None:
    load(TABLE, "run-1", batch(5).rows())
    with sqlite3.connect(folder / "warehouse.sqlite3") as connection:
        found = connection.execute(
            'SELECT record_id, metric_date, observed_at, metric, value, day_readings FROM "public.daily_metrics" '
            "WHERE flow_run_id = 'run-1' ORDER BY record_id LIMIT 1"
        ).fetchall()
    assert found == [("r-0", "2025-03-09", "2025-03-09 23:59:00.000000", "load.0", 0.0, 1)]


def test_what_landed_is_read_back_by_run_and_table() -> None:
    load(TABLE, "one", batch(90).rows())
    load(TABLE, "two", batch(7).rows())
    load("warehouse.test.metrics", "one", batch(3).rows())
    assert landed(TABLE, "one").rows == 90
    assert landed(TABLE, "two").rows == 7
    assert landed("warehouse.test.metrics", "one").rows == 3
    assert landed(TABLE, "none").rows == 0
    found = landed(TABLE, "one")
    assert (found.rows, found.records, found.metrics) == (90, 90, 7)
    assert (found.first_observed, found.last_observed) == ("2025-03-09T23:59:00+00:00", "2025-03-10T00:00:29+00:00")


def test_a_retried_load_lands_its_rows_once_also_if_the_source_gave_others_now() -> None:
    assert load(TABLE, "run", batch(50).rows()).replaced == 0
    again = load(TABLE, "run", batch(50).rows())
    assert (again.rows, again.replaced) == (50, 50)
    load(TABLE, "run", batch(40, "other").rows())
    assert landed(TABLE, "run").rows == 40


@pytest.mark.parametrize("point", KILL_POINTS)
@pytest.mark.parametrize("earlier", [0, 30])
def test_killed_at_any_point_of_the_load_no_row_is_lost_or_doubled(folder: Path, point: str, earlier: int) -> None:
    load(TABLE, "other run", batch(10).rows())
    if earlier:
        load(TABLE, "run", batch(earlier, "earlier").rows())
    process = _loader(folder, 4500, "killed", point)
    _output, errors = process.communicate(timeout=60)
    assert process.returncode == -9, errors
    assert landed(TABLE, "run").rows == (4500 if point == "after the commit" else earlier)
    load(TABLE, "run", batch(4500, "again").rows())
    found = landed(TABLE, "run")
    assert (found.rows, found.records) == (4500, 4500)
    assert landed(TABLE, "other run").rows == 10
    with sqlite3.connect(folder / "warehouse.sqlite3") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_killed_at_random_moments_no_row_is_lost_or_doubled(folder: Path) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    for attempt in range(8):
        process = _loader(folder, 20_000, f"a{attempt}", "never")
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        threading.Event().wait(chance.uniform(0, 0.4))
        process.kill()
        process.communicate()
        assert landed(TABLE, "run").rows in (0, 20_000), f"seed {seed}, attempt {attempt}"
    load(TABLE, "run", batch(100).rows())
    assert landed(TABLE, "run").rows == 100, f"seed {seed}"


def test_two_loads_of_one_run_at_the_same_time_land_its_rows_once(folder: Path) -> None:
    processes = [_loader(folder, 5000, prefix, "never") for prefix in ("x", "y", "z")]
    for process in processes:
        _output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    found = landed(TABLE, "run")
    assert (found.rows, found.records) == (5000, 5000)


def test_many_runs_landing_at_the_same_time_lose_nothing_from_the_very_first_on() -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: load(TABLE, f"run-{n}", batch(200).rows()), range(32)))
    assert [landed(TABLE, f"run-{n}").rows for n in range(32)] == [200] * 32


def test_a_load_waits_for_another_writer_instead_of_failing(folder: Path) -> None:
    load(TABLE, "first", batch(1).rows())
    other = sqlite3.connect(folder / "warehouse.sqlite3", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    timer.start()
    started = time.monotonic()
    load(TABLE, "second", batch(5).rows())
    assert time.monotonic() - started >= 0.4
    timer.join()
    other.close()
    assert landed(TABLE, "second").rows == 5


def test_a_writer_is_alone_before_its_first_statement_so_it_is_not_refused_half_way(folder: Path) -> None:
    load(TABLE, "first", batch(1).rows())
    with (
        database_for(TableName.parse(TABLE)).writing(),
        contextlib.closing(sqlite3.connect(folder / "warehouse.sqlite3", timeout=0, isolation_level=None)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_an_error_while_the_rows_are_made_leaves_what_was_there() -> None:
    load(TABLE, "run", batch(5).rows())

    def broken() -> Iterator[DailyMetric]:
        yield from batch(3, "new").rows()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(TABLE, "run", broken())
    assert landed(TABLE, "run").rows == 5


def test_the_warehouse_can_be_read_by_its_user_only(folder: Path) -> None:
    before = os.umask(0)
    try:
        load(TABLE, "run", batch(1).rows())
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "warehouse.sqlite3").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_looking_for_rows_makes_no_file(folder: Path) -> None:
    assert landed(TABLE, "run").rows == 0
    assert not folder.exists()


def test_without_settings_the_warehouse_is_in_the_current_folder_wherever_the_program_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PIPELINE_WAREHOUSE_DIR")
    monkeypatch.chdir(tmp_path)
    name = TableName.parse(TABLE)
    assert database_for(name).file == tmp_path / ".blueprint" / "warehouse" / "warehouse.sqlite3"
    assert database_for(name, "sqlite:///data/warehouse.db").file == tmp_path / "data" / "warehouse.db"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nonsense s3cret", "is not a database URL"),
        ("://u:s3cret@h/warehouse", "is not a database URL"),
        ("postgresql://u:s3cret@h:port/warehouse", "is not a database URL"),
        ("mysql://u:s3cret@h/warehouse", "'mysql' is neither sqlite nor postgresql"),
        ("postgresql://u:s3cret@h/metrics", "leads to 'metrics'"),
        ("postgresql://u:s3cret@h", "leads to ''"),
        ("sqlite:///other.db", "leads to 'other'"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("postgresql://u:s3cret@127.0.0.1:1/warehouse", "refused: "),
        ("postgresql://u@127.0.0.1:1/warehouse?password=s3cret", "refused: "),
        ("postgresql://u:s3cret@127.0.0.1:1/warehouse?s3cretoption=1&password=s3cret", "refused: "),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence_without_its_password(url: str, expected: str) -> None:
    with pytest.raises(WarehouseError) as refused:
        load(TABLE, "run", batch(1).rows(), url=url)
    text = str(refused.value)
    assert expected in text
    assert "\n" not in text
    assert "s3cret" not in text.replace("s3cretoption", "")
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_password_shows_in_no_text_form_of_the_database() -> None:
    database = database_for(TableName.parse(TABLE), "postgresql://u:s3cret@h/warehouse?sslpassword=s3cret2")
    assert isinstance(database, Database)
    assert "s3cret" not in f"{database} {database!r}"


@pytest.mark.parametrize("table", ["daily_metrics", 'warehouse.public.x"; DROP TABLE y', "warehouse.public.sqlite_x"])
def test_a_bad_table_name_touches_nothing(folder: Path, table: str) -> None:
    with pytest.raises(BadTableName):
        load(table, "run", batch(1).rows())
    with pytest.raises(BadTableName):
        landed(table, "run")
    assert not folder.exists()


def test_hostile_values_are_stored_and_not_executed() -> None:
    hostile = 'x\'); DROP TABLE "public.daily_metrics"; --'
    load(TABLE, hostile[:64], batch(3, hostile).rows())
    assert landed(TABLE, hostile[:64]).rows == 3


def test_a_file_that_is_no_database_is_said_to_be_so(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "warehouse.sqlite3").write_bytes(b"no database at all" * 100)
    for attempt in (lambda: load(TABLE, "run", batch(1).rows()), lambda: landed(TABLE, "run")):
        with pytest.raises(WarehouseError, match=r"warehouse\.sqlite3 refused: file is not a database\."):
            attempt()


def test_a_table_of_somebody_else_under_that_name_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "warehouse.sqlite3") as connection:
        connection.execute('CREATE TABLE "public.daily_metrics" (theirs TEXT)')
        connection.execute("INSERT INTO \"public.daily_metrics\" VALUES ('precious')")
    with pytest.raises(WarehouseError, match="no such column"):
        load(TABLE, "run", batch(1).rows())
    with sqlite3.connect(folder / "warehouse.sqlite3") as connection:
        assert connection.execute('SELECT * FROM "public.daily_metrics"').fetchall() == [("precious",)]


def test_a_folder_that_cannot_be_made_is_one_sentence(folder: Path) -> None:
    folder.parent.write_text("a file where the folder should be")
    with pytest.raises(WarehouseError, match="cannot be used: Not a directory"):
        load(TABLE, "run", batch(1).rows())


def test_the_acceptance_check_gives_the_facts_of_a_run_that_landed() -> None:
    load(TABLE, "run", batch(100).rows())
    details = rows_landed("run", {"source_url": None})
    assert (details["table"], details["rows"], details["records"]) == (TABLE, 100, 100)
    load("warehouse.test.metrics", "run", batch(20).rows())
    assert rows_landed("run", {"batch_size": 20, "target_table": "warehouse.test.metrics"})["rows"] == 20


@pytest.mark.parametrize("present", [0, 99, 101])
def test_the_acceptance_check_refuses_missing_and_surplus_rows(present: int) -> None:
    load(TABLE, "run", batch(present).rows())
    with pytest.raises(RowsMissing, match=f"was to land 100 rows, but the table {TABLE} .* has {present} of it"):
        rows_landed("run", {"batch_size": 100})


def test_the_acceptance_check_refuses_doubled_rows(folder: Path) -> None:
    load(TABLE, "run", batch(5).rows())
    with sqlite3.connect(folder / "warehouse.sqlite3") as connection:
        connection.execute('ALTER TABLE "public.daily_metrics" RENAME TO old')
        connection.execute('CREATE TABLE "public.daily_metrics" AS SELECT * FROM old UNION ALL SELECT * FROM old')
    with pytest.raises(RowsMissing, match="10 rows but 5 records"):
        rows_landed("run", {"batch_size": 10})


def test_the_acceptance_check_needs_no_prefect() -> None:
    code = "import sys, blueprint.pipeline.checks; print('prefect' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
