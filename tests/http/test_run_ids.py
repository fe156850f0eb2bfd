"""A run id is one rule, whoever applies it."""

import pytest

from gateway.errors import Refusal, RefusalCode
from gateway.http.run_ids import (
    RUN_ID_BYTES_MAX,
    checked_run_id,
    run_id_of_fields,
    run_id_of_json,
    unquote,
)


def test_only_whole_quotes_are_taken_off() -> None:
    assert unquote(b'"a') == b'"a'
    assert unquote(b'"a\\\\"') == b"a\\"


def test_a_field_names_one_run_or_none() -> None:
    assert run_id_of_fields([]) is None
    assert run_id_of_fields([b' "a" ']) == b"a"
    with pytest.raises(Refusal):
        run_id_of_fields([b"a", b"a"])


@pytest.mark.parametrize("value", [b"", b"x" * (RUN_ID_BYTES_MAX + 1), "é".encode(), b"a\tb"])
def test_what_is_no_run_id_is_refused_even_where_none_is_required(value: bytes) -> None:
    with pytest.raises(Refusal):
        checked_run_id(value, required=False)


def test_none_is_refused_where_one_is_required() -> None:
    assert checked_run_id(None, required=False) is None
    with pytest.raises(Refusal):
        checked_run_id(None, required=True)


@pytest.mark.parametrize(
    ("member", "expected"), [("a", b"a"), ("", b""), (12345, b"12345"), (-1, b"-1"), (None, None)]
)
def test_a_member_of_a_body_names_a_run_by_text_or_integer(
    member: object, expected: bytes | None
) -> None:
    assert run_id_of_json(member) == expected


@pytest.mark.parametrize("member", [True, False, 1.0, 1e300, [], ["a"], {}, {"id": "a"}])
def test_any_other_member_is_refused_not_passed_over(member: object) -> None:
    """Else each retry of the run would be billed."""
    with pytest.raises(Refusal) as caught:
        run_id_of_json(member)

    assert caught.value.code is RefusalCode.BAD_REQUEST
