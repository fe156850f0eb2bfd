"""Standard streams that take every character; closed ones are filled (see test_every_command)."""

import io
import sys

import pytest

from gateway.cli import streams


def test_what_an_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("stdout", "stderr")}
    for name, stream in kept.items():
        monkeypatch.setattr(sys, name, stream)

    streams.prepare()

    for stream in kept.values():
        stream.write("₩\udce9")
        stream.flush()
        assert stream.buffer.getvalue() == b"\\u20a9\\udce9"  # type: ignore[attr-defined]


def test_a_closed_stdout_stays_closed_and_stderr_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    streams.prepare()

    assert sys.stdout is None
    assert sys.stderr.fileno() == 2


def test_an_encoding_is_that_of_the_stream() -> None:
    assert streams.encoding_of(io.TextIOWrapper(io.BytesIO(), encoding="latin-1")) == "latin-1"
    assert streams.encoding_of(io.StringIO()) == "utf-8"
    assert streams.encoding_of(None) == "utf-8"


def test_a_stream_without_a_descriptor_is_left_alone() -> None:
    streams.forget(io.StringIO())
