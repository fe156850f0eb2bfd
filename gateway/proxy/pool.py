"""Connections to the upstreams: kept alive, bounded, chosen by load.

Retries are safe by construction: another endpoint is tried only if nothing was sent; a stale pooled
connection is replaced once, only if nothing came back and the request may be repeated.
Source: RFC 9110 9.2.2, RFC 9112 9.3.1; STANDARDS 4.5; requirement C12.
"""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from gateway.config.snapshot import Upstream
from gateway.errors import Refusal, RefusalCode
from gateway.proxy.balancing import EndpointState, choose
from gateway.proxy.health import watch
from gateway.proxy.outcomes import Outcomes
from gateway.proxy.resolver import Lookup, Names, is_literal, system_lookup
from gateway.proxy.upstream import UpstreamConnection, UpstreamError
from gateway.tasks import spawn
from gateway.telemetry.metrics import WorkerStats

ATTEMPT_SECONDS_MIN: Final = 0.25
"""An address gets at least this before the next one of the same name is tried (RFC 8305 5)."""

Factory = Callable[[], UpstreamConnection]


class UpstreamPool:
    """All connections of a worker to one upstream.

    Holds always: an endpoint's ``pending`` is what was taken there and not released yet; every open
    connection is either idle or taken.

    Attributes:
        is_guarded: Whether a request must ask before it is let in: bounded, or the circuit is open.
    """

    def __init__(
        self, upstream: Upstream, stats: WorkerStats, lookup: Lookup = system_lookup
    ) -> None:
        self.upstream = upstream
        self._loop = asyncio.get_running_loop()
        self._stats = stats
        self._states = [
            EndpointState(endpoint, index) for index, endpoint in enumerate(upstream.endpoints)
        ]
        self._is_single = len(self._states) == 1
        # Workers that all began with the first would all be there at the same time.
        self._turn = random.randrange(len(self._states))  # noqa: S311 - no secret
        self._idle: list[list[UpstreamConnection]] = [[] for _ in self._states]
        self._open: set[UpstreamConnection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._tls = _tls_context(upstream)
        self._is_closed = False
        self._outcomes = Outcomes(upstream, self._states, stats, self._guard)
        self._watches = self._outcomes.watches
        self.is_guarded = upstream.requests_max > 0
        self._tasks: list[asyncio.Task[None]] = []
        self._names = self._start_names(lookup)
        if upstream.health_check is not None:
            checks = watch(
                upstream.name,
                upstream.health_check,
                self._states,
                stats.upstream_endpoints_unwell,
                self._tls,
                upstream.tls_server_name,
            )
            self._tasks.append(spawn(checks, name="health"))

    def _start_names(self, lookup: Lookup) -> Names | None:
        upstream = self.upstream
        hosts = {
            endpoint.host
            for endpoint in upstream.endpoints
            if endpoint.unix_path is None and not is_literal(endpoint.host)
        }
        if not hosts:
            return None
        names = Names(
            upstream.name,
            hosts,
            self._stats,
            self._name_changed,
            random.randrange(1 << 16),  # noqa: S311 - no secret
            lookup,
        )
        fresh = names.keep_fresh(upstream.dns_refresh_seconds)
        self._tasks.append(spawn(fresh, name="names"))
        return names

    # What requests do

    def require_room(self) -> None:
        """Refuse a request before it costs anything; only a guarded pool has to be asked.

        Raises:
            Refusal: the circuit is open, or as many requests are under way as may be.
        """
        wait_seconds = self._outcomes.wait_seconds(self._loop.time())
        if wait_seconds:
            raise Refusal(RefusalCode.UPSTREAM_CIRCUIT_OPEN, retry_after_seconds=wait_seconds)
        if self._is_full():
            raise Refusal(RefusalCode.OVERLOADED)

    def take_idle(self) -> UpstreamConnection | None:
        """Return a kept connection to the endpoint that is to be used next, if there is one."""
        if self.is_guarded or self._waiting:
            return None  # ``acquire`` asks, and lets those first who came first
        states = self._states
        if self._is_single:
            connection = self._idle_of(states[0])
            if connection is not None:
                connection.endpoint.pending += 1
            return connection
        index = choose(states, self._loop.time(), frozenset(), self._turn)
        state = states[index or 0]
        if state.is_ejected:
            return None  # it may be a trial
        connection = self._idle_of(state)
        if connection is not None:
            state.pending += 1
            self._turn = (index or 0) + 1
        return connection

    async def acquire(self) -> UpstreamConnection:
        """Return a connection that is ready for a request, opening one if need be.

        Raises:
            UpstreamError: ``connect`` if no endpoint could be reached, ``overloaded`` if too many
                requests wait or are under way, ``circuit`` if the circuit is open.
        """
        if not self.is_guarded:
            return await self._acquire()
        if self._is_full():
            raise UpstreamError("overloaded", request_sent=False)
        if self._outcomes.wait_seconds(self._loop.time()):
            raise UpstreamError("circuit", request_sent=False)
        is_probe = self._outcomes.begin_probe()
        if not is_probe:
            return await self._acquire()
        try:
            connection = await self._acquire(is_probe=True)
        except BaseException:
            self._outcomes.end_probe()
            raise
        connection.is_circuit_probe = True
        return connection

    async def _acquire(self, *, is_probe: bool = False) -> UpstreamConnection:
        tried: frozenset[int] = frozenset()
        until = 0.0
        if self._waiting:
            until = self._loop.time() + self.upstream.timeouts.connect_seconds
            await self._wait_for_room(until)
        while True:
            index = choose(self._states, self._loop.time(), tried, self._turn)
            if index is None:
                self._outcomes.unreachable(self._loop.time(), is_probe=is_probe)
                raise UpstreamError("connect", request_sent=False)
            state = self._states[index]
            connection = self._idle_of(state)
            if connection is None and not self._has_room():
                has_waited = until > 0
                until = until or self._loop.time() + self.upstream.timeouts.connect_seconds
                await self._wait_for_room(until, has_waited=has_waited)
                continue
            self._turn = index + 1
            state.pending += 1
            is_trial = state.is_ejected and self._outcomes.begin_trial(state, self._loop.time())
            if connection is None:
                connection = await self._connected(state, is_trial=is_trial)
            if connection is not None:
                connection.is_trial = is_trial
                return connection
            tried |= {index}

    async def _connected(
        self, state: EndpointState, *, is_trial: bool
    ) -> UpstreamConnection | None:
        """Return a new connection; None if there was none to be had, which is noted."""
        connection: UpstreamConnection | None = None
        try:
            made = await self._connect(state)
            if not made.is_closed:  # since it was opened
                connection = made
        except OSError:  # a deadline and TLS are among these
            pass
        finally:
            if connection is None:
                state.pending -= 1
                self._stats.upstream_connect_errors += 1
                self._outcomes.connect_failed(state, self._loop.time(), is_trial=is_trial)
                self._let_in()
        return connection

    def answered(self, connection: UpstreamConnection, status: int) -> None:
        """Note that a trial or probe is being answered: a long answer need not be waited for."""
        self._outcomes.answered(connection, status, self._loop.time())

    def release(self, connection: UpstreamConnection) -> None:
        """Give a connection back: kept if it can serve again, closed otherwise."""
        state = connection.endpoint
        state.pending -= 1
        idle = self._idle[state.index]
        is_kept = (
            connection.may_be_reused()
            and not self._is_closed
            and len(idle) < self.upstream.idle_connections_max
        )
        if not is_kept or state.is_troubled or self._watches:
            self._outcomes.ended(connection, self._loop.time())
        if is_kept:
            connection.release()
            connection.expires_at = connection.touched_at + self.upstream.idle_seconds
            idle.append(connection)
        else:
            connection.abort()
            connection.release()  # an error and its frames refer back to all that was under way
        if self._waiting:
            self._let_in()

    # What time brings

    def close_expired(self, now: float) -> None:
        """Close idle connections that are older than the upstream may keep them."""
        for idle in self._idle:
            while idle and idle[0].expires_at <= now:
                idle.pop(0).abort()

    def close(self) -> None:
        """Close idle connections now and busy ones when they are done."""
        self._is_closed = True
        self._outcomes.close()
        for task in self._tasks:
            task.cancel()
        for idle in self._idle:
            for connection in idle:
                connection.abort()
            idle.clear()

    def _guard(self, circuit_is_open: bool) -> None:  # noqa: FBT001 - a callback
        self.is_guarded = circuit_is_open or self.upstream.requests_max > 0

    def _is_full(self) -> bool:
        requests_max = self.upstream.requests_max
        if not requests_max:
            return False
        under_way = len(self._waiting)
        for state in self._states:
            under_way += state.pending
        return under_way >= requests_max

    # Connections

    def _idle_of(self, state: EndpointState) -> UpstreamConnection | None:
        idle = self._idle[state.index]
        while idle:
            connection = idle.pop()
            if not connection.is_closed:
                return connection
        return None

    def _has_room(self) -> bool:
        """Return whether one more connection may be opened, in the place of an idle one maybe."""
        if len(self._open) + self._connecting < self.upstream.connections_max:
            return True
        for idle in self._idle:
            if idle:
                unused = idle.pop(0)
                self._open.discard(unused)
                unused.abort()
                return True
        return False

    async def _connect(self, state: EndpointState) -> UpstreamConnection:
        """Open a connection, in a task of its own: a story is none."""
        self._connecting += 1
        connecting = spawn(self._open_connection(state), name="connect", on_error=_expected)
        connection: UpstreamConnection = await connecting
        return connection

    async def _open_connection(self, state: EndpointState) -> UpstreamConnection:
        loop = self._loop

        def factory() -> UpstreamConnection:
            return UpstreamConnection(loop, state, self._closed)

        try:
            async with asyncio.timeout(self.upstream.timeouts.connect_seconds) as limit:
                connection = await self._dial(state, factory, limit)
        finally:
            self._connecting -= 1
        if connection.is_closed:  # already
            raise ConnectionResetError
        self._open.add(connection)
        self._stats.upstream_connections_opened += 1
        return connection

    async def _dial(
        self, state: EndpointState, factory: Factory, limit: asyncio.Timeout
    ) -> UpstreamConnection:
        """Connect to an endpoint, by each address of its name in turn.

        Raises:
            OSError: none of them takes connections.
        """
        endpoint, names = state.endpoint, self._names
        if endpoint.unix_path is not None:
            _, connection = await self._loop.create_unix_connection(factory, endpoint.unix_path)
            return connection
        if names is None or not names.holds(endpoint.host):
            return await self._dial_address(state, factory, endpoint.host)
        addresses = await names.addresses(endpoint.host)
        for position, address in enumerate(addresses):
            left = len(addresses) - position
            seconds = (limit.when() or 0.0) - self._loop.time()
            try:
                # The last one has what is left.
                async with asyncio.timeout(
                    max(seconds / left, ATTEMPT_SECONDS_MIN) if left > 1 else None
                ):
                    connection = await self._dial_address(state, factory, address)
            except OSError:
                names.failed(endpoint.host, address)
                if left == 1:
                    raise
                continue
            connection.address = address
            connection.is_retired = not names.stands(endpoint.host, address)
            return connection
        raise ConnectionError("a name without addresses")

    async def _dial_address(
        self, state: EndpointState, factory: Factory, address: str
    ) -> UpstreamConnection:
        endpoint = state.endpoint
        server_name = self.upstream.tls_server_name or endpoint.host
        _, connection = await self._loop.create_connection(
            factory,
            address,
            endpoint.port,
            ssl=self._tls if endpoint.tls else None,
            server_hostname=server_name if endpoint.tls else None,
        )
        return connection

    def _closed(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        state = connection.endpoint
        idle = self._idle[state.index]
        if connection in idle:
            idle.remove(connection)
        elif connection.tunnel is not None:  # nobody gives a tunnel back
            state.pending -= 1
        self._let_in()

    def _name_changed(self, host: str, addresses: frozenset[str]) -> None:
        """Let go of connections to addresses that a name no longer stands for."""
        for connection in tuple(self._open):
            endpoint = connection.endpoint.endpoint
            if endpoint.host == host and connection.address:
                connection.is_retired = connection.address not in addresses
        for idle in self._idle:
            for connection in [known for known in idle if known.is_retired]:
                idle.remove(connection)
                connection.abort()

    async def _wait_for_room(self, until: float, *, has_waited: bool = False) -> None:
        """Wait until it is one's turn and a connection may be free.

        Args:
            until: The loop's time at which to give up.
            has_waited: What one was let in for was gone: one is the first again.

        Raises:
            UpstreamError: too many wait, or none was free in time.
        """
        seconds = until - self._loop.time()
        if len(self._waiting) >= self.upstream.pending_max or seconds <= 0:
            raise UpstreamError("overloaded", request_sent=False)
        waiter: asyncio.Future[bool] = self._loop.create_future()
        timer = self._loop.call_later(
            seconds,
            _answer,
            waiter,
            False,  # noqa: FBT003 - a callback
        )
        if has_waited:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        try:
            if not await waiter:
                raise UpstreamError("overloaded", request_sent=False)
        finally:
            timer.cancel()
            self._waiting.remove(waiter)
            if self._waiting:
                # Later: what this one was let in for is free until it goes on.
                self._loop.call_soon(self._let_in)

    def _let_in(self) -> None:
        """Wake those who wait, first come first served, as many as there is room for.

        They stay in the queue until they go on: whoever comes meanwhile stands behind them.
        """
        if not self._waiting:
            return
        room = self.upstream.connections_max - len(self._open) - self._connecting
        room += sum(map(len, self._idle))
        for waiter in islice(self._waiting, max(room, 0)):
            _answer(waiter, True)  # noqa: FBT003 - a callback


class Upstreams:
    """The pools of a worker, kept across reloads where an upstream did not change."""

    def __init__(self, stats: WorkerStats, lookup: Lookup = system_lookup) -> None:
        self._stats = stats
        self._lookup = lookup
        self._pools: dict[Upstream, UpstreamPool] = {}

    def pool(self, upstream: Upstream) -> UpstreamPool:
        """Return the pool of an upstream."""
        pool = self._pools.get(upstream)
        if pool is None:
            pool = self._pools[upstream] = UpstreamPool(upstream, self._stats, self._lookup)
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
        context.load_cert_chain(
            upstream.tls_client_certificate, upstream.tls_client_key, password=""
        )
    return context
