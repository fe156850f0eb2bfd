"""What a head says of a request; reading it is tested in ``test_head``."""

from gateway.proxy.exchange import ClientSide, Exchange
from gateway.proxy.request_head import RequestHead


def test_what_most_requests_leave_out_has_a_default() -> None:
    exchange = Exchange(ClientSide(loop=None))  # type: ignore[arg-type]

    assert isinstance(exchange, RequestHead)
    assert (exchange.path, exchange.http_minor, exchange.keep_alive) == (b"/", 1, True)
    assert (exchange.content_length, exchange.has_body, exchange.refusal) == (0, False, None)
    assert exchange.forwards_left == -1


def test_what_one_head_says_is_not_said_of_another() -> None:
    first, second = (Exchange(ClientSide(loop=None)) for _ in range(2))  # type: ignore[arg-type]
    first.host, first.keep_alive, first.special_names = b"a", False, frozenset({b"host"})

    assert (second.host, second.keep_alive, second.special_names) == (b"", True, frozenset())
