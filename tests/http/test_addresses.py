"""Whatever way an address is written in, it is one and the same afterwards, or none."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.addresses import address_in, network_in


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("198.51.100.1", "198.51.100.1"), (" 198.51.100.1\t", "198.51.100.1"),
        ("198.51.100.1:1001", "198.51.100.1"), ("198.51.100.1:0", "198.51.100.1"),
        ('"198.51.100.1:65535"', "198.51.100.1"),
        ("2001:db8::5", "2001:db8::5"), ("2001:DB8:0:0::0005", "2001:db8::5"),
        ("[2001:db8::5]", "2001:db8::5"), ("[2001:db8::5]:443", "2001:db8::5"),
        ('"[2001:db8::5]:443"', "2001:db8::5"), ('"[2001:db8::5]"', "2001:db8::5"),
        ("::1%lo0", "::1"), ("fe80::1%eth0", "fe80::1"), ("fe80::1%25eth0", "fe80::1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"), ("::FFFF:c633:6401", "198.51.100.1"),
        ("0:0:0:0:0:ffff:7f00:1", "127.0.0.1"), ("[::ffff:198.51.100.1]:9", "198.51.100.1"),
        ("::ffff:198.51.100.1%eth0", "198.51.100.1"), ("::ffff:0:0", "0.0.0.0"),
        ("::", "::"), ("::198.51.100.1", "::c633:6401"), ("2002:c633:6401::", "2002:c633:6401::"),
        ("64:ff9b::198.51.100.1", "64:ff9b::c633:6401"), ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("2001:db8:0:1:1:1:1:1",) * 2,
    ],
)  # fmt: skip
def test_an_address_has_one_text(text: str, address: str) -> None:
    assert str(address_in(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "unknown", "_hidden", "-", "localhost", "example.org:80", "1", "1.2"),
        *("010.0.0.1", "1.2.3.04", "0x7f.0.0.1", "127.1", "256.0.0.1", "1.2.3.4.5", "1.2.3.4/32"),
        *("1.2.3.4:", "1.2.3.4:99999", "1.2.3.4:65536", "1.2.3.4:+5", "1.2.3.4:_x", "1.2.3.4:8:0"),
        *("[::1]x", "[::1]:", "[::1]:x", "[::1", "::1]", "[]", "[]:80", "[1.2.3.4]:80"),
        *('"1.2.3.4', '1.2.3.4"', '"', '""', "'1.2.3.4'", "1.2.3.4%eth0", "::1%", ":::", "12345::"),
        *("1.2.3.4, 5.6.7.8", "1.2.3.4 5", "\u0661.2.3.4", "1.2.3.4\x00", "1:2:3:4:5:6:7:8:9"),
        *("::ffff:1.2.3.04", "::ffff:256.1.1.1", " " * 200 + "1.2.3.4", "::1%" + "x" * 1000),
    ],
)  # fmt: skip
def test_what_is_no_address_is_none(text: str) -> None:
    assert address_in(text) is None


@given(st.ip_addresses(v=4), st.sampled_from(["{}", "{}:80", '"{}"', " {} ", "::ffff:{}"]))
def test_an_ipv4_address_is_found_in_every_dress(address: IPv4Address, dress: str) -> None:
    assert address_in(dress.format(address)) == address


@given(st.ip_addresses(v=6), st.sampled_from(["{}", "[{}]", '"[{}]:443"', "{}%en0", "[{}%1]:1"]))
def test_an_ipv6_address_is_found_in_every_dress(address: IPv6Address, dress: str) -> None:
    expected = address.ipv4_mapped or address

    assert address_in(dress.format(address)) == expected
    assert address_in(dress.format(address.exploded.upper())) == expected


@given(st.text(max_size=60))
def test_no_text_is_too_strange(text: str) -> None:
    found = address_in(text)

    assert found is None or found == ip_address(str(found)) == address_in(str(found))


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"), (" 10.0.0.0/8 ", "10.0.0.0/8"), ("10.0.0.7", "10.0.0.7/32"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"), ("0.0.0.0/0", "0.0.0.0/0"), ("::/0", "::/0"),
        ("2001:DB8::/32", "2001:db8::/32"), ("2001:db8::1", "2001:db8::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::FFFF:a00:0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"), ("::ffff:10.0.0.7", "10.0.0.7/32"),
        ("::ffff:10.0.0.7/128", "10.0.0.7/32"), ("2002::/16", "2002::/16"), ("::/96", "::/96"),
    ],
)  # fmt: skip
def test_a_network_of_mapped_addresses_is_one_of_ipv4(text: str, network: str) -> None:
    assert network_in(text) == ip_network(network)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("203.0.113.7/24", "the network is 203.0.113.0/24"),
        ("2001:db8::1/32", "the network is 2001:db8::/32"),
        ("::ffff:10.0.0.1/104", "the network is 10.0.0.0/8"),
        ("fe80::1%eth0/64", "zone"), ("", "'' names no address"), ("x/8", "names no address"),
        ("10.0.0.0/33", "no prefix length from 0 to 32"), ("::/129", "from 0 to 128"),
        ("010.0.0.0/8", "names no address"), ("10.0.0.0/", "no prefix length"),
        ("[::]/0", "more than the address: write ::/0"), ("unknown", "names no address"),
        ("10.0.0.0:80", "more than the address: write 10.0.0.0"),
    ],
)  # fmt: skip
def test_what_is_no_network_is_told_with_what_was_meant(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        network_in(text)
