"""What a head means; what can't be understood is refused before anything else is looked at."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import load
from gateway.errors import RefusalCode
from gateway.proxy.exchange import ClientSide, Exchange
from gateway.proxy.head import read_head

ROOT = Path(__file__).parents[2]
SNAPSHOT = load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={}).snapshot


def head(target: bytes = b"/", method: bytes = b"GET", minor: int = 1, **fields: bytes) -> Exchange:
    exchange = Exchange(ClientSide(loop=None))  # type: ignore[arg-type]
    exchange.method, exchange.http_minor = method, minor
    exchange.event_id = "event-1"
    special: dict[bytes, list[bytes]] = {b"host": [b"api.example"]}
    for name, value in fields.items():
        special[name.replace("_", "-").encode()] = value.split(b"|")
    exchange.special = {name: values for name, values in special.items() if values != [b"-"]}
    read_head(exchange, target, SNAPSHOT)
    return exchange


@pytest.mark.parametrize(
    ("target", "host", "path", "query"),
    [
        (b"/a/b?c=d?e", b"api.example", b"/a/b", b"c=d?e"),
        (b"http://other.example/x?y", b"other.example", b"/x", b"y"),
        (b"http://other.example", b"other.example", b"/", b""),
        (b"/%61", b"api.example", b"/a", b""),
        (b"HTTP://A%21b!:/x", b"a%21b!", b"/x", b""),
        (b"http://[V1.A]:080?y", b"[v1.a]:80", b"/", b"y"),
    ],
)
def test_target_gives_host_path_and_query(
    target: bytes, host: bytes, path: bytes, query: bytes
) -> None:
    exchange = head(target)

    assert exchange.refusal is None
    assert (exchange.host, exchange.path, exchange.query) == (host, path, query)


def test_resolvable_spellings_are_left_to_the_route() -> None:
    assert head(b"/a/b").spelling == 0
    assert (head(b"//a/./b").path, head(b"//a/./b").spelling) == (b"/a/b", 3)


def test_asterisk_is_for_options() -> None:
    assert head(b"*", b"OPTIONS").refusal is None
    assert head(b"*").refusal is not None


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"host": b"-"}, RefusalCode.BAD_REQUEST),
        ({"host": b"a|b"}, RefusalCode.BAD_REQUEST),
        ({"host": b"a b"}, RefusalCode.BAD_REQUEST),
        ({"host": b"a/b"}, RefusalCode.BAD_REQUEST),
        ({"target": b"/a/../../b"}, RefusalCode.BAD_REQUEST),
        ({"target": b"/a%2fb"}, RefusalCode.BAD_REQUEST),
        ({"target": b"/a#b"}, RefusalCode.BAD_REQUEST),
        ({"target": b"ftp://x/"}, RefusalCode.BAD_REQUEST),
        ({"target": b"http://u@h/"}, RefusalCode.BAD_REQUEST),
        ({"target": b"/" + b"a" * 9000}, RefusalCode.TARGET_TOO_LONG),
        ({"method": b"CONNECT", "target": b"h:1"}, RefusalCode.METHOD_NOT_ALLOWED),
        ({"method": b"TRACE"}, RefusalCode.METHOD_NOT_ALLOWED),
        ({"content_length": b"5|5"}, RefusalCode.BAD_REQUEST),
        ({"content_length": b"+5"}, RefusalCode.BAD_REQUEST),
        ({"content_length": b"5", "transfer_encoding": b"chunked"}, RefusalCode.BAD_REQUEST),
        ({"target": b"http://[fe80::1%25eth0]/"}, RefusalCode.BAD_REQUEST),
        ({"target": b"http://a,b/"}, RefusalCode.BAD_REQUEST),
        ({"content_length": b"05"}, RefusalCode.BAD_REQUEST),
        ({"host": b""}, RefusalCode.BAD_REQUEST),
        ({"host": b"a,b"}, RefusalCode.BAD_REQUEST),
        ({"transfer_encoding": b"chunked", "minor": 0}, RefusalCode.BAD_REQUEST),
        ({"expect": b"200-maybe"}, RefusalCode.EXPECTATION_FAILED),
    ],
)
def test_what_is_ambiguous_is_refused_and_ends_the_connection(
    facts: dict[str, Any], code: RefusalCode
) -> None:
    exchange = head(**facts)

    assert exchange.refusal is not None
    assert exchange.refusal.code is code
    assert not exchange.keep_alive
    assert exchange.request_id == "event-1"


BAD, UNKNOWN = RefusalCode.BAD_REQUEST, RefusalCode.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    ("codings", "code"),
    [
        (b"chunked", None),
        (b"CHUNKED", None),
        (b"gzip, chunked", UNKNOWN),
        (b"deflate,Chunked", UNKNOWN),
        (b"identity\t,\tchunked", UNKNOWN),
        (b"br, gzip, chunked", UNKNOWN),
        (b"gzip", BAD),
        (b"identity", BAD),
        (b"chunked, gzip", BAD),
        (b"chunked, chunked", BAD),
        (b"chunked, gzip, chunked", BAD),
        (b"chunked;q=1", BAD),
        (b"gzip;q=1, chunked", BAD),
        (b"gzip, chunked;q=1", BAD),
        (b"gzip, , chunked", BAD),
        (b", chunked", BAD),
        (b"chunked,", BAD),
        (b"", BAD),
    ],
)
def test_codings_are_one_list_in_however_many_lines(
    codings: bytes, code: RefusalCode | None
) -> None:
    """RFC 9110 5.3: members of a list may stand in lines of their own."""
    members = codings.split(b",")
    ways = [codings, b"|".join(members)] + [
        b",".join(members[:at]) + b"|" + b",".join(members[at:]) for at in range(1, len(members))
    ]

    for way in ways:
        refusal = head(transfer_encoding=way).refusal
        assert (None if refusal is None else refusal.code) is code, way


def test_a_host_is_read_once_and_in_one_form() -> None:
    exchange = head(host=b"A%2Eb!:")

    assert exchange.host == b"a.b!"
    assert exchange.client.known_host == b"A%2Eb!:"
    again = Exchange(exchange.client)
    again.method, again.special = b"GET", {b"host": [b"A%2Eb!:"]}
    read_head(again, b"/", SNAPSHOT)
    assert again.host == b"a.b!"


def test_framing_and_wishes() -> None:
    assert head(content_length=b"5", expect=b"100-Continue").expects_continue
    assert not head(content_length=b"0", expect=b"100-continue").expects_continue
    assert head(transfer_encoding=b"Chunked").is_chunked
    assert head(upgrade=b"WebSocket", connection=b"keep-alive, Upgrade").wants_upgrade
    assert not head(upgrade=b"h2c", connection=b"Upgrade").wants_upgrade
    assert not head(upgrade=b"websocket", connection=b"Upgrade", minor=0).wants_upgrade


def test_request_id_of_the_client_is_kept_if_it_is_harmless() -> None:
    assert head(x_request_id=b"abc-1").request_id == "abc-1"
    assert head(x_request_id=b"a b\r\nx: y").request_id == "event-1"
    assert head().request_id == "event-1"
