"""What ``Connection`` names is removed, but it can't name away what policies rely on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.fields import decimal, has_token, nominated, trimmed, with_aliases


def test_nominated_fields_are_lower_cased_names() -> None:
    assert nominated([b"X-Drop, close", b"keep-alive ,,"]) == {b"x-drop", b"keep-alive"}


def test_fields_that_policies_rely_on_can_not_be_nominated() -> None:
    """Traefik CVE-2021-32813 and CVE-2024-45410."""
    assert nominated([b"X-Forwarded-For, Host, X-Api-Key, Authorization, Content-Length"]) == set()


def test_token_is_found_in_any_case_and_any_line() -> None:
    assert has_token([b"keep-alive", b"foo, Upgrade"], b"upgrade")
    assert not has_token([b"upgraded"], b"upgrade")


def test_aliases_are_all_spellings_that_a_wsgi_server_takes_for_the_same() -> None:
    assert with_aliases(frozenset({b"host", b"x-tenant-id"})) == {
        b"host", b"x-tenant-id", b"x_tenant-id", b"x-tenant_id", b"x_tenant_id",
    }  # fmt: skip


@given(st.integers(min_value=0, max_value=10**30), st.integers(min_value=0, max_value=3))
def test_decimal_reads_what_int_reads(number: int, zeros: int) -> None:
    assert decimal(b"0" * zeros + str(number).encode()) == number


@given(st.binary(max_size=20).filter(lambda digits: not digits.isdigit()))
def test_decimal_reads_nothing_but_digits(digits: bytes) -> None:
    with pytest.raises(ValueError, match="not a number"):
        decimal(digits)


@pytest.mark.parametrize("value", [b"", b" ", b"5", b"5 \t ", b" 5", b"5\n"])
def test_blanks_behind_a_value_are_no_part_of_it(value: bytes) -> None:
    assert trimmed(value) == value.rstrip(b" \t")
