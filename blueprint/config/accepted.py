"""What each setting accepts, in words, and how texts of a user are shown in errors.

Standard library only: a misspelt key or a secret among the arguments is refused before anything is installed.
"""

from __future__ import annotations

SECRETS = ("api_auth_string", "warehouse_url")  # never in arguments, logs, records
RENAMED = {"database_url": "warehouse_url"}  # former name: the name now

# What a table of `deployments` may set; all else is of the platform, which is one for all of them.
OF_DEPLOYMENT = (
    *("deployment", "entrypoint", "source", "parameters", "tags", "concurrency_limit"),
    *("cron", "interval", "rrule", "timezone", "tasks", "check", "acceptance", "run_seconds"),
)

_PORT = "a whole number from 1 to 65535"
_RUNS = "a whole number from 1 to 1000000"
_PARAMETERS = "a table (JSON object) of the flow's parameters"
_NAME = "1 to 200 printable characters without / % & < >"

ACCEPTED = {
    "entrypoint": "path/to/file.py:flow_function or package.module.flow_function",
    "source": "a folder, relative to the project's",
    "deployment": _NAME,
    "deploy_with": "deploy (a work pool and a worker) or serve (flow.serve)",
    "parameters": _PARAMETERS,
    "tags": f"a list of texts, each of {_NAME}",
    "concurrency_limit": _RUNS,
    "cron": "a cron expression of five fields such as '0 9 * * *', or @daily and the like",
    "interval": "seconds between two runs, from 1 to 3153600000",
    "rrule": "an iCalendar recurrence rule such as FREQ=DAILY;BYHOUR=9",
    "timezone": "an IANA time zone such as America/Chicago",
    "pool": _NAME,
    "pool_concurrency_limit": _RUNS,
    "host": "an IP address or localhost",
    "port": _PORT,
    "public_url": "an http(s) address without user, password, query or fragment",
    "worker_port": f"{_PORT}; the one after port if not given",
    "source_port": f"{_PORT}; the second after port if not given",
    "api_auth_string": "user:password, printable and without spaces, in BLUEPRINT_API_AUTH_STRING",
    "data_source": '"bundled" or an http(s) address',
    "warehouse_url": "a URL such as postgresql://user:password@host/warehouse, in BLUEPRINT_WAREHOUSE_URL",
    "requirements": 'a list of requirements such as ["pandas>=2"]',
    "tasks": "a table: for each task of the flow retries (0 or more), retry_delay_seconds (0 or more) and tags",
    "check": "module:function",
    "acceptance": (
        "a table with overrides, json_parameters, retried, failing (tables of parameters), "
        "failing_policy (retries, retry_delay_seconds) and refused (a list of tables)"
    ),
    "run_seconds": "seconds that a run of the flow takes, from 0 to 604800",
    "sqlite_locking": "true or false",
    "warm_start": "true or false",
    "jobs": "a whole number from 1 to 30",
    "deployments": f"a list of tables, each with a deployment (its name), and any of {', '.join(OF_DEPLOYMENT[1:])}",
}


def shown(text: object, most: int = 60) -> str:
    """A user's text as an error shows it: one line, without control characters, and not longer than `most`."""
    short = str(text)[: most + 1]
    plain = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in short)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
