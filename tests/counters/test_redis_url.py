"""URLs of Redis: what each part means, and what is refused without telling the password."""

import ssl

import pytest

from gateway.counters.redis_url import parse_redis_url
from gateway.errors import GatewayError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", ("localhost", 6379, None, 0, None, None)),
        ("redis://cache:7000/3", ("cache", 7000, None, 3, None, None)),
        ("redis://cache?db=4", ("cache", 6379, None, 4, None, None)),
        ("redis://:s%23cret@cache", ("cache", 6379, None, 0, None, "s#cret")),
        ("redis://ann:pw%40x@[::1]:1/0", ("::1", 1, None, 0, "ann", "pw@x")),
        ("unix:///run/redis.sock", ("", 6379, "/run/redis.sock", 0, None, None)),
        ("unix://ann:pw@/run/a%20b.sock?db=2", ("", 6379, "/run/a b.sock", 2, "ann", "pw")),
    ],
)
def test_a_url_says_where_and_as_whom(url: str, expected: tuple[object, ...]) -> None:
    address = parse_redis_url(url)

    assert (
        address.host, address.port, address.unix_path, address.database, address.username,
        address.password,
    ) == expected  # fmt: skip
    assert address.tls is None


def test_tls_verifies_unless_told_otherwise() -> None:
    verified = parse_redis_url("rediss://cache").tls
    unnamed = parse_redis_url("rediss://cache?ssl_check_hostname=false").tls
    unverified = parse_redis_url("rediss://cache?ssl_cert_reqs=none").tls

    assert verified is not None
    assert (verified.verify_mode, verified.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert verified.minimum_version == ssl.TLSVersion.TLSv1_2
    assert unnamed is not None
    assert (unnamed.verify_mode, unnamed.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert unverified is not None
    assert unverified.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://:secret@cache", "unknown scheme 'http'"),
        ("redis://:secret@cache:port", "not a URL"),
        ("redis://:p/secret@cache", "write / as %2F"),
        ("rediss://:p?secret@cache", "? as %3F"),
        ("redis://:secret@cache/first", "by something else than a number"),
        ("redis://:secret@cache?timeout=3", "unknown options: timeout"),
        ("redis://:secret@cache?ssl_ca_certs=x", "unknown options: ssl_ca_certs"),
        ("redis://:sec#ret@cache", "fragment"),
        ("unix://:secret@", "names no socket"),
        ("redis://", "names no host"),
        ("redis://:secret@:6379/0", "names no host"),
        ("rediss:///0", "names no host"),
        ("rediss://:secret@cache?ssl_cert_reqs=optional", "ssl_cert_reqs=required|none"),
        ("rediss://:secret@cache?ssl_ca_certs=/nowhere.pem", "names TLS files that can't be used"),
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url: str, reason: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_redis_url(url)

    assert refused.value.code == "counters.url_invalid"
    assert reason in refused.value.message
    assert "redis://" in refused.value.hint
    assert "sec" not in refused.value.message.replace("second", "")


def test_a_password_is_shown_nowhere() -> None:
    address = parse_redis_url("redis://ann:secret@cache:7000/3")

    assert "secret" not in repr(address)
    assert address.name == "cache:7000/3"
