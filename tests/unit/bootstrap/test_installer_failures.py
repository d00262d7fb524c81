"""What installers say is turned into the right advice, and no password is passed on."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.bootstrap.failures import Cause, cause_of, telling_line, without_secrets

UV_CONFLICT = """Using Python 3.11.7 environment at: v2
error: No solution found when resolving dependencies
  cause: Because you require fastapi==0.100.0 and fastapi==0.143.0, we can conclude that your requirements are unsatisfiable.
"""  # noqa: E501
UV_OLDER_CONFLICT = """  × No solution found when resolving dependencies:
  ╰─▶ Because you require tenacity==99 and tenacity==9.2.1, we can conclude that your requirements are unsatisfiable.
"""  # noqa: RUF001
UV_UNKNOWN = """error: No solution found when resolving dependencies
  cause: Because nosuch was not found in the package registry and you require nosuch, we can conclude that your \
requirements are unsatisfiable.
"""
UV_UNREACHABLE = """error: Request failed after 3 retries
  Caused by: Failed to fetch: `http://127.0.0.1:9/simple/prefect/`
  Caused by: error sending request for url (http://127.0.0.1:9/simple/prefect/)
  Caused by: client error (Connect)
  Caused by: tcp connect error
  Caused by: Connection refused (os error 111)
"""
UV_FULL = """error: Failed to install: prefect-3.8.8-py3-none-any.whl (prefect==3.8.8)
  Caused by: failed to copy file from /c/x to /v/x: No space left on device (os error 28)
"""
UV_WRAPPED = """error: Failed to install: alpha-1.2.0-py3-none-any.whl (alpha==1.2.0)
  cause: failed to create directory
         `/c/site-packages/alpha`: Read-only
         file system (os error 30)
"""
PIP_UNREACHABLE = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("HTTPConnection(\
host='127.0.0.1', port=9): Failed to establish a new connection: [Errno 111] Connection refused")': /simple/prefect/
ERROR: Could not find a version that satisfies the requirement prefect==3.8.8 (from versions: none)
ERROR: No matching distribution found for prefect==3.8.8
"""
PIP_CONFLICT = """ERROR: Cannot install tenacity==99 because these package versions have conflicting dependencies.

The conflict is caused by:
    The user requested tenacity==99
    The user requested (constraint) tenacity==9.2.1

Additionally, some packages in these conflicts have no matching distributions available for your environment:
    tenacity

ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics/dependency-resolution/
"""
PIP_UNKNOWN = "ERROR: No matching distribution found for nosuch\n"
PIP_FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
PIP_COMPILER = """  error: subprocess-exited-with-error

  × Building wheel for foo (pyproject.toml) did not run successfully.
  │ exit code: 1
  ╰─> [3 lines of output]
      running build_ext
      foo.c:1:10: fatal error: foo.h: No such file or directory
      error: command '/usr/bin/gcc' failed with exit code 1
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
error: failed-wheel-build-for-install
"""  # noqa: RUF001
UV_COMPILER = """error: Failed to build `foo==1.0`
  cause: The build backend returned an error
  cause: Call to `backend.build_wheel` failed (exit status: 1)

         [stdout]
         running build_ext

         [stderr]
         foo.c:1:10: fatal error: foo.h: No such file or directory
         error: command '/usr/bin/gcc' failed with exit code 1

hint: This error likely indicates that you need to install a library that provides `foo.h` for `foo@1.0`
"""
PIP_HASH = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (UV_CONFLICT, Cause.CONFLICT),
        (UV_OLDER_CONFLICT, Cause.CONFLICT),
        (UV_UNKNOWN, Cause.UNKNOWN_PACKAGE),
        (UV_UNREACHABLE, Cause.NETWORK),
        (UV_FULL, Cause.NO_ROOM),
        (UV_WRAPPED, Cause.PERMISSION),
        (PIP_UNREACHABLE, Cause.NETWORK),
        (PIP_CONFLICT, Cause.CONFLICT),
        (PIP_UNKNOWN, Cause.UNKNOWN_PACKAGE),
        (PIP_FULL, Cause.NO_ROOM),
        (PIP_HASH, Cause.HASH),
        ("error: something new", Cause.OTHER),
    ],
)
def test_each_failure_gets_the_advice_that_fits_it(output: str, cause: Cause) -> None:
    assert cause_of(output) is cause


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (UV_UNREACHABLE, "Connection refused (os error 111)"),
        (UV_OLDER_CONFLICT, "Because you require tenacity==99 and tenacity==9.2.1, we can conclude that your"),
        (PIP_UNREACHABLE, "'NewConnectionError(\"HTTPConnection(host='127.0.0.1', port=9): Failed to establish"),
        (UV_WRAPPED, "failed to create directory `/c/site-packages/alpha`: Read-only file system (os error 30)"),
        (PIP_UNKNOWN, "No matching distribution found for nosuch"),
        (PIP_COMPILER, "foo.c:1:10: fatal error: foo.h: No such file or directory"),
        (UV_COMPILER, "foo.c:1:10: fatal error: foo.h: No such file or directory"),
        ("\n\nthe last words\n", "the last words"),
        ("", "it said nothing"),
    ],
)
def test_the_user_sees_the_innermost_cause(output: str, line: str) -> None:
    assert telling_line(output).startswith(line)


@given(
    st.sampled_from(["https", "http", "git+ssh", "HTTPS"]),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters=":%-_.~!$&*+=;,"), min_size=1),
)
def test_no_login_in_an_address_is_passed_on(scheme: str, user: str, password: str) -> None:
    text = f"see {scheme}://{user}:{password}@mirror.example/simple and {scheme}://{password}@other.example/x"
    assert without_secrets(text) == f"see {scheme}://****@mirror.example/simple and {scheme}://****@other.example/x"


@pytest.mark.parametrize("password", ["pa/ss", "pa'ss", "pa@ss", "p@/'ss", "pa%2Fss"])
def test_the_configured_passwords_are_passed_on_in_no_form(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    index = f"https://user:{password}@mirror.example/simple?token=planted&x=1"
    monkeypatch.setenv("UV_INDEX", f"https://other.example {index}")
    told = without_secrets(
        f"`{index}`: invalid port in '{password}@mirror.example'; token planted; {unquote(password)}"
    )
    assert told == "`https://****@mirror.example/simple?token=****&x=1`: invalid port in '****@mirror.example'; " + (
        "token ****; ****"
    )


def test_what_is_no_address_stays_as_it_is() -> None:
    text = "mail me@example.org about https://mirror.example/simple/x@1.0"
    assert without_secrets(text) == text
