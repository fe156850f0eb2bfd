"""What a parsed head means: target, host, framing, wishes. Pure; a bad one becomes a refusal.

Source: RFC 9112 2.2, 3.2, 6; RFC 9110 7.2, 10.1.1; STANDARDS 4.1 and 4.2.
"""

import re
from typing import Final

from gateway.config.snapshot import Snapshot
from gateway.errors import Refusal, RefusalCode
from gateway.http.fields import decimal, has_token
from gateway.http.hosts import canonical_host
from gateway.http.methods import REFUSED, USUAL
from gateway.http.paths import TARGET, AmbiguousPath, canonical, is_plain
from gateway.proxy.exchange import Exchange
from gateway.proxy.incoming import bad

_CODING: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@\-]{1,128}")


def read_head(exchange: Exchange, target: bytes, snapshot: Snapshot) -> None:
    """Fill an exchange from its target and fields; mistakes go into ``exchange.refusal``."""
    _name(exchange)
    try:
        _read_framing(exchange)
        _read_target(exchange, target, snapshot)
        _read_wishes(exchange)
    except Refusal as refusal:
        exchange.refusal = refusal
        exchange.keep_alive = False
        exchange.lingers = True


def look_again(exchange: Exchange, special_names: frozenset[bytes]) -> None:
    """Find the fields that a configuration looks at which is in force only since the head began."""
    special: dict[bytes, list[bytes]] = {}
    for field in exchange.fields:
        if field.key in special_names:
            special.setdefault(field.key, []).append(field.value)
    exchange.special = special
    exchange.special_names = special_names


def _name(exchange: Exchange) -> None:
    """Give the request its id before anything can be wrong with it: refusals carry it too."""
    given = exchange.special.get(b"x-request-id")
    if given is not None and len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        exchange.request_id = given[0].decode("ascii")
    else:
        exchange.request_id = exchange.event_id


def _read_framing(exchange: Exchange) -> None:
    special = exchange.special
    lengths = special.get(b"content-length")
    codings = special.get(b"transfer-encoding")
    if lengths is not None:
        if codings is not None or len(lengths) > 1:
            raise bad("The framing of the body is ambiguous.")
        length = lengths[0]
        # Leading zeros are allowed, but some would read them as octal (STANDARDS 4.2).
        if not length.isdigit() or (length[:1] == b"0" and len(length) > 1):
            raise bad("Content-Length is not a number.")
        exchange.content_length = decimal(length)
        exchange.has_body = exchange.content_length > 0
    elif codings is not None:
        if exchange.http_minor == 0:
            raise bad("The framing of the body is ambiguous.")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise _coding_refused(codings)
        exchange.is_chunked = exchange.has_body = True


def _coding_refused(lines: list[bytes]) -> Refusal:
    """Return the refusal of transfer codings: unknown or ambiguous (RFC 9112 6.1, 6.3).

    Several lines are one list (RFC 9110 5.3). An empty member makes it ambiguous: llhttp refuses an
    empty line too.
    """
    listed = [coding.strip(b" \t").lower() for line in lines for coding in line.split(b",")]
    known_end = listed[-1] == b"chunked" and b"chunked" not in listed[:-1]
    if known_end and all(_CODING.fullmatch(coding) for coding in listed):
        return Refusal(
            RefusalCode.NOT_IMPLEMENTED,
            detail="Of the transfer codings only chunked is understood.",
        )
    return bad("The framing of the body is ambiguous.")


def _read_host(exchange: Exchange) -> bytes:
    """Return the host that is asked for in its canonical form; empty if HTTP/1.0 names none."""
    hosts = exchange.special.get(b"host")
    if hosts is None:
        if exchange.http_minor == 1:
            raise bad("A request has exactly one Host field.")
        return b""
    if len(hosts) > 1:
        raise bad("A request has exactly one Host field.")
    host, client = hosts[0], exchange.client
    if host and host == client.known_host:
        return client.canonical_host
    canonical = canonical_host(host)
    if canonical is None:
        raise bad("The Host field is malformed.")
    client.known_host = host
    client.canonical_host = canonical
    return canonical


def _read_target(exchange: Exchange, target: bytes, snapshot: Snapshot) -> None:
    host = _read_host(exchange)
    if exchange.method in REFUSED:
        raise Refusal(RefusalCode.METHOD_NOT_ALLOWED, allow=b", ".join(USUAL))
    if len(target) > snapshot.limits.target_bytes_max:
        raise Refusal(RefusalCode.TARGET_TOO_LONG)
    if is_plain(target):
        exchange.host, exchange.path = host, target
        return
    if not TARGET.fullmatch(target):
        raise bad("The request target holds a character that it can't.")
    if target[:1] != b"/":
        host, target = _other_form(exchange.method, host, target)
    exchange.host = host
    path, mark, exchange.query = target.partition(b"?")
    exchange.has_query = bool(mark)
    if path == b"*":
        exchange.path = path
        return
    try:
        exchange.path, exchange.spelling = canonical(path)
    except AmbiguousPath as error:
        raise bad(f"The path is ambiguous: {error}.") from error


def _other_form(method: bytes, field: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Return host and origin-form of an absolute-form or asterisk-form target (RFC 9112 3.2).

    Args:
        method: As sent.
        field: The host that ``Host`` names.
        target: In neither origin-form nor authority-form.
    """
    if target == b"*" and method == b"OPTIONS":
        return field, target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in {b"http", b"https"}:
        raise bad("The form of the request target is not allowed here.")
    cut = min((rest.find(mark) for mark in (b"/", b"?") if mark in rest), default=len(rest))
    authority, target = rest[:cut], rest[cut:]
    host = canonical_host(authority)
    if host is None:
        raise bad("The authority of the request target is malformed.")
    return host, target if target[:1] == b"/" else b"/" + target


def _read_wishes(exchange: Exchange) -> None:
    special = exchange.special
    if exchange.method == b"OPTIONS":
        forwards = special.get(b"max-forwards")
        if forwards is not None and len(forwards) == 1 and forwards[0].isdigit():
            exchange.forwards_left = int(forwards[0][:9])
    expect = special.get(b"expect")
    if expect is not None and exchange.http_minor == 1:
        if len(expect) > 1 or expect[0].strip().lower() != b"100-continue":
            raise Refusal(RefusalCode.EXPECTATION_FAILED)
        exchange.expects_continue = exchange.has_body
    upgrade = special.get(b"upgrade")
    if upgrade is not None and exchange.http_minor == 1:
        exchange.wants_upgrade = (
            exchange.method == b"GET"
            and not exchange.has_body
            and has_token(upgrade, b"websocket")
            and has_token(special.get(b"connection", []), b"upgrade")
        )
        if exchange.wants_upgrade:
            exchange.keep_alive = False  # refused, what follows may be no HTTP any more
