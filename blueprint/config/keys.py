"""The settings' keys: what each means, what it accepts, and who may set it.

Standard library only: an unknown key, or a secret among the arguments, is refused before Pydantic is installed. The
model in `blueprint.config.settings` takes its help texts from here, and so does docs/settings.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """One setting."""

    help: str  # its meaning, as a noun phrase
    accepted: str  # the values it takes, in words
    default: str = ""  # in words, where the model computes it
    is_text: bool = False  # a variable or an argument gives the text itself, not JSON
    is_secret: bool = False  # it is kept out of arguments, logs and records


_PORT = "a whole number from 1 to 65535"
_RUNS = "a whole number from 1 to 1000000"
_NAME = "1 to 200 printable characters without / % & < >"
_SWITCH = "true or false"

_DEPLOYMENT_KEYS = {  # a table of `deployments` may set these
    "deployment": Key("the deployment's name", _NAME, is_text=True),
    "entrypoint": Key("the flow", "path/to/file.py:flow_function or package.module.flow_function", is_text=True),
    "source": Key("the folder that the flow's code runs from", "a folder, relative to the project's", is_text=True),
    "parameters": Key("the deployment's default parameters", "a table (JSON object) of the flow's parameters"),
    "tags": Key("tags of the deployment and its runs", f"a list of texts, each of {_NAME}"),
    "concurrency_limit": Key("how many runs of the deployment are allowed at a time", _RUNS),
    "cron": Key(
        "a schedule as a cron expression",
        "a cron expression of five fields such as '0 9 * * *', or @daily and the like",
        is_text=True,
    ),
    "interval": Key("a schedule as the time between two runs", "seconds between two runs, from 1 to 3153600000"),
    "rrule": Key(
        "a schedule as an iCalendar rule", "an iCalendar recurrence rule such as FREQ=DAILY;BYHOUR=9", is_text=True
    ),
    "timezone": Key("the schedule's time zone", "an IANA time zone such as America/Chicago", is_text=True),
    "tasks": Key(
        "retries, delay and tags that task 7 must find on the flow's tasks",
        "a table: for each task of the flow retries (0 or more), retry_delay_seconds (0 or more) and tags",
    ),
    "check": Key(
        "a function, called with a run's id and parameters, that proves the run's effect",
        "module:function",
        is_text=True,
    ),
    "acceptance": Key(
        "the cases that tasks 23, 24 and 28 run; one that is not given is skipped",
        "a table with overrides, json_parameters, retried, failing (tables of parameters), "
        "failing_policy (retries, retry_delay_seconds) and refused (a list of tables)",
    ),
    "run_seconds": Key(
        "how long a run takes, if it is long: tasks that wait for runs get that much more time",
        "seconds that a run of the flow takes, from 0 to 604800",
    ),
}
_PLATFORM_KEYS = {
    "deployments": Key(
        "further deployments, each a table of its own",
        "a list of tables, each with a deployment (its name) and any other key that belongs to a deployment",
    ),
    "deploy_with": Key(
        "how the flow is deployed: to a work pool with a worker, or by flow.serve", "deploy or serve", is_text=True
    ),
    "pool": Key("the work pool's name", _NAME, is_text=True),
    "pool_concurrency_limit": Key("how many runs the pool allows at a time", _RUNS),
    "host": Key(
        "the address that the server listens on; one that others can reach needs a password",
        "an IP address or localhost",
        is_text=True,
    ),
    "port": Key("the server's port", _PORT),
    "worker_port": Key("the port of the worker's health server", _PORT, default="port + 1"),
    "source_port": Key("the port of the bundled data source", _PORT, default="port + 2"),
    "public_url": Key(
        "the address at which browsers reach the server, behind a proxy the proxy's; the UI is told it",
        "an http(s) address without user, password, query or fragment",
        default="http://HOST:PORT; for host 0.0.0.0 or :: HOST is this machine's host name",
        is_text=True,
    ),
    "allowed_origins": Key(
        'further addresses by which the server is known, or whose pages may use its API; "*" lets every page',
        'a list of http(s) addresses without a path, or ["*"]',
    ),
    "auth": Key(
        "the password that the API and the UI ask for; `generated` makes one, which `verify --password` shows",
        "none, generated or given (in api_auth_string)",
        default="given with api_auth_string; else generated if others can log in on this machine, else none",
        is_text=True,
    ),
    "api_auth_string": Key(
        "the user and password that the API and the UI ask for",
        "user:password, printable and without spaces, in BLUEPRINT_API_AUTH_STRING",
        is_text=True,
        is_secret=True,
    ),
    "data_source": Key("the address that the flow reads from", '"bundled" or an http(s) address', is_text=True),
    "warehouse_url": Key(
        "the warehouse's database",
        "a URL such as postgresql://user:password@host/warehouse, in BLUEPRINT_WAREHOUSE_URL",
        default="SQLite in .blueprint/warehouse",
        is_text=True,
        is_secret=True,
    ),
    "requirements": Key(
        "further packages that the flow needs; the locked ones keep their versions",
        'a list of requirements such as ["pandas>=2"]',
    ),
    "requirements_lock": Key(
        "the lock file that pins these packages with their hashes, which are checked then",
        "a file, relative to the project's folder",
        is_text=True,
    ),
    "keep_variables": Key(
        "variables of the shell that server, worker and flows are to have; others of these beginnings they do not get",
        "a list of names that begin with PREFECT_, PIP_ or UV_, and say nothing of addresses, folders or passwords",
    ),
    "sqlite_locking": Key(
        "whether the server's SQLite transactions wait for locks instead of failing; PostgreSQL does not need it",
        _SWITCH,
    ),
    "warm_start": Key(
        "whether the worker starts runs from a process that has imported Prefect already (Linux only)", _SWITCH
    ),
    "jobs": Key("how many tasks run at a time; 1 runs them strictly in order", "a whole number from 1 to 30"),
}
RENAMED = {"database_url": "warehouse_url"}  # former name: the name now

KEYS = _DEPLOYMENT_KEYS | _PLATFORM_KEYS
OF_DEPLOYMENT = tuple(_DEPLOYMENT_KEYS)
SECRETS = tuple(name for name, key in KEYS.items() if key.is_secret)
