"""``python -m conformance.fuzz.targets TARGET [options]``: look for inputs that break a rule.

Each target is a function of bytes that raises if a rule is broken: what the gateway takes is read
alike by h11, in every cut; no path means two things; no error but the refusals leaves a parser.
"""

import os
import sys
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

os.environ["GATEWAY_COMPILED"] = "no"

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from gateway.errors import Refusal
    from gateway.http.chunks import BrokenChunks, ChunkDecoder
    from gateway.http.field_lines import Field
    from gateway.http.paths import AmbiguousPath, canonical
    from gateway.proxy.answer import whole_answer
    from gateway.proxy.exchange import ClientSide, Exchange
    from gateway.proxy.head import read_head
    from gateway.proxy.incoming import IncomingHead

import h11
import httptools

from conformance.fuzz.world import World

WORLD = World()
RELAY_SEED = b"\x05\x00"
"""Where the request is cut, and how many bytes of the answer come first (none: a good one)."""
_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class BrokenRuleError(Exception):
    """What must never be."""


class _NoClient(ClientSide):
    """The side of a client of which nothing is asked while a head is read."""

    def story_failed(self, error: BaseException) -> None:
        raise error

    def exchange_finished(self, exchange: Exchange) -> None:
        raise BrokenRuleError(f"{exchange} ended in its head")

    def has_departed(self) -> bool:
        return False

    def start_tunnel(self, upstream: object, opening: object) -> None:
        raise BrokenRuleError(f"a tunnel began in a head: {upstream}, {opening}")

    def break_off(self, *, by_reset: bool) -> None:
        raise BrokenRuleError(f"an answer broke off in a head: {by_reset}")

    def is_ending(self) -> bool:
        return False

    def date_line(self) -> bytes:
        return b""

    def origin_lines(self, origin: object, host: bytes, via: bytes) -> bytes:
        del origin, host, via
        return b""


def _require(rule: bool, what: str) -> None:  # noqa: FBT001 - an assertion that -O keeps
    if not rule:
        raise BrokenRuleError(what)


def _pieces(data: bytes, cut: int) -> list[bytes]:
    """Return data in two pieces, the first of so many bytes."""
    cut %= len(data) + 1
    return [piece for piece in (data[:cut], data[cut:]) if piece]


def _head_of(pieces: list[bytes]) -> tuple[Exchange, IncomingHead] | None:
    """Return what is read of a head in pieces; None if it is refused or not whole."""
    reader = IncomingHead()
    try:
        for piece in pieces:
            if reader.feed(piece, 0, WORLD.active) >= 0:
                break
        else:
            return None
    except Refusal:
        return None
    exchange = Exchange(_NoClient(WORLD.loop))
    exchange.method, exchange.http_minor = reader.method, reader.http_minor
    exchange.fields, exchange.special = reader.fields, reader.special
    read_head(exchange, reader.target, WORLD.active.snapshot)
    return None if exchange.refusal is not None else (exchange, reader)


def _pairs_of(reader: IncomingHead) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in reader.fields]


