"""The client is the right-most address that is no trusted proxy, in whatever way it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.addresses import network_in
from gateway.http.origins import HOPS_MAX, address_of, claimed_origin, is_trusted, peer_origin

TRUSTED = (network_in("10.0.0.0/8"), network_in("2001:db8:ffff::/48"))


@pytest.mark.parametrize(
    ("peername", "address"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("::ffff:c000:201", 5, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::1"),
        ("", "unix"),
        ((), "unix"),
        (None, "unix"),
    ],
)
def test_the_other_end_has_an_address(peername: object, address: str) -> None:
    assert address_of(peername) == address


@pytest.mark.parametrize(
    ("address", "node", "group"),
    [
        ("192.0.2.1", b"192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", b'"[2001:db8:1:2:3::4]"', "2001:db8:1:2::/64"),
        ("unix", b"unix", "unix"),
    ],
)
def test_a_peer_that_is_the_client_is_told_as_it_is(address: str, node: bytes, group: str) -> None:
    origin = peer_origin(address, b"https")

    assert (origin.address, origin.forwarded_for) == (address, address.encode())
    assert (origin.node, origin.group, origin.scheme) == (node, group, b"https")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.1.2.3", True), ("11.0.0.1", False), ("2001:db8:ffff::1", True), ("unix", False)],
)
def test_a_proxy_is_trusted_by_its_network(text: str, expected: bool) -> None:
    assert is_trusted(text, TRUSTED) is expected


@pytest.mark.parametrize(
    ("claims", "client", "chain"),
    [
        ([b"1.2.3.4"], "1.2.3.4", b"1.2.3.4, 10.0.0.1"),
        ([b"9.9.9.9, 1.2.3.4, 10.0.0.7"], "1.2.3.4", b"9.9.9.9, 1.2.3.4, 10.0.0.7, 10.0.0.1"),
        ([b"9.9.9.9", b"1.2.3.4", b"10.0.0.7"], "1.2.3.4", b"9.9.9.9, 1.2.3.4, 10.0.0.7, 10.0.0.1"),
        ([b"1.2.3.4:1001"], "1.2.3.4", b"1.2.3.4, 10.0.0.1"),
        ([b"1.2.3.4:1001,10.0.0.7:2"], "1.2.3.4", b"1.2.3.4, 10.0.0.7, 10.0.0.1"),
        ([b'"[2001:DB8::5]:443"'], "2001:db8::5", b"2001:db8::5, 10.0.0.1"),
        ([b"::ffff:1.2.3.4, ::ffff:10.0.0.7"], "1.2.3.4", b"1.2.3.4, 10.0.0.7, 10.0.0.1"),
        ([b"10.0.0.9, 10.0.0.7"], "10.0.0.9", b"10.0.0.9, 10.0.0.7, 10.0.0.1"),
        ([b"1.2.3.4,, 10.0.0.7, ", b"", b" ,"], "1.2.3.4", b"1.2.3.4, 10.0.0.7, 10.0.0.1"),
        ([], "10.0.0.1", b"10.0.0.1"),
        ([b" , "], "10.0.0.1", b"10.0.0.1"),
        ([b"junk:1 , 1.2.3.4:5"], "1.2.3.4", b"junk:1, 1.2.3.4, 10.0.0.1"),
    ],
)  # fmt: skip
def test_the_client_is_the_right_most_address_that_is_no_trusted_proxy(
    claims: list[bytes], client: str, chain: bytes
) -> None:
    claim = claimed_origin("10.0.0.1", b"http", claims, [], TRUSTED)

    assert claim.origin.address == client
    assert claim.origin.forwarded_for == chain
    assert claim.unreadable == b""


@pytest.mark.parametrize(
    ("claims", "client", "unreadable"),
    [
        ([b"1.2.3.4, unknown"], "10.0.0.1", b"unknown"),
        ([b"1.2.3.4, _hidden, 10.0.0.7"], "10.0.0.7", b"_hidden"),
        ([b"1.2.3.4:99999"], "10.0.0.1", b"1.2.3.4:99999"),
        ([b"010.0.0.1"], "10.0.0.1", b"010.0.0.1"),
        ([b"\xff"], "10.0.0.1", b"\xff"),
    ],
)
def test_what_is_no_address_ends_the_walk_and_is_named(
    claims: list[bytes], client: str, unreadable: bytes
) -> None:
    claim = claimed_origin("10.0.0.1", b"http", claims, [], TRUSTED)

    assert (claim.origin.address, claim.unreadable) == (client, unreadable)
    assert unreadable in claim.origin.forwarded_for


@pytest.mark.parametrize(
    ("claims", "schemes", "scheme"),
    [
        ([b"1.2.3.4"], [b"https"], b"https"),
        ([b"1.2.3.4"], [b"HTTPS"], b"https"),
        ([b"1.2.3.4, 10.0.0.7"], [b"https, http"], b"https"),
        ([b"1.2.3.4", b"10.0.0.7"], [b"https", b"http"], b"https"),
        ([b"9.9.9.9, 1.2.3.4, 10.0.0.7"], [b"https, http, https"], b"http"),
        ([b"10.0.0.9, 10.0.0.7"], [b"https, http"], b"https"),
        ([b"1.2.3.4"], [b"https, http"], b"https"),
        ([b"9.9.9.9, 1.2.3.4"], [b"https"], b"https"),
        ([b"1.2.3.4, unknown"], [b"http, https"], b"https"),
        ([b"1.2.3.4, unknown, 10.0.0.7"], [b"http, http, https"], b"https"),
        ([], [b"https"], b"https"),
        ([b"1.2.3.4"], [], b"http"),
        ([b"1.2.3.4"], [b"gopher"], b"http"),
        ([b"1.2.3.4"], [b" , "], b"http"),
    ],
)
def test_the_scheme_is_told_by_the_proxy_that_told_the_address(
    claims: list[bytes], schemes: list[bytes], scheme: bytes
) -> None:
    assert claimed_origin("10.0.0.1", b"http", claims, schemes, TRUSTED).origin.scheme == scheme


def test_a_walk_has_an_end() -> None:
    claims = [b"1.2.3.4" + b",10.0.0.7" * 8000]

    claim = claimed_origin("10.0.0.1", b"http", claims, [], TRUSTED)

    assert claim.origin.address == "10.0.0.7"
    assert claim.origin.forwarded_for.count(b", ") == 8001
    near = [b"1.2.3.4" + b",10.0.0.7" * (HOPS_MAX - 1)]
    assert claimed_origin("10.0.0.1", b"http", near, [], TRUSTED).origin.address == "1.2.3.4"


@given(st.lists(st.binary(max_size=30), max_size=5), st.lists(st.binary(max_size=9), max_size=3))
def test_no_claim_is_too_strange(claims: list[bytes], schemes: list[bytes]) -> None:
    claim = claimed_origin("10.0.0.1", b"http", claims, schemes, TRUSTED)

    assert claim.origin.forwarded_for.endswith(b"10.0.0.1")
    assert claim.origin.scheme in {b"http", b"https"}
