"""The pipeline as a plain script: `python blueprint/pipeline/data_pipeline.py [--batch-size N] ...`.

Runs the flow once in this process, against the Prefect server that the project's settings name. Prints one JSON object
as its last line: `{"flow_run_id": ..., "state": ..., "rows": ..., "table": ...}`.

Exit codes: 0 Completed · 1 not Completed · 2 wrong arguments · 4 Prefect is not installed in this Python ·
130 interrupted. Standard library only until the arguments are known to be good.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2]
_NO_PREFECT = (
    "Prefect is not installed in this Python ({python}): use {venv}, "
    "or run `python run_blueprint.py --phase 1` first, which makes it."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow once and return the exit code; the module's docstring lists them."""
    arguments = _parser().parse_args(argv)
    if importlib.util.find_spec("prefect") is None:
        venv = _PROJECT / ".venv" / "bin" / "python"
        print(_NO_PREFECT.format(python=sys.executable, venv=venv), file=sys.stderr)
        return 4
    # Prefect reads the project's settings (prefect.toml) from the current folder only, and keeps its own files in
    # PREFECT_HOME: the platform's, never the user's ~/.prefect.
    os.chdir(_PROJECT)
    os.environ.setdefault("PREFECT_HOME", str(_PROJECT / ".blueprint" / "prefect"))
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001  the script's error boundary: one sentence for whatever went wrong
        print(f"The pipeline did not run: {_sentence(error)}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    from prefect import tags

    from blueprint.pipeline.data_pipeline import PipelineResult, enterprise_data_pipeline

    with _source(arguments.source_url) as source_url, tags(*arguments.tag):
        state = enterprise_data_pipeline(
            source_url=source_url,
            batch_size=arguments.batch_size,
            target_table=arguments.target_table,
            return_state=True,
        )
    result = state.result(raise_on_failure=False)
    rows = result.rows if isinstance(result, PipelineResult) else 0
    report = {
        "flow_run_id": str(state.state_details.flow_run_id),
        "state": state.name,
        "rows": rows,
        "table": arguments.target_table,
    }
    if not state.is_completed():
        reason = result if isinstance(result, Exception) else state.message or "no reason given"
        print(f"The pipeline ended {state.name}: {_sentence(reason)}", file=sys.stderr)
    print(json.dumps(report), flush=True)
    return 0 if state.is_completed() else 1


@contextlib.contextmanager
def _source(given: str | None) -> Iterator[str | None]:
    """Yield the address to fetch from; serve the bundled metrics API meanwhile if none is given."""
    from blueprint.pipeline.config import SOURCE_URL_VARIABLE

    if given or os.environ.get(SOURCE_URL_VARIABLE):
        yield given
        return
    from blueprint.pipeline.metrics_server import serve_metrics

    with serve_metrics() as url:
        yield url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="data_pipeline.py", description="Run the pipeline once and print what it landed."
    )
    parser.add_argument(
        "--batch-size", type=_batch_size, default=100, help="records to fetch, at least 1 (default 100)"
    )
    parser.add_argument(
        "--source-url",
        help="JSON API (default: $PIPELINE_SOURCE_URL, or else the bundled metrics API, served meanwhile)",
    )
    parser.add_argument(
        "--target-table",
        type=_table,
        default="warehouse.public.daily_metrics",
        help="database.schema.table (default %(default)s)",
    )
    parser.add_argument("--tag", action="append", default=[], help="a tag for the flow run; may be repeated")
    return parser


def _batch_size(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:8]) <= 1_000_000 and len(text) <= 8:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")


def _table(text: str) -> str:
    from blueprint.pipeline.table_name import BadTableName, TableName

    try:
        return str(TableName.parse(text))
    except BadTableName as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _sentence(reason: object) -> str:
    text = " ".join(str(reason).split())
    return text[:500] or type(reason).__name__
