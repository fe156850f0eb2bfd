"""One canonical path: no spelling of a protected path reaches the upstream unmatched."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.paths import AmbiguousPath, normalise


def strict(path: bytes) -> bytes:
    return normalise(path, resolve=False, merge_slashes=False)


def lenient(path: bytes) -> bytes:
    return normalise(path, resolve=True, merge_slashes=True)


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


spelling = st.lists(
    st.sampled_from(
        [b"/", b"//", b".", b"..", b"%2e", b"%2E", b"%2f", b"%5c", b"\\", b"admin", b"%61dmin",
         b"a", b";x", b"%25", b"%252f", b"%00", b"%c0%af", b"?"]
    ),
    max_size=8,
).map(lambda parts: b"/" + b"".join(parts))  # fmt: skip


@given(spelling)
def test_canonical_path_means_the_same_to_a_server_that_decodes_and_resolves(path: bytes) -> None:
    """Whatever a lenient upstream makes of the forwarded path, it makes of the matched one."""
    path = path.partition(b"?")[0]
    try:
        canonical = lenient(path)
    except AmbiguousPath:
        return
    decoded = unquote_to_bytes(canonical)

    assert b".." not in decoded.split(b"/")
    assert b"//" not in decoded
    assert not re.search(rb"%[0-9A-Fa-f]{2}", decoded)
    assert b"\\" not in decoded
    assert canonical == lenient(canonical)
