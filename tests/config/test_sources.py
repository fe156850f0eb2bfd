"""Files are read within bounds, and every change of one is told by the digest."""

from pathlib import Path

import pytest

from gateway.config.sources import digest, read_all, read_bounded
from gateway.errors import GatewayError


def test_digest_tells_files_apart() -> None:
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})
    assert digest({"a": b"12"}) != digest({"a": b"1", "2": b""})


def test_file_that_is_gone_counts_as_empty_in_a_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")

    found = read_all([tmp_path / "a", tmp_path / "gone"])

    assert list(found.values()) == [b"1", b""]


def test_unreadable_and_huge_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="can't be read: No such file") as caught:
        read_bounded(tmp_path / "gone")
    assert caught.value.code == "config.unreadable"

    (tmp_path / "long").write_bytes(b"1234")
    with pytest.raises(GatewayError) as caught:
        read_bounded(tmp_path / "long", bytes_max=3)
    assert caught.value.code == "config.too_large"