def _comparable(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return fields without the differences that are meant.

    The gateway drops underscored names; h11 writes transfer codings in lower case.
    """
    return [
        (name, value.lower() if name.lower() == b"transfer-encoding" else value)
        for name, value in fields
        if b"_" not in name
    ]


def heads(data: bytes) -> None:
    """A head that is taken is the same in every cut, and h11 reads the same in it."""
    if not data:
        return
    cut, data = data[0], data[1:]
    read = _head_of([data])
    again = _head_of(_pieces(data, cut))
    _require((read is None) is (again is None), "a cut changes whether a head is taken")
    if read is None or again is None:
        return
    exchange, reader = read
    pairs = _pairs_of(reader)
    _require(pairs == _pairs_of(again[1]), "a cut changes the fields")
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    begun = data.lstrip(b"\r\n")  # h11 knows no empty lines before a request
    judge.receive_data(begun[: begun.index(b"\r\n\r\n") + 4])
    event = judge.next_event()
    if not isinstance(event, h11.Request):
        raise BrokenRuleError(f"h11 reads {event}")
    _require(event.method == reader.method, "the method is another")
    _require(event.target == reader.target, "the target is another")
    _require(_comparable(event.headers.raw_items()) == _comparable(pairs), "other fields")
    lengths = [int(value) for name, value in event.headers if name == b"content-length"]
    _require(sum(lengths) == exchange.content_length, "the length is another")
    chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
    _require(chunked is exchange.is_chunked, "the framing is another")


def paths(data: bytes) -> None:
    """A canonical path has one spelling, whatever else is decoded and resolved behind it."""
    try:
        path, _ = canonical(data)
    except AmbiguousPath:
        return
    decoded = unquote_to_bytes(path)
    segments = decoded[1:].split(b"/")
    _require(canonical(path) == (path, 0), "it is not canonical")
    _require(not {b".", b".."} & set(segments), "a dot segment is left")
    _require(b"" not in segments[:-1], "an empty segment is left")
    _require(unquote_to_bytes(decoded) == decoded, "it can be decoded twice")
    _require(not set(b"\\;\0\r\n") & set(decoded), "it holds what two read in two ways")
    _require(path.count(b"/") == decoded.count(b"/"), "it hides a slash")


def _chunks(pieces: list[bytes]) -> tuple[bytes, object, int] | None:
    decoder, taken = ChunkDecoder(4096, 16), 0
    found: list[bytes] = []
    try:
        for piece in pieces:
            taken += decoder.feed(piece, 0, found)
            if decoder.is_complete:
                return b"".join(found), decoder.trailers, taken
    except BrokenChunks:
        pass
    return None


def chunks(data: bytes) -> None:
    """A body that is taken is the same in every cut, and h11 ends it at the same byte."""
    if not data:
        return
    cut, data = data[0], data[1:]
    read = _chunks([data])
    _require(read == _chunks(_pieces(data, cut)), "a cut changes the body")
    if read is None:
        return
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    judge.receive_data(_HEAD + data)
    body = b""
    while not isinstance(event := judge.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        elif not isinstance(event, h11.Request):
            raise BrokenRuleError(f"h11 reads {event}")
    rest = judge.trailing_data[0]
    _require((body, event.headers.raw_items()) == read[:2], "h11 reads another body")
    _require(len(rest) == len(data) - read[2], "h11 ends it elsewhere")


def relay(data: bytes) -> None:
    """Whatever a client and a service send, the other side gets HTTP, as h11 reads it."""
    if len(data) < len(RELAY_SEED):
        return
    cut, answer_bytes, data = data[0], data[1], data[2:]
    WORLD.play(_pieces(data[answer_bytes:], cut), data[:answer_bytes])


class _AnswerJudge:
    """One answer, as llhttp reads it."""

    def __init__(self, data: bytes) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.keeps_alive = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.keeps_alive = self.parser.should_keep_alive()


_USUAL: list[Field] = []
"""Of all inputs' answers: what one says must not change how another is read."""


def answers(data: bytes) -> None:
    """An answer that needs no parser is the same to llhttp."""
    answer = whole_answer(data, _USUAL)
    if answer is None:
        return
    judge = _AnswerJudge(data)
    _require(answer.status == judge.parser.get_status_code(), "the status is another")
    pairs = [(field.name, field.value) for field in answer.fields]
    _require(pairs == judge.pairs, "the fields are others")
    _require(b"".join(answer.chunks) == judge.body, "the body is another")
    _require(judge.keeps_alive, "the connection ends, or the answer does not")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "heads": heads,
    "paths": paths,
    "chunks": chunks,
    "relay": relay,
    "answers": answers,
}


def main() -> None:
    """Fuzz the target that the first argument names."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
