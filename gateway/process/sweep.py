"""One periodic look at everything that can take too long: no timer per request or connection.

Source: design section 4; the bounds are the route file's.
"""

import asyncio
from email.utils import formatdate

from gateway.clock import Clock
from gateway.proxy.connection import ClientConnection
from gateway.proxy.departures import departed
from gateway.proxy.patience import time_is_up
from gateway.proxy.ports import Ports
from gateway.telemetry.state_log import look_at_all

DEADLINES_EVERY_SECONDS = 0.1
"""Precision of request deadlines."""
CONNECTIONS_EVERY = 10
"""Idle connections are looked at on every tenth turn: once a second."""


async def sweep(ports: Ports, clock: Clock) -> None:
    """Enforce deadlines and idle times until cancelled."""
    turn = 0
    while True:
        if turn % CONNECTIONS_EVERY == 0:
            ports.date_line = date_line(clock)
            _sweep_connections(ports, ports.loop.time())
            look_at_all()
        _sweep_exchanges(ports, ports.loop.time())
        _sweep_tunnels(ports, ports.loop.time())
        ports.refusals.sweep(clock.now_micro(), ports.counters.now_micro())
        turn += 1
        await asyncio.sleep(DEADLINES_EVERY_SECONDS)


def date_line(clock: Clock) -> bytes:
    """Return the ``Date`` line for now (RFC 9110 5.6.7)."""
    return b"Date: %b\r\n" % formatdate(clock.now_micro() // 1_000_000, usegmt=True).encode()


def _sweep_exchanges(ports: Ports, now: float) -> None:
    for exchange in tuple(ports.exchanges):
        if 0 < exchange.total_deadline <= now:
            exchange.deadline_kind = "total"
            exchange.total_deadline = 0.0
            time_is_up(exchange)
        elif 0 < exchange.deadline <= now:
            time_is_up(exchange)


def _sweep_tunnels(ports: Ports, now: float) -> None:
    for tunnel in tuple(ports.tunnels.open):
        if tunnel.due_at <= now:
            tunnel.time_is_up(now)


def _sweep_connections(ports: Ports, now: float) -> None:
    unseen: list[ClientConnection] = []
    for connection in tuple(ports.connections):
        if not isinstance(connection, ClientConnection):
            continue
        if connection.may_leave_unseen():
            unseen.append(connection)
        if 0 < connection.closes_at <= now or connection.is_idle_at(now):
            connection.close_idle(now)
        elif connection.stalls_at(now):
            connection.stall()
    for connection, by_reset in departed(unseen):
        connection.left_unseen(by_reset=by_reset)
    ports.upstreams.close_expired(now)
