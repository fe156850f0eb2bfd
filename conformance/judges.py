"""Seven parsers of origin servers read the same bytes; run by the Python that has them all.

Reads lines of JSON, each a string of Latin-1, and answers each with a line of JSON: by judge, the
requests that it sees as ``[method, target, body]``, and ``"?"`` behind them where it gives up.
"""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import h11
import httptools
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParserPy
from cheroot import server as cheroot
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from twisted.internet.testing import StringTransport
from twisted.web.http import HTTPChannel, Request
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

Seen = list[list[str]]
GAVE_UP = ["?"]


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode("latin-1")


def by_h11(data: bytes) -> Iterator[list[str]]:
    """Yield what is seen by h11, of hypercorn and uvicorn."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    request: list[str] = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            request = [_text(event.method), _text(event.target), ""]
        elif isinstance(event, h11.Data):
            request[2] += _text(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            yield request
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()
        else:
            return


def by_llhttp(data: bytes) -> Iterator[list[str]]:
    """Yield what is seen by llhttp, of Node and uvicorn."""
    seen: list[list[str]] = []

    class Events:
        def __init__(self) -> None:
            self.begun = ["", "", ""]

        def on_message_begin(self) -> None:
            self.begun = ["", "", ""]

        def on_url(self, url: bytes) -> None:
            self.begun[1] += _text(url)

        def on_headers_complete(self) -> None:
            self.begun[0] = _text(parser.get_method())

        def on_body(self, body: bytes) -> None:
            self.begun[2] += _text(body)

        def on_message_complete(self) -> None:
            seen.append(self.begun)

    parser = httptools.HttpRequestParser(Events())
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        seen.append(GAVE_UP)
    yield from seen


def by_aiohttp(data: bytes) -> Iterator[list[str]]:
    """Yield what is seen by aiohttp's own parser in Python."""
    loop = asyncio.get_event_loop()
    parser = HttpRequestParserPy(BaseProtocol(loop), loop, 1 << 16)
    messages, _, _ = parser.feed_data(data)
    for message, payload in messages:
        if not payload.is_eof():
            return
        body = payload.read_nowait() if hasattr(payload, "read_nowait") else b""
        yield [message.method, message.path, _text(body)]


def by_gunicorn(data: bytes) -> Iterator[list[str]]:
    """Yield what is seen by gunicorn."""
    config = Config()
    config.set("limit_request_line", 8190)
    parser = RequestParser(config, iter([data]), ("127.0.0.1", 1))
    for request in parser:
        body = request.body.read()
        yield [request.method, request.uri, _text(body)]


def by_waitress(data: bytes) -> Iterator[list[str]]:
    """Yield what is seen by waitress."""
    while data:
        parser = HTTPRequestParser(Adjustments())
        while data and not parser.completed:
            taken = parser.received(data)
            data = data[taken:]
        if parser.error is not None:
            yield GAVE_UP
            return
        if not parser.completed:
            return
        if parser.empty:
            continue
        stream = parser.get_body_stream()
        target = parser.first_line.split(b" ")[1]
        yield [parser.command, _text(target), _text(stream.read())]


class _CherootServer:
    max_request_header_size = 1 << 20
    max_request_body_size = 1 << 20
    protocol = "HTTP/1.1"
    version = "judge"
    ssl_adapter = None
    expect_100 = False


def by_cheroot(data: bytes) -> Iterator[list[str]]:
    """Yield what is seen by cheroot, of CherryPy."""

    class Connection:
        rfile = io.BufferedReader(io.BytesIO(data))
        wfile = io.BytesIO()

    while Connection.rfile.peek(1):
        request = cheroot.HTTPRequest(_CherootServer(), Connection(), proxy_mode=False)
        request.parse_request()
        if not request.ready:
            yield GAVE_UP
            return
        if request.chunked_read:
            rfile: Any = cheroot.ChunkedRFile(Connection.rfile, 1 << 20)
        else:
            length = int(request.inheaders.get(b"Content-Length", 0))
            rfile = cheroot.KnownLengthRFile(Connection.rfile, length)
        body = rfile.read()
        if request.chunked_read:
            list(rfile.read_trailer_lines())
        yield [_text(request.method), _text(request.uri), _text(body)]


def by_twisted(data: bytes) -> Iterator[list[str]]:
    """Yield what is seen by Twisted."""
    seen: list[list[str]] = []

    class Recorded(Request):  # type: ignore[misc]  # untyped where it is not installed
        def process(self) -> None:
            seen.append([_text(self.method), _text(self.uri), _text(self.content.read())])
            self.setHeader(b"content-length", b"0")
            self.finish()

    channel = HTTPChannel()
    channel.requestFactory = Recorded
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(data)
    if b"400 Bad" in transport.value() or transport.disconnecting:
        bad = b"400 Bad" in transport.value()
        yield from [*seen, GAVE_UP] if bad else seen
        return
    yield from seen


JUDGES: dict[str, Callable[[bytes], Iterator[list[str]]]] = {
    "h11": by_h11,
    "llhttp": by_llhttp,
    "aiohttp": by_aiohttp,
    "gunicorn": by_gunicorn,
    "waitress": by_waitress,
    "cheroot": by_cheroot,
    "twisted": by_twisted,
}


def verdict(judge: Callable[[bytes], Iterator[list[str]]], data: bytes) -> Seen:
    """Return what a judge sees."""
    seen: Seen = []
    try:
        for request in judge(data):
            seen.append(request)
    except StopIteration:
        pass
    except Exception:  # noqa: BLE001 - each parser has errors of its own; all mean that it gave up
        seen.append(GAVE_UP)
    return seen


def main() -> None:
    """Judge every line."""
    logging.disable(logging.CRITICAL)
    asyncio.set_event_loop(asyncio.new_event_loop())
    for line in sys.stdin:
        data = json.loads(line).encode("latin-1")
        sys.stdout.write(json.dumps({name: verdict(judge, data) for name, judge in JUDGES.items()}))
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
