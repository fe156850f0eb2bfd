"""Heads are written anew; end-to-end fields keep order, case and duplicates."""

from gateway.http.field_lines import Field
from gateway.http.fields import HOP_BY_HOP
from gateway.http.forwarding import (
    ClientOrigin,
    origin_lines,
    request_head,
    response_head,
)


def test_request_head_keeps_order_case_and_duplicates() -> None:
    pairs = [(b"X-B", b"1"), (b"Connection", b"close"), (b"x-a", b"2"), (b"X-B", b"3")]
    fields = [Field(name, name.lower(), value) for name, value in pairs]

    head = request_head(b"GET / HTTP/1.1", fields, HOP_BY_HOP, b"Via: 1.1 gw\r\n")

    assert head == b"GET / HTTP/1.1\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nVia: 1.1 gw\r\n\r\n"


def test_response_head_keeps_an_unusual_reason() -> None:
    assert response_head(200, b"Fine", [], HOP_BY_HOP, b"") == b"HTTP/1.1 200 Fine\r\n\r\n"
    assert response_head(200, b"OK", [], HOP_BY_HOP, b"") == b"HTTP/1.1 200 OK\r\n\r\n"
    assert response_head(599, b"", [], HOP_BY_HOP, b"") == b"HTTP/1.1 599 \r\n\r\n"


def test_origin_lines_quote_what_needs_it() -> None:
    origin = ClientOrigin("2001:db8::1", b"2001:db8::1", b'"[2001:db8::1]"', b"https")

    assert origin_lines(origin, b"api.example:8080", b"gw") == (
        b"Via: 1.1 gw\r\nX-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: api.example:8080\r\n"
        b'Forwarded: for="[2001:db8::1]";host="api.example:8080";proto=https\r\n'
    )
