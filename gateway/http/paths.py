"""One canonical path: what is matched is what is forwarded, so spelling can't evade a policy.

Decoding happens once, and only for unreserved characters. What two programs could read in two ways
(encoded slashes and backslashes, NUL, double encoding, bad UTF-8, ``;`` parameters) is refused; dot
segments and empty segments are resolved, and the route that is found then says whether it takes
paths that were spelled so.

Source: RFC 3986 6.2.2, RFC 9110 17; STANDARDS "Path normalisation"; design section 10.
"""

import re
from typing import Final

TARGET: Final = re.compile(rb"[!-\"$-~]*")
"""A request target holds visible ASCII and no fragment."""

_UNRESERVED: Final = rb"A-Za-z0-9\-._~"
_PLAIN: Final = re.compile(
    rb"(?:/(?!\.{1,2}(?:/|\Z))[" + _UNRESERVED + rb"!$&'()*+,=:@]+)+/?|/", re.ASCII
)
_ALLOWED: Final = re.compile(rb"[" + _UNRESERVED + rb"!$&'()*+,=:@%/]*", re.ASCII)
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED_BYTES: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_REFUSED_ESCAPES: Final = frozenset({0x2F, 0x5C, 0x7F, 0x3B, *range(0x20)})
"""Encoded slash, backslash, DEL, semicolon and controls."""


DOT_SEGMENTS: Final = 1
EMPTY_SEGMENTS: Final = 2
"""Spellings that were resolved; summed up."""


class AmbiguousPath(ValueError):  # noqa: N818 - it is the path that is at fault
    """The path can be read in two ways; the message says which."""


_KNOWN_MAX: Final = 1024
_KNOWN_BYTES_MAX: Final = 128
_known_plain: Final[set[bytes]] = set()
"""Targets that were found to be plain: services have few, and asking costs half a microsecond.
No more than 128 KB of them."""


def is_plain(target: bytes) -> bool:
    """Return whether a request target is a path that has but one spelling, without a query."""
    if target in _known_plain:
        return True
    if _PLAIN.fullmatch(target) is None:
        return False
    if len(target) <= _KNOWN_BYTES_MAX:
        if len(_known_plain) >= _KNOWN_MAX:
            _known_plain.clear()
        _known_plain.add(target)
    return True


def canonical(path: bytes) -> tuple[bytes, int]:
    """Return the one spelling of an origin-form path that is matched, logged and forwarded.

    With it, which resolvable spellings it had: a sum of ``DOT_SEGMENTS`` and ``EMPTY_SEGMENTS``.

    Args:
        path: The path without the query, starting with a slash.

    Raises:
        AmbiguousPath: the path could mean two resources.
    """
    if is_plain(path):
        return path, 0
    if not path.startswith(b"/") or not _ALLOWED.fullmatch(path):
        raise AmbiguousPath("a character that a path can't hold")
    decoded = _decode_unreserved(path)
    segments = decoded[1:].split(b"/")
    spelling = 0
    if b"" in segments[:-1]:
        spelling += EMPTY_SEGMENTS
        last = segments[-1]
        segments = [segment for segment in segments[:-1] if segment] + [last]
    if b"." in segments or b".." in segments:
        spelling += DOT_SEGMENTS
        segments = _resolve(segments)
    return b"/" + b"/".join(segments), spelling


def require_spelling(spelling: int, *, resolve: bool, merge_slashes: bool) -> None:
    """Refuse what ``canonical`` resolved and nobody allowed.

    Args:
        spelling: What it had.
        resolve: Whether dot segments may be resolved.
        merge_slashes: Whether empty segments may be merged.

    Raises:
        AmbiguousPath: something else was.
    """
    if spelling & DOT_SEGMENTS and not resolve:
        raise AmbiguousPath("a dot segment")
    if spelling & EMPTY_SEGMENTS and not merge_slashes:
        raise AmbiguousPath("an empty segment")


def _decode_unreserved(path: bytes) -> bytes:
    """Decode escapes of unreserved characters, upper-case the rest, refuse the dangerous."""
    if path.count(b"%") != len(_ESCAPE.findall(path)):
        raise AmbiguousPath("an incomplete percent-encoding")
    raw = bytes(int(match, 16) for match in _ESCAPE.findall(path))
    if any(value in _REFUSED_ESCAPES for value in raw):
        raise AmbiguousPath("an encoded separator or control character")
    full = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), path)
    if _ESCAPE.search(full):
        raise AmbiguousPath("a double encoding")
    try:
        full.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise AmbiguousPath("an encoding that is not UTF-8") from error
    return _ESCAPE.sub(_canonical_escape, path)


def _canonical_escape(match: re.Match[bytes]) -> bytes:
    value = int(match[1], 16)
    return bytes((value,)) if value in _UNRESERVED_BYTES else b"%%%02X" % value


def _resolve(segments: list[bytes]) -> list[bytes]:
    """Remove dot segments (RFC 3986 5.2.4); going above the root is refused."""
    resolved: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if not resolved:
                raise AmbiguousPath("a dot segment above the root")
            resolved.pop()
        elif segment != b".":
            resolved.append(segment)
    if segments[-1] in {b".", b".."}:
        resolved.append(b"")
    return resolved
