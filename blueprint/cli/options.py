"""The command line and its options. Standard library only."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from blueprint import __version__
from blueprint.config.excerpt import excerpt
from blueprint.config.sources import setting
from blueprint.core.errors import UsageError

COMMANDS = {
    "run": "set the platform up and prove it (the default)",
    "plan": "show the 30 tasks, what each needs and proves, and what a run would do now",
    "verify": "check quickly that server, worker, UI and deployment are up; exit 0 only if all are",
    "stop": "stop what Blueprint started, and only that",
    "init": "write [tool.blueprint] into pyproject.toml from a flow of your own: init path/to/file.py:flow",
    "test": "set up and run the project's tests; what follows is given to pytest",
}
_SET_HELP = "any other key of [tool.blueprint] in pyproject.toml; may be repeated"
_EPILOG = """\
commands:
{commands}

examples:
  python run_blueprint.py --phase all          everything, tasks 1 to 30
  python run_blueprint.py --phase 2            one phase; what it needs from before is checked first
  python run_blueprint.py --resume-from 14     tasks 14 to 30
  python run_blueprint.py --resume             go on from the first task that did not pass
  python run_blueprint.py --port 5200          another port (worker and data source use the next two)
  python run_blueprint.py plan --resume-from 14
  python run_blueprint.py init flows/etl.py:etl --set 'cron=0 6 * * *'

exit codes: 0 all that was asked is proven, 1 a task failed, 2 wrong usage or configuration, 3 a bug in Blueprint,
4 the environment refuses (port, lock, disk, Python), 130 and 143 interrupted"""


@dataclass(frozen=True)
class Options:
    """A parsed command line; `rest` and `target` are the arguments of `test` and `init`."""

    command: str
    argv: tuple[str, ...]
    phase: int | None = None
    resume: bool = False
    resume_from: int | None = None
    settings: tuple[str, ...] = ()  # `key=value` for each
    rest: tuple[str, ...] = ()
    target: str = ""
    force: bool = False
    password: bool = False
    deep: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        text = excerpt(message, 300)
        raise UsageError(f"{text[:1].upper()}{text[1:]}.", "See `python run_blueprint.py --help`.")


def _number(first: int, last: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not first <= int(text) <= last:
            raise argparse.ArgumentTypeError(f"{excerpt(text)} is not a whole number from {first} to {last}")
        return int(text)

    return number


def _parsed(parser: _Parser, argv: Sequence[str]) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """Parse the words, and return the settings that they give beside the rest."""
    parser.add_argument("--port", type=_number(1, 65535), metavar="N", help="the server's port, 4200 by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=_SET_HELP)
    found = parser.parse_args(list(argv))
    for name, value in vars(found).items():  # argparse takes `--port=--` for an option without a value: a list
        if (value == [] and name != "set") or (isinstance(value, list) and [] in value):
            parser.error(f"argument --{name.replace('_', '-')}: expected one argument")
    for argument in found.set:
        setting(argument)
    given = {key: getattr(found, key, None) for key in ("deploy_with", "port", "jobs")}
    return found, (*found.set, *(f"{key}={value}" for key, value in given.items() if value is not None))


def _parser() -> _Parser:
    commands = "\n".join(f"  {name:<8} {text}" for name, text in COMMANDS.items())
    parser = _Parser(
        prog="run_blueprint.py",
        description="From a fresh machine to a running and proven self-hosted Prefect 3 platform.",
        epilog=_EPILOG.format(commands=commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", nargs="?", metavar="command", choices=COMMANDS, default="run", help="see below")
    parser.add_argument("--phase", choices=("all", "1", "2", "3"), help="run one phase, or all (the default)")
    parser.add_argument("--resume-from", type=_number(1, 30), metavar="N", help="run the tasks from N (1 to 30) on")
    parser.add_argument("--resume", action="store_true", help="go on from the first task that did not pass")
    parser.add_argument(
        "--deploy-with", choices=("deploy", "serve"), help="with work pool and worker (the default), or with flow.serve"
    )
    parser.add_argument(
        "--jobs", type=_number(1, 30), metavar="N", help="tasks at a time, 8 by default; 1 runs them strictly in order"
    )
    parser.add_argument("--password", action="store_true", help="with verify: show the password that the UI asks for")
    parser.add_argument("--deep", action="store_true", help="with verify: read every file of the installed packages")
    parser.add_argument("--version", action="version", version=f"Blueprint {__version__}")
    return parser


def _parse_init(argv: Sequence[str]) -> Options:
    parser = _Parser(prog="run_blueprint.py init", description=f"Init: {COMMANDS['init']}.", allow_abbrev=False)
    parser.add_argument("flow", help="path/to/file.py:flow_function or package.module.flow_function")
    parser.add_argument("--force", action="store_true", help="replace a [tool.blueprint] that is there")
    found, settings = _parsed(parser, argv[1:])
    return Options("init", tuple(argv), settings=settings, target=found.flow, force=found.force)


def parse(argv: Sequence[str]) -> Options:
    """Parse the words after the program's name.

    Raises:
        UsageError: They cannot be understood, or contradict each other.
        SystemExit: `--help` or `--version` was asked for and has been answered.
    """
    if argv and argv[0] == "test":
        return Options("test", tuple(argv), rest=tuple(argv[1:]))
    if argv and argv[0] == "init":
        return _parse_init(argv)
    found, settings = _parsed(_parser(), argv)
    given = {"--phase": found.phase, "--resume-from": found.resume_from, "--resume": found.resume or None}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} contradict each other.", "Give one of them.")
    if found.command in ("init", "test"):
        raise UsageError(f"`{found.command}` must be the first argument.", "Its own arguments follow it.")
    if chosen and found.command in ("verify", "stop"):
        raise UsageError(f"`{found.command}` does not accept {chosen[0]}.", "Leave it out.")
    for name in ("password", "deep"):
        if getattr(found, name) and found.command != "verify":
            raise UsageError(f"`{found.command}` does not accept --{name}.", "Give it to `verify`.")
    return Options(
        command=found.command,
        argv=tuple(argv),
        phase=int(found.phase) if found.phase in ("1", "2", "3") else None,
        resume=found.resume,
        resume_from=found.resume_from,
        settings=settings,
        password=found.password,
        deep=found.deep,
    )
