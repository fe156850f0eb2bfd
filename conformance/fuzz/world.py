"""A data plane without sockets: the gateway's own code, between transports that only remember."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import h11

from gateway.config.settings import load
from gateway.counters.memory import MemoryCounterStore
from gateway.keys.format import KeyFormat
from gateway.keys.last_used import LastUsed
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.metering.event_ids import EventIds
from gateway.metering.recorder import Recorder, Waiter
from gateway.process.clock import SystemClock
from gateway.proxy.active import activate
from gateway.proxy.connection import ClientConnection
from gateway.proxy.exchange import Exchange
from gateway.proxy.pool import Upstreams
from gateway.proxy.ports import Lines, Ports
from gateway.proxy.upstream import UpstreamConnection
from gateway.rules.record import Record
from gateway.telemetry.metrics import Stats

ROOT: Final = Path(__file__).parents[2]
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ROUTES: Final = f"""\
version: 1
pricing: {ROOT}/fixtures/pricing_ssot.json
keys: file:keys.yaml
upstreams: {{app: {{endpoints: ["http://127.0.0.1:1"]}}}}
routes:
  - name: open
    match: {{methods: [GET, POST, PUT, PATCH, DELETE, OPTIONS, QUERY], path: "/**"}}
    upstream: app
    auth: none
"""
TURNS: Final = 4
TURNS_MAX: Final = 50


class Transport:
    """Remembers what is written; never blocks."""

    def __init__(self) -> None:
        self.written = b""
        self.is_cut = False
        self.is_closed = False

    def write(self, data: bytes) -> None:
        """Remember."""
        self.written += data

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        """Remember all."""
        self.written += b"".join(parts)

    def write_eof(self) -> None:
        """Nothing can come any more."""

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def close(self) -> None:
        """Note a proper end."""
        self.is_closed = True

    def abort(self) -> None:
        """Note that it was cut."""
        self.is_closed = self.is_cut = True

    def is_closing(self) -> bool:
        """Whether it ended."""
        return self.is_closed

    def pause_reading(self) -> None:
        """Everything has been read already."""

    def resume_reading(self) -> None:
        """As above."""

    def set_write_buffer_limits(self, high: int) -> None:
        """There is no bound."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def get_extra_info(self, name: str) -> object:
        """Say who is there."""
        return ("127.0.0.1", 1) if name == "peername" else _Socket()


class _Socket:
    def setsockopt(self, *_: object) -> None:
        """Have no options."""


