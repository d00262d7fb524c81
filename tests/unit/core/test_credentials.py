"""What would be taken for a secret in an address, or for none."""

from __future__ import annotations

import pytest

from blueprint.core.credentials import masked, passwords


@pytest.mark.parametrize(
    ("address", "found", "shown"),
    [
        ("https://user:pa/ss@host/x", {"pa/ss"}, "https://****@host/x"),
        ("https://user:p'a@ss@host/x", {"p'a@ss"}, "https://****@host/x"),
        ("https://user:p%40w@host/x", {"p%40w", "p@w"}, "https://****@host/x"),
        ("https://a-token@host/x", {"a-token"}, "https://****@host/x"),
        ("postgresql://u:pw@h/d", {"pw"}, "postgresql://****@h/d"),
        ("http://h/x?metric=load&api_key=one&sig=t+wo", {"one", "t+wo", "t wo"}, None),
        ("http://h/x?token=it's;all", {"it's;all"}, "http://h/x?token=****"),
        ("http://h:80/x?at=me@example.org", set(), "http://h:80/x?at=me@example.org"),
        ("http://h/x@1.0", set(), "http://h/x@1.0"),
        ("bundled", set(), "bundled"),
    ],
)
def test_the_secrets_of_an_address_are_found_and_masked(address: str, found: set[str], shown: str | None) -> None:
    assert passwords(address) == found
    assert (
        masked(f"see `{address}`: there") == f"see `{shown or 'http://h/x?metric=load&api_key=****&sig=****'}`: there"
    )
