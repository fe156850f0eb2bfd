"""Heads are written anew; end-to-end fields keep order, case and duplicates."""

from ipaddress import ip_network

import pytest

from gateway.http.field_lines import Field
from gateway.http.fields import HOP_BY_HOP
from gateway.http.forwarding import (
    ClientOrigin,
    address_of,
    origin_lines,
    origin_of,
    request_head,
    response_head,
)

TRUSTED = (ip_network("10.0.0.0/8"),)


def test_request_head_keeps_order_case_and_duplicates() -> None:
    pairs = [(b"X-B", b"1"), (b"Connection", b"close"), (b"x-a", b"2"), (b"X-B", b"3")]
    fields = [Field(name, name.lower(), value) for name, value in pairs]

    head = request_head(b"GET / HTTP/1.1", fields, HOP_BY_HOP, b"Via: 1.1 gw\r\n")

    assert head == b"GET / HTTP/1.1\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nVia: 1.1 gw\r\n\r\n"


def test_response_head_keeps_an_unusual_reason() -> None:
    assert response_head(200, b"Fine", [], HOP_BY_HOP, b"") == b"HTTP/1.1 200 Fine\r\n\r\n"
    assert response_head(200, b"OK", [], HOP_BY_HOP, b"") == b"HTTP/1.1 200 OK\r\n\r\n"
    assert response_head(599, b"", [], HOP_BY_HOP, b"") == b"HTTP/1.1 599 \r\n\r\n"


@pytest.mark.parametrize(
    ("peer", "claims", "client", "chain"),
    [
        ("192.0.2.9", [b"1.2.3.4"], "192.0.2.9", b"192.0.2.9"),
        ("10.0.0.1", [b"1.2.3.4"], "1.2.3.4", b"1.2.3.4, 10.0.0.1"),
        ("10.0.0.1", [b"9.9.9.9, 1.2.3.4, 10.0.0.7"], "1.2.3.4",
         b"9.9.9.9, 1.2.3.4, 10.0.0.7, 10.0.0.1"),
        ("10.0.0.1", [b"junk"], "10.0.0.1", b"junk, 10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1", b"10.0.0.1"),
    ],
)  # fmt: skip
def test_client_is_the_right_most_address_that_is_not_a_trusted_proxy(
    peer: str, claims: list[bytes], client: str, chain: bytes
) -> None:
    """1.16: a spoofed X-Forwarded-For of an untrusted peer is ignored."""
    origin = origin_of(peer, b"http", claims, TRUSTED)

    assert origin.address == client
    assert origin.forwarded_for == chain


def test_origin_lines_quote_what_needs_it() -> None:
    origin = ClientOrigin("2001:db8::1", b"2001:db8::1", b'"[2001:db8::1]"', b"https")

    assert origin_lines(origin, b"api.example:8080", b"gw") == (
        b"Via: 1.1 gw\r\nX-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: api.example:8080\r\n"
        b'Forwarded: for="[2001:db8::1]";host="api.example:8080";proto=https\r\n'
    )


@pytest.mark.parametrize(
    ("peername", "address"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        ("", "unix"),
        (None, "unix"),
    ],
)
def test_the_other_end_has_an_address(peername: object, address: str) -> None:
    assert address_of(peername) == address