class Journal(Recorder):
    """Keeps nothing; releases when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Waiter] = []

    @property
    def is_available(self) -> bool:
        """It is."""
        return True

    def append(self, record: Record, waiter: Waiter) -> None:  # noqa: ARG002 - kept nowhere
        """Let the last bytes go at the next turn."""
        self.waiting.append(waiter)

    def release(self) -> None:
        """Release what waits."""
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            waiter.release(written=True)


class NoLog(Lines):
    """An access log that is off."""

    def write_request(self, record: Record, exchange: Exchange) -> None:
        """Drop it."""


class World:
    """One data plane for all inputs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-fuzz-")
        self.failures: list[object] = []
        self.upstreams: list[tuple[UpstreamConnection, Transport]] = []
        self.journal = Journal()
        self.ports = self.loop.run_until_complete(self._ports(Path(self._folder.name)))
        self.active = self.ports.active
        self.loop.set_exception_handler(lambda _loop, told: self.failures.append(told))

    async def _ports(self, folder: Path) -> Ports:
        (folder / "keys.yaml").write_text("version: 1\nworkspaces: []\n")
        (folder / "gateway.yaml").write_text(ROUTES)
        snapshot = load(folder / "gateway.yaml", environ={}, overrides={}).snapshot
        clock, stats = SystemClock(), Stats()
        upstreams = Upstreams(stats.worker)
        ports = Ports(
            loop=self.loop,
            clock=clock,
            keys=YamlKeyDirectory(folder / "keys.yaml", stats=stats.directory),
            key_format=KeyFormat(),
            counters=MemoryCounterStore(clock, stats=stats.store),
            local_counters=MemoryCounterStore(clock, stats=stats.store),
            upstreams=upstreams,
            journal=self.journal,
            key_use=LastUsed(),
            access_log=NoLog(),
            event_ids=EventIds(clock),
            overage_entered=lambda _workspace, _policy: None,
            stats=stats,
            active=activate(snapshot, upstreams, clock.now_micro()),
        )
        pool = upstreams.pool(snapshot.upstreams[0])
        pool._dial = self._dialled  # type: ignore[assignment,method-assign]  # noqa: SLF001
        return ports

    async def _dialled(
        self, _state: object, factory: Callable[[], UpstreamConnection], _limit: object
    ) -> UpstreamConnection:
        """Connect to nothing, in the place of the pool's own way of connecting."""
        connection, transport = factory(), Transport()
        connection.connection_made(cast("asyncio.Transport", transport))
        self.upstreams.append((connection, transport))
        return connection

    def play(self, pieces: list[bytes], answer: bytes) -> None:
        """Send a client's bytes and answer whatever reaches the service; h11 judges both sides.

        Raises:
            h11.RemoteProtocolError: one side got what is no HTTP.
            AssertionError: an error came out of the gateway's code.
        """
        self.loop.run_until_complete(self._play(pieces, answer))

    async def _play(self, pieces: list[bytes], answer: bytes) -> None:
        client, transport = ClientConnection(self.ports), Transport()
        client.connection_made(cast("asyncio.Transport", transport))
        methods: list[bytes] = []
        for piece in pieces:
            if not transport.is_closed:
                client.data_received(piece)
                await self._settle(methods, answer)
        _judge_answers(transport, methods, may_switch=b"websocket" in b"".join(pieces).lower())
        client.connection_lost(None)
        for _ in range(TURNS_MAX):
            await self._turn()
            ended, self.upstreams = self.upstreams, []
            for connection, upstream in ended:
                _requests_in(upstream.written)
                connection.connection_lost(None)
            if not (ended or self.ports.exchanges):
                break
        assert self.failures == [], self.failures
        assert not self.ports.exchanges, "a request never ends"
        assert not self.ports.connections, "a connection is never forgotten"

    async def _settle(self, methods: list[bytes], answer: bytes) -> None:
        """Let everything come to rest, with an answer to each whole request."""
        await self._turn()
        for _ in range(8):
            asked = [
                (connection, upstream)
                for connection, upstream in list(self.upstreams)
                if not upstream.is_closed and connection.request_sent and not connection.answered
            ]
            whole = [pair for pair in asked if _is_whole(pair[1].written)]
            if not whole:
                return
            for connection, upstream in whole:
                methods.append(_requests_in(upstream.written)[-1])
                if answer:
                    connection.data_received(answer)
                    if not upstream.is_closed and not connection.may_be_reused():
                        connection.eof_received()
                        connection.connection_lost(None)
                else:
                    connection.data_received(OK if methods[-1] != b"HEAD" else OK[:-2])
            await self._turn()

    async def _turn(self) -> None:
        for _ in range(TURNS):
            self.journal.release()
            await asyncio.sleep(0)


def _requests_in(data: bytes) -> list[bytes]:
    """Return the methods of the requests in what a service got, whole or not.

    Raises:
        h11.RemoteProtocolError: it is not HTTP.
    """
    return [method for method, _ in _read(data)]


def _is_whole(data: bytes) -> bool:
    read = _read(data)
    return bool(read) and read[-1][1]


def _read(data: bytes) -> list[tuple[bytes, bool]]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    found: list[tuple[bytes, bool]] = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            found.append((event.method, False))
        elif isinstance(event, h11.EndOfMessage):
            found[-1] = (found[-1][0], True)
        elif event is h11.PAUSED and connection.their_state is h11.DONE:
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                return found
            connection.start_next_cycle()
        elif not isinstance(event, h11.Data):
            return found


def _judge_answers(transport: Transport, methods: list[bytes], *, may_switch: bool) -> None:
    """Read what a client got; another protocol only if it ever named one.

    Raises:
        h11.RemoteProtocolError: it is not HTTP.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    if not transport.written:
        return
    connection.receive_data(transport.written)
    proposal = [("Connection", "Upgrade"), ("Upgrade", "websocket")] if may_switch else []
    for method in [*methods, b"GET"]:
        head = h11.Request(method=method, target="/", headers=[("Host", "judge"), *proposal])
        connection.send(head)
        connection.send(h11.EndOfMessage())
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                break
        if connection.our_state is h11.MUST_CLOSE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()
