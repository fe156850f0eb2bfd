"""A small file is as it was written, or it is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.sealed_file import replace_file, sealed, unsealed

VALUES: dict[str, object] = {"v": 1, "name": "x", "numbers": [1, 2, None]}


def test_it_is_an_object_for_readers_that_know_nothing_of_the_checksum() -> None:
    assert {**VALUES, "crc": json.loads(sealed(VALUES))["crc"]} == json.loads(sealed(VALUES))
    assert unsealed(sealed(VALUES)).items() >= VALUES.items()


@given(st.integers(0, len(sealed(VALUES)) - 1), st.integers(0, 7))
def test_whatever_bit_is_flipped_it_is_refused(at: int, bit: int) -> None:
    content = bytearray(sealed(VALUES))
    content[at] ^= 1 << bit
    with pytest.raises(ValueError, match="checksum"):
        unsealed(bytes(content))


@pytest.mark.parametrize("content", [b"", b"{}", b"null", sealed(VALUES)[:-1], sealed(VALUES) * 2])
def test_what_is_cut_or_doubled_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="checksum"):
        unsealed(content)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    replace_file(tmp_path, "note", b"one")
    replace_file(tmp_path, "note", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("note", b"two")]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path, "folder", b"three")
