"""One worker's life: start, serve, drain, stop, in this order.

Source: design sections 8, 11 and 13; requirements B11, X6.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import structlog
import uvloop
from aiohttp import web

from gateway import compiled
from gateway.admin.app import start_admin
from gateway.config.loaded import Address, Loaded, Settings
from gateway.config.snapshot import FailurePolicy, Snapshot
from gateway.counters.port import CounterStore
from gateway.errors import GatewayError
from gateway.keys.format import KeyFormat
from gateway.keys.last_used import LastUsed
from gateway.keys.port import KeyDirectory, KeyRegistry
from gateway.ledger.port import Ledger
from gateway.metering.corrections import Corrections
from gateway.metering.courier import Courier, ThreadCourier
from gateway.metering.event_ids import EventIds
from gateway.metering.journal import Journal
from gateway.metering.journal_damage import notices
from gateway.metering.shipper import Shipper
from gateway.process import wiring
from gateway.process.access_log import SampledAccessLog
from gateway.process.clock import SystemClock
from gateway.process.draining import (
    DRAIN_LOOK_SECONDS,
    clients_of,
    end_tunnels,
    is_awaited,
    is_busy,
)
from gateway.process.files import FilesOnDisk
from gateway.process.huge_pages import keep_joined
from gateway.process.listeners import BACKLOG, Listening, bound_addresses, close, listen
from gateway.process.open_files import clients_max, raise_bound
from gateway.process.plans import Comparison, PlansInForce
from gateway.process.recovery import rebuild_memory
from gateway.process.reload import Reloader, log_warnings
from gateway.process.sweep import date_line, sweep
from gateway.process.tls import ListenerCertificate
from gateway.process.tls_listener import TlsListener
from gateway.proxy.active import activate
from gateway.proxy.connection import ClientConnection
from gateway.proxy.leaving import stop_without_client
from gateway.proxy.pool import Upstreams
from gateway.proxy.ports import Ports
from gateway.tasks import spawn
from gateway.telemetry.exposition import create_registry
from gateway.telemetry.logs import AccessLog
from gateway.telemetry.metrics import Stats
from gateway.telemetry.state_log import end_all
from gateway.telemetry.version import VERSION

GARBAGE_THRESHOLD = 50_000
"""Requests leave no cycles behind; looking for some every 700 allocations costs 5 % of all time."""
KEY_USE_EVERY_SECONDS = 60.0
READY_SECONDS = 0.5
"""Between readiness turning false and refusing connections: an orchestrator has to notice."""
SHIP_AT_STOP_SECONDS = 5.0

_log = structlog.get_logger("worker")


@dataclass(slots=True)
class Worker:
    """Everything that a running worker holds."""

    settings: Settings
    snapshot: Snapshot
    stats: Stats
    ports: Ports
    store: CounterStore
    directory: KeyDirectory
    ledger: Ledger
    journal: Journal
    corrections: Corrections
    shipper: Shipper
    reloader: Reloader
    key_use: LastUsed
    key_registry: KeyRegistry | None
    access_log: AccessLog
    certificate: ListenerCertificate | None
    comparison: Comparison
    servers: list[Listening] = field(default_factory=list)
    admin: web.AppRunner | None = None
    background: list[asyncio.Task[None]] = field(default_factory=list)
    journal_is_open: bool = False

    @property
    def files(self) -> FilesOnDisk:
        """All files that are read again while it runs."""
        return FilesOnDisk(self.reloader, self.directory, self.certificate)


def run(loaded: Loaded, overrides: Mapping[str, str], courier: Courier) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    Args:
        courier: Has records brought to the ledger; closed at the end.

    Raises:
        GatewayError: it can't start; nothing was lost.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(loaded, overrides, courier))


async def _live(loaded: Loaded, overrides: Mapping[str, str], courier: Courier) -> int:
    stopping = asyncio.Event()
    try:
        worker = build(loaded, overrides, courier)
    except BaseException:
        await courier.close()
        raise
    _on_signals(worker, stopping)
    try:
        is_started = await _start_unless(stopping, worker)
    except BaseException:
        await stop(worker)
        raise
    if not is_started:
        await stop(worker)
        return 0
    _log.info(
        "worker.started",
        listen=", ".join(map(str, bound_addresses(worker.servers))),
        admin_listen=", ".join(_admin_addresses(worker)),
        routes=len(worker.snapshot.routes),
        request_path="compiled" if compiled.is_used() else "sources",
    )
    log_warnings(loaded)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)
    await stopping.wait()
    await drain(worker)
    await stop(worker)
    _log.info("worker.stopped")
    return 0


async def _start_unless(stopping: asyncio.Event, worker: Worker) -> bool:
    """Start; return False if that was cut short: a ledger that is away is waited for for long."""
    starting = spawn(start(worker), name="start", on_error=_raised_below)
    stopped = spawn(stopping.wait(), name="stopping")
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
    if starting.cancelled():
        return False
    starting.result()
    return True


def _raised_below(_name: str, _error: BaseException) -> None:
    """Whoever waits for the task raises it."""


def build(loaded: Loaded, overrides: Mapping[str, str], courier: Courier | None = None) -> Worker:
    """Put the parts together; nothing runs yet.

    Args:
        courier: Has records brought to the ledger; without one the worker does it in a thread.

    Raises:
        GatewayError: a database can't be opened.
    """
    settings, snapshot, stats, clock = loaded.settings, loaded.snapshot, Stats(), SystemClock()
    store = wiring.open_store(settings, clock, stats.store)
    ledger = wiring.open_ledger(settings)
    own_courier = courier or ThreadCourier(wiring.open_carrier(loaded))
    plans, comparison = PlansInForce(snapshot, clock), Comparison(clock.now_micro)
    directory = wiring.open_directory(settings, clock, stats.directory, plans)
    journal = _journal(settings, stats)
    key_use, access_log = LastUsed(), AccessLog(stats.worker)
    sampled = SampledAccessLog(access_log, snapshot.access_log.sample_per_million, Random())  # noqa: S311
    ports = _ports(
        settings,
        snapshot,
        stats,
        counters=store, keys=directory, journal=journal, key_use=key_use, access_log=sampled,
    )  # fmt: skip
    open_files_max = raise_bound()
    ports.clients_max = clients_max(snapshot, open_files_max)

    def swap(new: Snapshot) -> None:
        sampled.sample(new.access_log.sample_per_million)
        ports.clients_max = clients_max(new, open_files_max)
        ports.swap(new)
        plans.snapshot = new

    reloader = Reloader(loaded, overrides, swap, stats.worker, comparison.refuse_unless_complete)
    certificate = _certificate(settings, stats)
    return Worker(
        settings=settings,
        snapshot=snapshot,
        stats=stats,
        ports=ports,
        store=store,
        directory=directory,
        ledger=ledger,
        journal=journal,
        corrections=Corrections(store, journal),
        shipper=_shipper(settings, journal, own_courier, stats),
        reloader=reloader,
        comparison=comparison,
        key_use=key_use,
        key_registry=wiring.note_key_use(settings),
        access_log=access_log,
        certificate=certificate,
    )


def _certificate(settings: Settings, stats: Stats) -> ListenerCertificate | None:
    return None if settings.tls is None else ListenerCertificate(settings.tls, stats.worker)


def _journal(settings: Settings, stats: Stats) -> Journal:
    return Journal(
        settings.data_dir / "journal",
        clock=SystemClock(),
        stats=stats.journal,
        fsync_seconds=settings.fsync_seconds,
        segment_bytes_max=settings.segment_bytes,
        bytes_max=settings.journal_bytes_max,
        keep_seconds=settings.keep_shipped_seconds,
        keep_bytes_max=settings.keep_shipped_bytes_max,
        reserve_bytes=settings.reserve_bytes,
    )


def _shipper(settings: Settings, journal: Journal, courier: Courier, stats: Stats) -> Shipper:
    return Shipper(
        journal,
        courier,
        clock=SystemClock(),
        stats=stats.shipper,
        interval_seconds=settings.ship_interval_seconds,
        batch=settings.ship_batch,
    )


def _ports(
    settings: Settings,
    snapshot: Snapshot,
    stats: Stats,
    *,
    counters: CounterStore,
    keys: KeyDirectory,
    journal: Journal,
    key_use: LastUsed,
    access_log: SampledAccessLog,
) -> Ports:
    """Return what requests need."""
    clock, upstreams = SystemClock(), Upstreams(stats.worker)
    stats.worker.config_version = snapshot.version
    return Ports(
        loop=asyncio.get_running_loop(),
        clock=clock,
        keys=keys,
        key_format=KeyFormat(allow_foreign=settings.accepts_foreign_keys),
        counters=counters,
        local_counters=wiring.open_local_store(counters),
        upstreams=upstreams,
        journal=journal,
        key_use=key_use,
        access_log=access_log,
        event_ids=EventIds(clock),
        overage_entered=_overage_teller(stats),
        stats=stats,
        active=activate(snapshot, upstreams, clock.now_micro()),
        date_line=date_line(clock),
    )


def _overage_teller(stats: Stats) -> Callable[[str, str], None]:
    def tell(workspace_id: str, policy: str) -> None:
        stats.worker.overage_entered += 1
        _log.warning("limits.overage_entered", workspace_id=workspace_id, policy=policy)

    return tell


async def start(worker: Worker) -> None:
    """Recover, connect, listen.

    Raises:
        GatewayError: the journal is taken, the ledger is away while a memory store needs it, or an
            address is in use.
    """
    worker.access_log.start(worker.ports.loop)
    await asyncio.to_thread(worker.journal.open)
    worker.journal_is_open = True
    await worker.store.start()
    restorable = wiring.restorable(worker.store)
    if restorable is not None:
        await rebuild_memory(
            restorable,
            worker.ledger,
            worker.journal,
            worker.shipper,
            worker.snapshot,
            worker.ports.clock.now_micro(),
        )
        worker.corrections.start(replay=False)
    else:
        worker.corrections.start(replay=True)
    await worker.directory.start()
    is_compared = await worker.comparison.begin(worker.reloader.loaded)
    worker.shipper.start()
    worker.background += [
        spawn(sweep(worker.ports, worker.ports.clock), name="sweep"),
        spawn(worker.reloader.watch(), name="reload"),
        spawn(_write_key_use(worker), name="key-use"),
        spawn(worker.shipper.verify_kept(), name="journal-kept"),
    ]
    if not is_compared:
        again = worker.comparison.repeat(lambda: worker.reloader.loaded)
        worker.background.append(spawn(again, name="plans-in-use"))
    if worker.certificate is not None:
        worker.background.append(spawn(worker.certificate.watch(), name="tls"))
    worker.servers = await _listen(worker)
    worker.admin = await _listen_admin(worker)
    if worker.settings.uses_huge_pages:
        worker.background.append(spawn(keep_joined(), name="huge-pages"))


async def _listen(worker: Worker) -> list[Listening]:
    ports, certificate = worker.ports, worker.certificate

    async def serve(bound: socket.socket) -> Listening:
        server = await ports.loop.create_server(
            lambda: ClientConnection(ports),
            sock=bound,
            backlog=BACKLOG,
            start_serving=certificate is None,
        )
        if certificate is None:
            return server
        return TlsListener(ports, server, certificate.context, backlog=BACKLOG)

    return await listen(worker.settings.listen, serve)


def _admin_addresses(worker: Worker) -> list[str]:
    names = [] if worker.admin is None else worker.admin.addresses
    return [str(Address(name[0], name[1])) for name in names]


async def _listen_admin(worker: Worker) -> web.AppRunner:
    registry = create_registry(
        worker.stats,
        lambda: [(r.name, r.counters) for r in worker.ports.active.snapshot.routes],
        version=VERSION,
    )
    return await start_admin(
        [(address.host, address.port) for address in worker.settings.admin_listen],
        lambda: readiness(worker),
        registry,
        lambda: measure(worker),
        lambda: [*worker.files.notices(), *notices(worker.stats)],
    )


async def measure(worker: Worker) -> None:
    """Bring those numbers up to date that are looked at, not counted, when they are asked for."""
    await worker.shipper.measure()
    worker.stats.journal.bytes_kept = worker.journal.reader.kept.size_bytes
    worker.stats.directory.feed_age_micro = wiring.feed_age_micro(worker.directory)
    worker.stats.worker.connections_open = len(worker.ports.connections)
    worker.stats.worker.requests_in_flight = len(worker.ports.exchanges)


def readiness(worker: Worker) -> list[str]:
    """Return why this worker should get no requests now; empty if it should."""
    reasons = []
    if worker.ports.is_draining:
        reasons.append("draining")
    if not worker.journal.is_available:
        reasons.append("journal unavailable")
    routes = worker.ports.active.snapshot.routes
    all_closed = all(route.on_store_failure is FailurePolicy.CLOSED for route in routes)
    if all_closed and not worker.store.is_available:
        reasons.append("counter store away")
    if worker.comparison.open_question:
        reasons.append(worker.comparison.open_question)
    return reasons


async def _write_key_use(worker: Worker) -> None:
    while True:
        await asyncio.sleep(KEY_USE_EVERY_SECONDS)
        await _note_key_use(worker)


async def _note_key_use(worker: Worker) -> None:
    """Write down which keys were used when; a database that is away is told of it later."""
    registry = worker.key_registry
    if registry is None:
        return
    due = worker.key_use.due(worker.ports.clock.now_micro())
    if not due:
        return
    try:
        async with asyncio.timeout(SHIP_AT_STOP_SECONDS):
            await asyncio.to_thread(registry.touch_keys, due)
    except (GatewayError, TimeoutError) as error:
        worker.key_use.failed(due)
        _log.warning("keys.use_not_noted", reason=str(error) or "the database does not answer")


def _on_signals(worker: Worker, stopping: asyncio.Event) -> None:
    loop = worker.ports.loop
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(
        signal.SIGHUP, lambda: spawn(worker.files.read_again(), name="reload-asked")
    )


async def drain(worker: Worker) -> None:
    """Tell the orchestrator, take no new connections, let what is under way finish (bounded)."""
    ports = worker.ports
    ports.is_draining = True
    _log.info("worker.draining", in_flight=len(ports.exchanges))
    await asyncio.sleep(READY_SECONDS)
    close(worker.servers)
    ends = ports.drain_ends_at = ports.loop.time() + worker.settings.drain_seconds
    for connection in clients_of(ports):
        connection.go_away(worker.settings.drain_seconds)
    while (is_awaited(ports) or is_busy(ports)) and ports.loop.time() < ends:
        if not ports.exchanges:
            await _flush(worker)
        await asyncio.sleep(DRAIN_LOOK_SECONDS)
    await end_tunnels(ports)
    await _flush(worker)
    if ports.exchanges:
        _log.warning("worker.drain_cut", in_flight=len(ports.exchanges))


async def _flush(worker: Worker) -> None:
    """Write records out: last bytes may still wait for the disk."""
    worker.ports.refusals.flush()
    if worker.journal_is_open:
        await worker.journal.flush()
        await asyncio.sleep(0)


async def stop(worker: Worker) -> None:
    """Close everything, the journal last: what is recorded is shipped if the ledger is there."""
    close(worker.servers)
    for connection in clients_of(worker.ports):
        connection.cut()
    for exchange in tuple(worker.ports.exchanges):
        stop_without_client(exchange)
    await asyncio.sleep(0)
    worker.reloader.close()
    for task in worker.background:
        task.cancel()
    if worker.background:
        await asyncio.wait(worker.background)
    await _note_key_use(worker)
    worker.ports.refusals.flush()
    if worker.journal_is_open:
        await worker.journal.flush()
        await worker.corrections.drain(SHIP_AT_STOP_SECONDS)
        await worker.shipper.flush(SHIP_AT_STOP_SECONDS)
    await worker.shipper.close()
    await worker.corrections.close()
    if worker.journal_is_open:
        await worker.journal.close()
    await worker.directory.close()
    await worker.store.close()
    worker.ports.upstreams.close()
    worker.access_log.close()
    if worker.admin is not None:
        await worker.admin.cleanup()
    worker.ledger.close()
    end_all()
