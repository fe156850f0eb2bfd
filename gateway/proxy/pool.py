"""Connections to the upstreams: kept alive, bounded, chosen by load.

Retries are safe by construction: another endpoint is tried only if nothing was sent; a stale pooled
connection is replaced once, only if nothing came back and the request may be repeated.
Source: RFC 9110 9.2.2, RFC 9112 9.3.1; STANDARDS 4.5; requirement C12.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable

from gateway.config.snapshot import Upstream
from gateway.proxy.balancing import EndpointState, choose
from gateway.proxy.health import watch
from gateway.proxy.upstream import UpstreamConnection, UpstreamError
from gateway.tasks import spawn
from gateway.telemetry.metrics import WorkerStats

WAITING_MAX = 1024
"""Requests that may wait for a connection of one upstream; more are refused with 503."""


class UpstreamPool:
    """All connections of a worker to one upstream."""

    def __init__(self, upstream: Upstream, stats: WorkerStats) -> None:
        self.upstream = upstream
        self._loop = asyncio.get_running_loop()
        self._stats = stats
        self._states = [EndpointState(endpoint) for endpoint in upstream.endpoints]
        self._idle: dict[int, list[UpstreamConnection]] = {id(state): [] for state in self._states}
        self._open: set[UpstreamConnection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._tls = _tls_context(upstream)
        self._is_closed = False
        self._checks: asyncio.Task[None] | None = None
        if upstream.health_check is not None:
            checks = watch(
                upstream.name,
                upstream.health_check,
                self._states,
                self._tls,
                upstream.tls_server_name,
            )
            self._checks = spawn(checks, name="health")

    def take_idle(self) -> UpstreamConnection | None:
        """Return a kept connection to the endpoint that is to be used next, if there is one."""
        states = self._states
        index = 0 if len(states) == 1 else choose(states, self._loop.time())
        connection = self._idle_of(states[index or 0])
        if connection is not None:
            connection.endpoint.pending += 1
        return connection

    async def acquire(self) -> UpstreamConnection:
        """Return a connection that is ready for a request, opening one if need be.

        Raises:
            UpstreamError: ``connect`` if no endpoint could be reached, ``overloaded`` if too many
                requests wait.
        """
        tried: frozenset[int] = frozenset()
        while True:
            index = choose(self._states, self._loop.time(), tried)
            if index is None:
                raise UpstreamError("connect", request_sent=False)
            state = self._states[index]
            connection = self._idle_of(state)
            if connection is None:
                if len(self._open) + self._connecting >= self.upstream.connections_max:
                    await self._wait_for_room()
                    continue
                try:
                    connection = await self._connect(state)
                except (OSError, TimeoutError, ssl.SSLError):
                    state.failed(self._loop.time())
                    self._stats.upstream_connect_errors += 1
                    tried |= {index}
                    continue
            state.pending += 1
            return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Give a connection back: kept if it can serve again, closed otherwise."""
        state = connection.endpoint
        state.pending -= 1
        if connection.answered:
            state.succeeded()
        idle = self._idle[id(state)]
        if (
            connection.may_be_reused()
            and not self._is_closed
            and len(idle) < self.upstream.idle_connections_max
        ):
            connection.release()
            connection.expires_at = self._loop.time() + self.upstream.idle_seconds
            idle.append(connection)
        else:
            connection.abort()
        if self._waiting:
            self._let_in()

    def failed(self, connection: UpstreamConnection) -> None:
        """Note that an endpoint did not answer a request at all."""
        connection.endpoint.failed(self._loop.time())

    def close_expired(self, now: float) -> None:
        """Close idle connections that are older than the upstream may keep them."""
        for idle in self._idle.values():
            while idle and idle[0].expires_at <= now:
                idle.pop(0).abort()

    def close(self) -> None:
        """Close idle connections now and busy ones when they are done."""
        self._is_closed = True
        if self._checks is not None:
            self._checks.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
            idle.clear()

    def _idle_of(self, state: EndpointState) -> UpstreamConnection | None:
        idle = self._idle[id(state)]
        while idle:
            connection = idle.pop()
            if not connection.is_closed:
                return connection
        return None

    async def _connect(self, state: EndpointState) -> UpstreamConnection:
        """Open a connection, in a task of its own: a story is none."""
        connecting = spawn(self._open_connection(state), name="connect", on_error=_expected)
        connection: UpstreamConnection = await connecting
        return connection

    async def _open_connection(self, state: EndpointState) -> UpstreamConnection:
        endpoint = state.endpoint
        loop = self._loop

        def factory() -> UpstreamConnection:
            return UpstreamConnection(loop, state, self._closed)

        self._connecting += 1
        try:
            async with asyncio.timeout(self.upstream.timeouts.connect_seconds):
                if endpoint.unix_path is not None:
                    _, connection = await loop.create_unix_connection(factory, endpoint.unix_path)
                else:
                    _, connection = await loop.create_connection(
                        factory,
                        endpoint.host,
                        endpoint.port,
                        ssl=self._tls if endpoint.tls else None,
                        server_hostname=(
                            (self.upstream.tls_server_name or endpoint.host)
                            if endpoint.tls
                            else None
                        ),
                    )
        finally:
            self._connecting -= 1
        self._open.add(connection)
        self._stats.upstream_connections_opened += 1
        return connection

    def _closed(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        idle = self._idle[id(connection.endpoint)]
        if connection in idle:
            idle.remove(connection)
        self._let_in()

    async def _wait_for_room(self) -> None:
        if len(self._waiting) >= WAITING_MAX:
            raise UpstreamError("overloaded", request_sent=False)
        waiter: asyncio.Future[bool] = self._loop.create_future()
        timer = self._loop.call_later(
            self.upstream.timeouts.connect_seconds,
            _answer,
            waiter,
            False,  # noqa: FBT003 - a callback
        )
        self._waiting.append(waiter)
        try:
            if not await waiter:
                raise UpstreamError("overloaded", request_sent=False)
        finally:
            timer.cancel()

    def _let_in(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return


class Upstreams:
    """The pools of a worker, kept across reloads where an upstream did not change."""

    def __init__(self, stats: WorkerStats) -> None:
        self._stats = stats
        self._pools: dict[Upstream, UpstreamPool] = {}

    def pool(self, upstream: Upstream) -> UpstreamPool:
        """Return the pool of an upstream."""
        pool = self._pools.get(upstream)
        if pool is None:
            pool = self._pools[upstream] = UpstreamPool(upstream, self._stats)
        return pool

    def keep_only(self, upstreams: Iterable[Upstream]) -> None:
        """Close the pools of upstreams that a new configuration no longer names."""
        wanted = set(upstreams)
        for upstream in [known for known in self._pools if known not in wanted]:
            self._pools.pop(upstream).close()

    def close_expired(self, now: float) -> None:
        """Close idle connections that are due."""
        for pool in self._pools.values():
            pool.close_expired(now)

    def close(self) -> None:
        """Close all pools."""
        self.keep_only(())


def _answer(waiter: "asyncio.Future[bool]", there_is_room: bool) -> None:  # noqa: FBT001
    if not waiter.done():
        waiter.set_result(there_is_room)


def _expected(_name: str, _error: BaseException) -> None:
    """A failure to connect is told by the future; the loop need not hear of it."""


def _tls_context(upstream: Upstream) -> ssl.SSLContext | None:
    if not any(endpoint.tls for endpoint in upstream.endpoints):
        return None
    context = ssl.create_default_context(cafile=upstream.tls_ca_file)
    if upstream.tls_client_certificate is not None:
        context.load_cert_chain(upstream.tls_client_certificate, upstream.tls_client_key)
    return context
