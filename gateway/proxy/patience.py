"""A deadline of a request has passed: who kept whom waiting, and what becomes of them.

Whoever could not go on because of the other is not to blame: an upstream fails, and counts as
having failed, only where nothing but its answer is missing.
Source: design sections 4 and 10; STANDARDS 4.5.
"""

from gateway.errors import Refusal, RefusalCode
from gateway.proxy.exchange import Exchange
from gateway.proxy.flow import reset
from gateway.proxy.leaving import time_is_up_without_client


def time_is_up(exchange: Exchange) -> None:
    """Give up whom a request waits for, upstream or client, unless something moves."""
    is_total = exchange.deadline_kind == "total"
    exchange.deadline = 0.0
    if exchange.client_gone:
        time_is_up_without_client(exchange, is_total=is_total)
    elif exchange.answer_begun and exchange.client.write_paused:
        _wait_for_client(exchange, is_total=is_total)
    elif not is_total and _is_sending(exchange) and _moves(exchange):
        exchange.wait_for_answer()
    elif not is_total and _could_send(exchange):
        exchange.keep_alive = False
        exchange.refusal = Refusal(RefusalCode.REQUEST_TIMEOUT)
        if exchange.upstream is not None:
            exchange.upstream.fail("refused")
    elif exchange.upstream is not None:
        exchange.upstream.fail("execution" if is_total else "timeout")
    elif is_total:
        exchange.refusal = Refusal(RefusalCode.EXECUTION_TIMEOUT)  # it waits for a connection
    elif exchange.reads_body:
        exchange.refusal = Refusal(RefusalCode.REQUEST_TIMEOUT)
        exchange.resume()


def _is_sending(exchange: Exchange) -> bool:
    """Return whether more of the body is to come and to be sent on."""
    return exchange.body_sink is not None and not exchange.body_complete


def _could_send(exchange: Exchange) -> bool:
    """Return whether it is the client's turn, and the upstream would take what it sends."""
    sink = exchange.body_sink
    if sink is None or exchange.body_complete or sink.write_paused:
        return False
    return not (exchange.expects_continue or exchange.answer_begun)


def _wait_for_client(exchange: Exchange, *, is_total: bool) -> None:
    """Go on if the client reads, however slowly; it is gone if not, and pays what it got."""
    transport = exchange.client.transport
    unsent_bytes = transport.get_write_buffer_size()
    if is_total or unsent_bytes == exchange.unsent_bytes:
        reset(transport)
        return
    exchange.unsent_bytes = unsent_bytes
    exchange.deadline = exchange.client.loop.time() + exchange.idle_seconds


def _moves(exchange: Exchange) -> bool:
    """Return whether something of the body has come since the last call."""
    moves = exchange.body_bytes != exchange.body_seen_bytes
    exchange.body_seen_bytes = exchange.body_bytes
    return moves
