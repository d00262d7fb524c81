"""The warehouse on a real PostgreSQL: exactly once under kills and races, and its password never shown."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from blueprint.pipeline.checks import rows_landed
from blueprint.pipeline.errors import WarehouseError
from blueprint.pipeline.warehouse import landed, load
from tests.support.loader import KILL_POINTS
from tests.support.postgres import Postgres, running_postgres
from tests.support.rows import batch

PROJECT = Path(__file__).resolve().parents[2]
LOADER = PROJECT / "tests" / "support" / "loader.py"
TABLE = "warehouse.public.daily_metrics"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture
def postgres(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """The server with an empty database, configured as a user does it."""
    with server.connect() as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS test CASCADE")
    monkeypatch.setenv("PIPELINE_DATABASE_URL", server.url())
    return server


def _loader(postgres: Postgres, rows: int, prefix: str, point: str) -> subprocess.Popen[str]:
    argv = [sys.executable, str(LOADER), postgres.url(), TABLE, "run", str(rows), prefix, point]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_rows_are_where_the_table_name_says_with_their_types(postgres: Postgres) -> None:
    load(TABLE, "run", batch(90).rows())
    load("warehouse.test.metrics", "run", batch(7).rows())
    with postgres.connect() as connection:
        row = connection.execute(
            "SELECT count(*), min(metric_date)::text, min(observed_at AT TIME ZONE 'UTC')::text, sum(value) "
            "FROM public.daily_metrics WHERE flow_run_id = 'run'"
        ).fetchone()
        assert row == (90, "2025-03-09", "2025-03-09 23:59:00", 4005.0)
    found = landed(TABLE, "run")
    assert (found.rows, found.records, found.metrics) == (90, 90, 7)
    assert found.first_observed == "2025-03-09T23:59:00+00:00"
    assert landed("warehouse.test.metrics", "run").rows == 7
    assert landed(TABLE, "none").rows == landed("warehouse.other.none", "run").rows == 0
    assert rows_landed("run", {"batch_size": 90})["rows"] == 90


@pytest.mark.parametrize("point", KILL_POINTS)
@pytest.mark.parametrize("earlier", [0, 30])
def test_killed_at_any_point_of_the_load_no_row_is_lost_or_doubled(
    postgres: Postgres, point: str, earlier: int
) -> None:
    load(TABLE, "other run", batch(10).rows())
    if earlier:
        load(TABLE, "run", batch(earlier, "earlier").rows())
    process = _loader(postgres, 4500, "killed", point)
    _output, errors = process.communicate(timeout=60)
    assert process.returncode == -9, errors
    load(TABLE, "run", batch(4500, "again").rows())
    found = landed(TABLE, "run")
    assert (found.rows, found.records) == (4500, 4500)
    assert landed(TABLE, "other run").rows == 10


def test_two_loads_of_one_run_at_the_same_time_land_its_rows_once(postgres: Postgres) -> None:
    # Other record ids in each: the key alone would let both in.
    processes = [_loader(postgres, 5000, prefix, "never") for prefix in ("x", "y", "z")]
    for process in processes:
        _output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    found = landed(TABLE, "run")
    assert (found.rows, found.records) == (5000, 5000)


def test_first_loads_at_the_same_time_make_schema_and_table_once(postgres: Postgres) -> None:
    tables = [f"warehouse.test.t{n % 3}" for n in range(24)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: load(tables[n], f"run-{n}", batch(50).rows()), range(24)))
    assert [landed(tables[n], f"run-{n}", url=postgres.url()).rows for n in range(24)] == [50] * 24


def test_a_user_who_may_not_create_can_load_into_a_table_that_is_there(postgres: Postgres) -> None:
    load(TABLE, "first", batch(1).rows())
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS loader")
        connection.execute("CREATE ROLE loader LOGIN PASSWORD 'limited'")
        connection.execute("GRANT SELECT, INSERT, DELETE ON public.daily_metrics TO loader")
        connection.execute("GRANT USAGE ON SCHEMA public TO loader")
    try:
        url = f"postgresql://loader:limited@127.0.0.1:{postgres.port}/warehouse"
        load(TABLE, "second", batch(5).rows(), url=url)
        assert landed(TABLE, "second", url=url).rows == 5
        with pytest.raises(WarehouseError, match="permission denied"):
            load("warehouse.forbidden.t", "run", batch(5).rows(), url=url)
    finally:
        with postgres.connect() as connection:
            connection.execute("DROP OWNED BY loader; DROP ROLE loader")


def test_the_tables_database_must_be_the_one_that_the_url_leads_to(postgres: Postgres) -> None:
    with pytest.raises(WarehouseError, match="in the database 'elsewhere', but PIPELINE_DATABASE_URL leads to 'ware"):
        load("elsewhere.public.daily_metrics", "run", batch(1).rows())
    with pytest.raises(WarehouseError, match='database "elsewhere" does not exist'):
        load("elsewhere.public.daily_metrics", "run", batch(1).rows(), url=postgres.url(database="elsewhere"))


@pytest.mark.usefixtures("postgres")
@pytest.mark.parametrize("table", ["daily_metrics", 'warehouse.public.x"; DROP TABLE daily_metrics; --'])
def test_a_bad_table_name_reaches_no_database(table: str) -> None:
    load(TABLE, "run", batch(1).rows())
    with pytest.raises(ValueError, match="is not a table name"):
        load(table, "run", batch(1).rows())
    assert landed(TABLE, "run").rows == 1


def test_a_wrong_password_is_one_sentence_that_does_not_show_it(postgres: Postgres) -> None:
    with pytest.raises(WarehouseError) as refused:
        load(TABLE, "run", batch(1).rows(), url=postgres.url(password="wr0ng-s3cret"))
    text = str(refused.value)
    assert "password authentication failed" in text
    assert "wr0ng-s3cret" not in text
    assert "\n" not in text


def test_a_server_that_stops_during_the_load_is_an_error_and_lands_nothing(postgres: Postgres) -> None:
    load(TABLE, "run", batch(3).rows())

    def rows_then_cut() -> Iterator[object]:
        yield from batch(2500, "new").rows()
        with postgres.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        yield from batch(10, "more").rows()

    with pytest.raises(WarehouseError, match="refused: "):
        load(TABLE, "run", rows_then_cut())  # type: ignore[arg-type]
    assert landed(TABLE, "run").rows == 3


def test_a_load_waits_for_another_load_of_its_run_instead_of_failing(postgres: Postgres) -> None:
    load(TABLE, "run", batch(3).rows())
    with psycopg.connect(postgres.url()) as other:
        other.execute("UPDATE public.daily_metrics SET unit = 'x' WHERE flow_run_id = 'run'")
        timer = threading.Timer(0.5, other.commit)
        timer.start()
        load(TABLE, "run", batch(5, "later").rows())
        timer.join()
    assert landed(TABLE, "run").rows == 5
