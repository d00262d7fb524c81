from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blueprint.cli.options import COMMANDS, Options, parse
from blueprint.config.keys import KEYS as SETTING_KEYS
from blueprint.core.errors import UsageError
from tests.support.garbage import KEYS, TEXTS, see_that_it_is_proper

FLAGS = (
    "--phase",
    "--resume-from",
    "--resume",
    "--deploy-with",
    "--port",
    "--jobs",
    "--set",
    "--version",
    "--help",
    "-h",
)
WORDS = st.one_of(
    st.sampled_from(
        (*FLAGS, *FLAGS, *COMMANDS, "--", "-", "all", "1", "2", "3", "4", "14", "31", "serve", "deploy", "--res")
    ),
    TEXTS,
    st.tuples(st.sampled_from(FLAGS), TEXTS).map("=".join),
    st.tuples(KEYS, TEXTS).map("=".join),
)


def answered(argv: list[str]) -> Options | None:
    """What is understood; None if it was refused properly, or was a question for help that was answered."""
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            return parse(argv)
        except UsageError as error:
            see_that_it_is_proper(error)
        except SystemExit as ended:
            assert ended.code == 0  # noqa: PT017
            assert shown.getvalue()
    return None


@given(argv=st.lists(WORDS, max_size=5))
@example(argv=["--port", "5200", "init"])
@example(argv=["--phase", "1", "test"])
@example(argv=["--jobs", "9" * 5000])
@example(argv=["--resume-from", "٣"])
@example(argv=["--set", "\ud800=1"])
@example(argv=["--resume\x1b[2J"])
@settings(max_examples=1500, deadline=None)
def test_no_words_on_the_command_line_end_in_a_traceback(argv: list[str]) -> None:
    found = answered(argv)
    if found is None:
        return
    assert found.command in COMMANDS
    assert found.argv == tuple(argv)
    assert found.phase in (None, 1, 2, 3)
    assert found.resume_from is None or 1 <= found.resume_from <= 30
    assert sum((found.phase is not None, found.resume, found.resume_from is not None)) <= 1
    assert all(one.partition("=")[0].strip().replace("-", "_") in SETTING_KEYS for one in found.settings)
    assert found.command not in ("init", "test") or argv[0] == found.command, "it would run without what it needs"


def refusal(*argv: str) -> str:
    with pytest.raises(UsageError) as raised:
        parse(argv)
    assert raised.value.exit_code == 2
    return str(raised.value)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("--resume-from 31", ("--resume-from", "31", "1 to 30")),
        ("--resume-from 0", ("--resume-from", "1 to 30")),
        ("--resume-from -1", ("--resume-from",)),
        ("--resume-from x", ("--resume-from", "1 to 30")),
        ("--resume-from 14 --phase 1", ("--resume-from", "--phase", "Give one of them")),
        ("--resume --phase all", ("--resume", "--phase", "Give one of them")),
        ("--resume --resume-from 3", ("--resume", "--resume-from", "Give one of them")),
        ("--phase 4", ("--phase", "4", "'all', '1', '2', '3'")),
        ("--phase", ("--phase",)),
        ("--port 70000", ("--port", "70000", "1 to 65535")),
        ("--port x", ("--port", "1 to 65535")),
        ("--jobs 31", ("--jobs", "1 to 30")),
        ("--deploy-with yaml", ("--deploy-with", "yaml", "'deploy', 'serve'")),
        ("--set", ("--set",)),
        ("--set port", ("--set port", "KEY=VALUE")),
        ("--set unknown=1", ("unknown", "timezone")),
        ("--res", ("--res",)),
        ("frobnicate", ("frobnicate", "verify")),
        ("stop --phase 1", ("--phase", "stop")),
        ("verify --resume", ("--resume", "verify")),
        ("plan --password", ("--password", "verify")),
        ("--deep", ("--deep", "verify")),
    ],
)
def test_whoever_mistypes_reads_what_was_wrong_and_what_is_accepted(line: str, names: tuple[str, ...]) -> None:
    text = refusal(*line.split())
    assert [name for name in names if name not in text] == [], text


@pytest.mark.parametrize(
    "argument",
    [
        "warehouse_url=postgresql://u:planted@host/db",
        "database-url=postgresql://u:planted@host/db",
        "api_auth_string=user:planted",
        "API_AUTH_STRING=user:planted",
        "api_auth_strings=user:planted",
    ],
)
def test_a_secret_among_the_arguments_is_refused_at_once_and_not_told(argument: str) -> None:
    assert "planted" not in refusal("--set", argument)


def test_arguments_mean_what_the_help_says() -> None:
    assert parse([]) == Options("run", ())
    assert parse(["--phase", "all"]).phase is None
    assert parse(["--phase", "2"]).phase == 2
    assert parse(["--resume-from", "14"]).resume_from == 14
    assert parse(["plan", "--resume"]) == Options("plan", ("plan", "--resume"), resume=True)
    assert parse(["--port", "5200", "--set", "cron=@daily"]).settings == ("cron=@daily", "port=5200")
    assert parse(["verify", "--password"]).password
    assert parse(["verify", "--deep"]).deep
    assert parse(["test", "-k", "x", "--help"]).rest == ("-k", "x", "--help")


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in shown] == []


@pytest.mark.parametrize("option", ["--resume-from", "--port", "--jobs", "--set", "--phase", "--deploy-with"])
def test_an_option_whose_value_is_two_dashes_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=option):
        parse([f"{option}=--"])
