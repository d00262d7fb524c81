"""The pipeline as a plain script: `python blueprint/pipeline/data_pipeline.py [--batch-size N] ...`.

Runs the flow once in this process, against the Prefect server that the environment or the current folder's prefect.toml
names. Prints one JSON object as its last line: `{"flow_run_id": ..., "state": ..., "rows": ..., "table": ...}`.

Exit codes: 0 Completed · 1 not Completed · 2 wrong arguments · 4 Prefect is not installed in this Python ·
130 interrupted. Standard library only until Prefect is known to be installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys

_NO_PREFECT = (
    f"Prefect is not installed in this Python ({sys.executable}): use .venv/bin/python of the project's folder, "
    "or run `python run_blueprint.py --phase 1` first, which makes it."
)


def main() -> int:
    """Run the flow once and return the exit code; the module's docstring lists them."""
    if importlib.util.find_spec("prefect") is None:
        print(_NO_PREFECT, file=sys.stderr)
        return 4
    arguments = _parser().parse_args()
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

    from blueprint.pipeline.config import SOURCE_URL_VARIABLE
    from blueprint.pipeline.data_pipeline import PipelineResult, enterprise_data_pipeline

    source_url = arguments.source_url
    with contextlib.ExitStack() as stack:
        if not source_url and not os.environ.get(SOURCE_URL_VARIABLE):
            from blueprint.pipeline.metrics_api import serve_metrics

            source_url = stack.enter_context(serve_metrics())
        stack.enter_context(tags(*arguments.tag))
        state = enterprise_data_pipeline(
            source_url=source_url,
            batch_size=arguments.batch_size,
            target_table=arguments.target_table,
            return_state=True,
        )
    result = state.result(raise_on_failure=False)
    report = {
        "flow_run_id": str(state.state_details.flow_run_id),
        "state": state.name,
        "rows": result.rows if isinstance(result, PipelineResult) else 0,
        "table": arguments.target_table,
    }
    if not state.is_completed():
        reason = result if isinstance(result, Exception) else state.message or "no reason given"
        print(f"The pipeline ended {state.name}: {_sentence(reason)}", file=sys.stderr)
    print(json.dumps(report), flush=True)
    return 0 if state.is_completed() else 1


def _parser() -> argparse.ArgumentParser:
    from blueprint.pipeline.config import DEFAULT_BATCH_SIZE, DEFAULT_TARGET_TABLE

    parser = argparse.ArgumentParser(
        prog="data_pipeline.py", description="Run the pipeline once and print what it landed."
    )
    parser.add_argument(
        "--batch-size",
        type=_batch_size,
        default=DEFAULT_BATCH_SIZE,
        help="records to fetch, at least 1 (default %(default)s)",
    )
    parser.add_argument(
        "--source-url",
        help="JSON API (default: $PIPELINE_SOURCE_URL, or else the bundled metrics API, served meanwhile)",
    )
    parser.add_argument(
        "--target-table",
        type=_table,
        default=DEFAULT_TARGET_TABLE,
        help="database.schema.table (default %(default)s)",
    )
    parser.add_argument("--tag", action="append", default=[], help="a tag for the flow run; may be repeated")
    return parser


def _batch_size(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 8 and 1 <= int(text) <= 1_000_000:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")


def _table(text: str) -> str:
    from blueprint.pipeline.table_name import BadTableName, TableName

    try:
        return str(TableName.parse(text))
    except BadTableName as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _sentence(reason: object) -> str:
    return " ".join(str(reason).split())[:500] or type(reason).__name__
