"""What becomes of a request whose client has left: how far it had come decides.

Not forwarded whole: it is cancelled and costs nothing. Forwarded, no answer yet: cancelled and free
if its method is safe, otherwise what the route says. Answered in part: cancelled, its status
decides. An event stream that had passed on its last event was answered.
Source: RFC 9110 9.2.1 (safe methods), RFC 9112 9.5; docs/semantics.md#clients-that-leave.
"""

from typing import Final

from gateway.config.snapshot import GonePolicy, Route
from gateway.errors import Refusal, RefusalCode
from gateway.proxy.exchange import ClientGone, Exchange
from gateway.proxy.flow import reset
from gateway.proxy.upstream import UpstreamConnection

SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})


def client_left(exchange: Exchange) -> None:
    """Learn that the client of a request that is under way has left; more than once is as once."""
    if exchange.client_gone:
        return
    exchange.client_gone = True
    upstream = exchange.upstream
    if not exchange.answer_begun or upstream is None:
        exchange.resume()  # it looks for itself how far it has come
        return
    if exchange.has_told_last_event():
        exchange.was_told_all = True
        upstream.end_here()
        return
    transport = exchange.client.transport
    if exchange.ends_with_connection() and not transport.is_closing():
        # A client that has closed one side only must not take what it got for the whole.
        reset(transport)
    upstream.fail("client_gone")


def go_on_without_client(exchange: Exchange, route: Route, connection: UpstreamConnection) -> None:
    """Decide whether a request whose client has left is carried on; it has no answer yet.

    Raises:
        ClientGone: it is not; ``exchange.bills_reserve`` says whether it is paid for.
    """
    if exchange.finishes:
        return
    if exchange.is_cut_off or exchange.method in SAFE or not connection.has_sent_all():
        raise ClientGone
    if route.client_gone is GonePolicy.CANCEL:
        exchange.bills_reserve = True
        raise ClientGone
    exchange.finishes = True


def time_is_up_without_client(exchange: Exchange, *, is_total: bool) -> None:
    """Give up a request whose client has left, at the reserve's price if it was worked on.

    It is no failure of the upstream.
    """
    if exchange.upstream is not None:
        exchange.bills_reserve = exchange.finishes
        exchange.upstream.fail("client_gone")
    elif is_total:
        exchange.refusal = Refusal(RefusalCode.EXECUTION_TIMEOUT)  # it waits for a connection


def stop_without_client(exchange: Exchange) -> None:
    """Cut off, at the end of the drain, what goes on for a client that has left."""
    if exchange.client_gone and exchange.upstream is not None:
        exchange.upstream.fail("client_gone")
