"""Step 6: the request goes to the upstream, once, or again where that is safe.

Source: RFC 9110 9.2.2, RFC 9112 9.3.1; design section 10; requirement C12.
"""

from typing import Final

from gateway.config.snapshot import Endpoint
from gateway.errors import RefusalCode
from gateway.http.credentials import is_bearer
from gateway.http.fields import nominated
from gateway.http.forwarding import request_head
from gateway.keys.port import KeyEntry
from gateway.proxy.active import RoutePlan
from gateway.proxy.answer import Answer
from gateway.proxy.exchange import ClientGone, Exchange
from gateway.proxy.leaving import go_on_without_client
from gateway.proxy.pool import UpstreamPool
from gateway.proxy.ports import Ports
from gateway.proxy.upstream import UpstreamConnection, UpstreamError
from gateway.rules.plan import Tier
from gateway.story import pause

_NOTHING: Final[frozenset[bytes]] = frozenset()
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})

REFUSALS: Final = {
    "connect": RefusalCode.UPSTREAM_UNREACHABLE,
    "overloaded": RefusalCode.OVERLOADED,
    "circuit": RefusalCode.UPSTREAM_CIRCUIT_OPEN,
    "timeout": RefusalCode.UPSTREAM_TIMEOUT,
    "execution": RefusalCode.EXECUTION_TIMEOUT,
    "protocol": RefusalCode.UPSTREAM_FAILED,
    "closed": RefusalCode.UPSTREAM_FAILED,
}
"""What the caller is told of an ``UpstreamError``'s kind."""


async def send(
    exchange: Exchange, plan: RoutePlan, ports: Ports, tier: Tier | None, identity: bytes
) -> Answer:
    """Send the request and return the answer's head.

    Args:
        identity: Whole lines that tell the upstream who calls; empty unless the route says so.

    Raises:
        UpstreamError: no answer; it says why and whether the request was seen.
        ClientGone: the client left meanwhile.
        Refusal: what came of the body meanwhile can't be sent on.
    """
    pool = plan.pool
    exchange.pool = pool
    exchange.idle_seconds = pool.upstream.timeouts.idle_seconds
    is_repeated = False
    while True:
        connection = pool.take_idle()
        if connection is None:
            _set_total_deadline(exchange, pool, tier, exchange.client.loop.time())
            connection = await pool.acquire()
        if exchange.client_gone or exchange.refusal is not None:
            _require_wanted(exchange, connection, pool)
        is_reused = connection.uses > 0
        head = _head(exchange, plan, identity, connection.endpoint.endpoint)
        try:
            _ask(exchange, connection, head, pool)
            _set_total_deadline(exchange, pool, tier, connection.touched_at)
            answer = connection.answer_head()
            while answer is None:
                await pause()
                answer = connection.answer_head()
                if answer is None and exchange.client_gone:
                    go_on_without_client(exchange, plan.route, connection)
        except UpstreamError as error:
            is_stale = is_reused and error.kind == "closed" and not error.answered
            exchange.let_upstream_go()
            if is_repeated or not (is_stale and _may_repeat(exchange)):
                raise
            ports.stats.worker.upstream_retries += 1
            exchange.pool = pool
            is_repeated = True
            continue
        if connection.is_trial or connection.is_circuit_probe:
            _note_head(exchange, connection, answer, pool)
        if not answer.complete:
            exchange.deadline = exchange.client.loop.time() + exchange.idle_seconds
        return answer


def _require_wanted(exchange: Exchange, connection: UpstreamConnection, pool: UpstreamPool) -> None:
    """Give a connection back unused if the request is not to be sent any more.

    Raises:
        ClientGone: the client left while it was waited for.
        Refusal: the body grew too long, broke or stalled meanwhile.
    """
    if exchange.refusal is not None:
        pool.release(connection)
        raise exchange.refusal
    if not exchange.finishes:
        pool.release(connection)
        raise ClientGone


def _note_head(
    exchange: Exchange, connection: UpstreamConnection, answer: Answer, pool: UpstreamPool
) -> None:
    """Let the head of an answer decide a trial or a probe, unless the client had left."""
    if not exchange.client_gone:
        pool.answered(connection, answer.status)


def _may_repeat(exchange: Exchange) -> bool:
    if exchange.client_gone and not exchange.finishes:
        return False
    return exchange.method in IDEMPOTENT and not exchange.has_body


def _ask(
    exchange: Exchange, connection: UpstreamConnection, head: bytes, pool: UpstreamPool
) -> None:
    exchange.upstream = connection
    connection.send_head(
        head,
        exchange,
        is_head_request=exchange.method == b"HEAD",
        chunked=exchange.is_chunked,
        ends=not exchange.has_body,
    )
    if exchange.has_body:
        exchange.stream_body_to(connection)
    first_byte_seconds = pool.upstream.timeouts.first_byte_seconds
    exchange.deadline = connection.touched_at + first_byte_seconds


def _set_total_deadline(
    exchange: Exchange, pool: UpstreamPool, tier: Tier | None, now: float
) -> None:
    """Say until when all of it must be over, unless that has been said."""
    if exchange.total_deadline:
        return
    timeouts = pool.upstream.timeouts
    total = timeouts.total_seconds
    if timeouts.total_of_plan and tier is not None:
        total = float(tier.max_execution_seconds)
    if total is not None and not exchange.wants_upgrade:
        exchange.total_deadline = now + total


def _head(exchange: Exchange, plan: RoutePlan, identity: bytes, endpoint: Endpoint) -> bytes:
    route = plan.route
    path = exchange.path
    if route.strip_prefix and path.startswith(route.strip_prefix):
        path = b"/" + path[len(route.strip_prefix) :].lstrip(b"/")
    target = path + b"?" + exchange.query if exchange.has_query else path
    special = exchange.special
    dropped = plan.dropped
    authorization = special.get(b"authorization")
    if authorization is not None and not _is_bearer(authorization):
        dropped = plan.dropped_but_authorization
    connection = special.get(b"connection")
    further = _NOTHING if connection is None else nominated(connection)
    if further:
        dropped |= further
    if exchange.is_chunked:
        exchange.trailers_dropped = plan.trailers_dropped | further
        dropped |= {b"content-length"}
    if exchange.forwards_left > 0:
        dropped |= {b"max-forwards"}
    if b"expect" in special and not exchange.expects_continue:
        dropped |= {b"expect"}
    host = (exchange.host if route.upstream.preserve_host else b"") or endpoint.authority
    added = (
        exchange.client.origin_lines(exchange.origin, exchange.host, plan.via)
        + exchange.id_line
        + identity
        + plan.added
    )
    if exchange.is_chunked:
        added += b"Transfer-Encoding: chunked\r\n"
    if exchange.forwards_left > 0:
        added += b"Max-Forwards: %d\r\n" % (exchange.forwards_left - 1)
    if exchange.wants_upgrade:
        added += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    start = b"%b %b HTTP/1.1\r\nHost: %b" % (exchange.method, target, host)
    return request_head(start, exchange.fields, dropped, added)


def _is_bearer(values: list[bytes]) -> bool:
    for value in values:  # noqa: SIM110 - compiled, cheaper than a generator
        if is_bearer(value):
            return True
    return False


def identity_lines(entry: KeyEntry, event_id: str) -> bytes:
    """Return the lines that tell an upstream who calls (``auth.forward_identity``)."""
    return (
        f"X-Gateway-Workspace: {entry.workspace_id}\r\nX-Gateway-Key-Id: {entry.key_id}\r\n"
        f"X-Gateway-Plan: {entry.plan}\r\nX-Gateway-Event-Id: {event_id}\r\n"
    ).encode()
