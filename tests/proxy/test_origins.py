"""What is believed of a request's origin, for each connection and configuration."""

from structlog.testing import capture_logs

from gateway.http.addresses import network_in
from gateway.proxy.origins import Peer
from gateway.telemetry.metrics import WorkerStats

LOOPBACK = (network_in("127.0.0.0/8"),)
OTHERS = (network_in("10.0.0.0/8"),)
NAMED = {b"x-forwarded-for": [b"198.51.100.1:1001"], b"x-forwarded-proto": [b"https"]}


def test_only_a_trusted_proxy_is_believed() -> None:
    peer, stats = Peer("127.0.0.1", b"http"), WorkerStats()

    assert peer.origin_of(NAMED, OTHERS, stats) is peer.origin
    told = peer.origin_of(NAMED, LOOPBACK, stats)
    assert (told.address, told.scheme, told.node) == ("198.51.100.1", b"https", b"198.51.100.1")
    assert peer.origin_of(NAMED, OTHERS, stats) is peer.origin
    assert stats.forwarded_for_unreadable == 0


def test_a_proxy_that_names_nobody_is_the_client_itself() -> None:
    peer, stats = Peer("127.0.0.1", b"http"), WorkerStats()

    assert peer.origin_of({b"host": [b"a"]}, LOOPBACK, stats) is peer.origin


def test_a_proxy_that_tells_the_scheme_alone_is_believed() -> None:
    peer = Peer("127.0.0.1", b"http")

    told = peer.origin_of({b"x-forwarded-proto": [b"https"]}, LOOPBACK, WorkerStats())

    assert (told.address, told.scheme, told.forwarded_for) == ("127.0.0.1", b"https", b"127.0.0.1")


def test_what_can_not_be_read_is_counted_each_time_and_logged_once() -> None:
    peer, stats = Peer("127.0.0.1", b"http"), WorkerStats()
    with capture_logs() as log:
        for _ in range(3):
            claim = {b"x-forwarded-for": [b"1.2.3.4, unknown\xff" + b"x" * 500]}
            assert peer.origin_of(claim, LOOPBACK, stats).address == "127.0.0.1"

    assert stats.forwarded_for_unreadable == 3
    (line,) = log
    assert line["event"] == "proxy.forwarded_for_unreadable"
    assert line["proxy"] == "127.0.0.1"
    assert line["entry"].startswith("unknown\\xff")
    assert len(line["entry"]) < 80
