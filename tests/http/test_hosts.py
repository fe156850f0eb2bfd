"""Hosts have one canonical form; what is no host has none."""

import pytest

from gateway.http.hosts import canonical_host


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        (b"a", b"a"),
        (b"API.Example", b"api.example"),
        (b"a.example.", b"a.example."),
        (b"a_b~c-d.example", b"a_b~c-d.example"),
        (b"a!b", b"a!b"),
        (b"A!$&'()*+;=B", b"a!$&'()*+;=b"),
        (b"0.0.0.0=5000", b"0.0.0.0=5000"),
        (b"%61%2E%5F%7e%2D%41", b"a._~-a"),
        (b"%c3%A9.Example", b"%C3%A9.example"),
        (b"a%21b", b"a%21b"),  # an escaped delimiter is not the delimiter
        (b"127.0.0.1:8080", b"127.0.0.1:8080"),
        (b"a:", b"a"),
        (b"a:0", b"a:0"),
        (b"a:00080", b"a:80"),
        (b"A:80", b"a:80"),
        (b"[::1]", b"[::1]"),
        (b"[::1]:80", b"[::1]:80"),
        (b"[2001:DB8:0:0::0:1]:", b"[2001:db8::1]"),
        (b"[::FFFF:c000:201]", b"[::ffff:192.0.2.1]"),
        (b"[v1.a]", b"[v1.a]"),
        (b"[VF.Fe80:a!b]:443", b"[vf.fe80:a!b]:443"),
    ],
)
def test_a_host_has_one_form(given: bytes, canonical: bytes) -> None:
    assert canonical_host(given) == canonical
    assert canonical_host(canonical) == canonical


@pytest.mark.parametrize(
    "given",
    [
        b"", b":80", b"a b", b"a/b", b"a?b", b"a#b", b"a\\b", b"u@a", b"u:p@a", b"http://a", b"a,b",
        b"a, b", b'"a"', b"<a>", b"a|b", b"a^b", b"a`b", b"{a}", b"\xe9", b"a\x00", b"a\x7f",
        b"a\n",
        b"%", b"a%2", b"a%zz", b"a%%61", b"a:b", b"a:-1", b"a:+1", b"a:80:80", b"a:999999",
        b"a: 80",
        b"::1", b"[]", b"[::1", b"::1]", b"[::1]a", b"[::1]]", b"[[::1]]", b"[:::]", b"[g::1]",
        b"[1.2.3.4]", b"[fe80::1%25eth0]", b"[fe80::1%eth0]", b"[v.a]", b"[v1.]", b"[v1a]",
        b"[vg.a]", b"[v1.a%62]", b"[v1.[a]", b"[v1.a,b]", b"a[::1]", b"[a]",
    ],
)  # fmt: skip
def test_what_is_no_host_has_none(given: bytes) -> None:
    assert canonical_host(given) is None
