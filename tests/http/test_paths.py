"""One canonical path: no spelling of a protected path reaches the upstream unmatched."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.paths import (
    _KNOWN_BYTES_MAX,
    _KNOWN_MAX,
    AmbiguousPath,
    _known_plain,
    canonical,
    is_plain,
    require_spelling,
)


def strict(path: bytes) -> bytes:
    found, spelling = canonical(path)
    require_spelling(spelling, resolve=False, merge_slashes=False)
    return found


def lenient(path: bytes) -> bytes:
    return canonical(path)[0]


@pytest.mark.parametrize(
    "path",
    [b"/", b"/v1/runs", b"/v1/runs/", b"/a.b/c~d", b"/...", b"/.well-known/x", b"/a:b@c,d=e"],
)
def test_plain_path_stays_as_it_is(path: bytes) -> None:
    assert path == strict(path)
    assert path == lenient(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/%76%31/runs", b"/v1/runs"),
        (b"/caf%c3%a9", b"/caf%C3%A9"),
        (b"/%7Euser", b"/~user"),
        (b"/a%20b", b"/a%20b"),
    ],
)
def test_escapes_are_decoded_once_where_they_need_not_be(path: bytes, expected: bytes) -> None:
    assert expected == strict(path)


@pytest.mark.parametrize(
    "path",
    [
        b"/a/%2e%2e/admin", b"/a/../admin", b"/./a", b"/a/.", b"/a/..", b"//a", b"/a//b",
        b"/a%2fb", b"/a%2Fb", b"/a%5cb", b"/a\\b", b"/a%00", b"/a%0d%0a", b"/a%7f", b"/a;b",
        b"/a%3bb", b"/a%252fb", b"/a%25%32%66", b"/a%", b"/a%2", b"/a%zz", b"/a%c0%af",
        b"/a%ff", b"relative", b"", b"/a b", b"/caf\xc3\xa9", b"/a#b",
    ],
)  # fmt: skip
def test_ambiguous_path_is_refused(path: bytes) -> None:
    with pytest.raises(AmbiguousPath):
        strict(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/../admin", b"/admin"),
        (b"/a/%2e%2e/admin", b"/admin"),
        (b"/a/./b/", b"/a/b/"),
        (b"//a///b", b"/a/b"),
        (b"/a/b/..", b"/a/"),
        (b"/a/.", b"/a/"),
    ],
)
def test_dot_segments_are_resolved_where_the_operator_says_so(path: bytes, expected: bytes) -> None:
    assert expected == lenient(path)


@pytest.mark.parametrize("path", [b"/../x", b"/a/../../x", b"/a%2fb", b"/a;b", b"/a%252e"])
def test_what_two_programs_read_differently_is_refused_even_then(path: bytes) -> None:
    with pytest.raises(AmbiguousPath):
        lenient(path)


@pytest.mark.parametrize(
    ("path", "resolve", "merge_slashes", "is_taken"),
    [
        (b"/a/./b", True, False, True),
        (b"/a/./b", False, True, False),
        (b"/a//b", False, True, True),
        (b"/a//b", True, False, False),
        (b"/a//../b", True, False, False),
        (b"/a//../b", True, True, True),
        (b"/a/b", False, False, True),
    ],
)
def test_each_kind_of_spelling_is_allowed_by_itself(
    path: bytes, resolve: bool, merge_slashes: bool, is_taken: bool
) -> None:
    spelling = canonical(path)[1]
    if is_taken:
        require_spelling(spelling, resolve=resolve, merge_slashes=merge_slashes)
        return
    with pytest.raises(AmbiguousPath):
        require_spelling(spelling, resolve=resolve, merge_slashes=merge_slashes)


SPELLING = st.lists(
    st.sampled_from(
        [b"/", b"//", b".", b"..", b"%2e", b"%2E", b"%2f", b"%5c", b"\\", b"admin", b"%61dmin",
         b"a", b";x", b"%25", b"%252f", b"%00", b"%c0%af", b"?"]
    ),
    max_size=8,
).map(lambda parts: b"/" + b"".join(parts))  # fmt: skip


@given(SPELLING)
def test_canonical_path_means_the_same_to_a_server_that_decodes_and_resolves(path: bytes) -> None:
    """Whatever a lenient upstream makes of the forwarded path, it makes of the matched one."""
    path = path.partition(b"?")[0]
    try:
        matched = lenient(path)
    except AmbiguousPath:
        return
    decoded = unquote_to_bytes(matched)

    assert b".." not in decoded.split(b"/")
    assert b"//" not in decoded
    assert not re.search(rb"%[0-9A-Fa-f]{2}", decoded)
    assert b"\\" not in decoded
    assert canonical(matched) == (matched, 0)


def test_what_is_remembered_of_plain_targets_is_bounded_and_right() -> None:
    for number in range(3 * _KNOWN_MAX):
        assert is_plain(b"/runs/%d" % number)
        assert is_plain(b"/" + b"a" * 200 + b"%d" % number)
        assert not is_plain(b"/runs/../%d" % number)
        assert not is_plain(b"/runs/../%d" % number)
    assert len(_known_plain) <= _KNOWN_MAX
    assert max(map(len, _known_plain)) <= _KNOWN_BYTES_MAX
