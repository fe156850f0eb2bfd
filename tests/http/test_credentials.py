"""B2: X-API-Key or Bearer; two different keys are a mistake, not a choice."""

import pytest

from gateway.errors import Refusal, RefusalCode
from gateway.http.credentials import SECRET_BYTES_MAX, only_place, read_key

PLACES = ((b"authorization", True), (b"x-api-key", False))


@pytest.mark.parametrize(
    "special",
    [
        {b"authorization": [b"Bearer k1"]},
        {b"authorization": [b"bearer   k1 "]},
        {b"x-api-key": [b" k1"]},
        {b"authorization": [b"Bearer k1"], b"x-api-key": [b"k1"]},
        {b"authorization": [b"Basic abc"], b"x-api-key": [b"k1"]},
    ],
)
def test_key_is_found_in_either_place(special: dict[bytes, list[bytes]]) -> None:
    assert read_key(PLACES, special) == b"k1"


@pytest.mark.parametrize(
    ("special", "code"),
    [
        ({}, RefusalCode.KEY_MISSING),
        ({b"authorization": [b"Basic abc"]}, RefusalCode.KEY_MISSING),
        ({b"authorization": [b"Bearer "]}, RefusalCode.KEY_MISSING),
        ({b"x-api-key": [b""]}, RefusalCode.KEY_MISSING),
        ({b"authorization": [b"Bearer k1"], b"x-api-key": [b"k2"]}, RefusalCode.KEY_AMBIGUOUS),
        ({b"x-api-key": [b"k1", b"k2"]}, RefusalCode.KEY_AMBIGUOUS),
        ({b"x-api-key": [b"k" * (SECRET_BYTES_MAX + 1)]}, RefusalCode.KEY_INVALID),
    ],
)
def test_anything_else_is_refused(special: dict[bytes, list[bytes]], code: RefusalCode) -> None:
    with pytest.raises(Refusal) as caught:
        read_key(PLACES, special)

    assert caught.value.code is code


@pytest.mark.parametrize(
    ("special", "name"),
    [
        ({b"authorization": [b"Bearer k1"]}, b"authorization"),
        ({b"x-api-key": [b" k1"], b"host": [b"a", b"b"]}, b"x-api-key"),
        ({}, None),
        ({b"x-api-key": [b"k1", b"k1"]}, None),
        ({b"authorization": [b"Basic abc"], b"x-api-key": [b"k1"]}, None),
    ],
)
def test_the_only_place_is_told_if_there_is_one(
    special: dict[bytes, list[bytes]], name: bytes | None
) -> None:
    place = only_place(PLACES, special)

    assert (place and place[0]) == name
    assert place is None or place in PLACES
