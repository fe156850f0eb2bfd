"""What a request needs of the outside: every port, and the configuration in force."""

import asyncio
import sys
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from mypy_extensions import mypyc_attr

from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.counters.port import CounterStore
from gateway.keys.format import KeyFormat
from gateway.keys.last_used import LastUsed
from gateway.keys.port import KeyDirectory
from gateway.metering.event_ids import EventIds
from gateway.metering.recorder import Recorder
from gateway.proxy.active import Active, activate
from gateway.proxy.admission import Addresses
from gateway.proxy.exchange import Exchange
from gateway.proxy.pool import Upstreams
from gateway.proxy.refusal_sums import RefusalSums
from gateway.proxy.tunnel import Tunnels
from gateway.rules.record import Record
from gateway.telemetry.metrics import Stats
from gateway.telemetry.state_log import StateLog, kind_of

_log = structlog.get_logger("proxy")


@mypyc_attr(allow_interpreted_subclasses=True)
class Lines:
    """Where access log lines go."""

    def chooses(self) -> bool:
        """Return whether a request is to be logged; asked once for each."""
        return True

    @abstractmethod
    def write_request(self, record: Record, exchange: Exchange) -> None:
        """Log a request that was chosen."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Ports:
    """Everything that waits or tells the time, and the snapshot in force.

    Attributes:
        local_counters: Holds a worker's own share while the store is away.
        exchanges: Requests in flight, for deadlines and drain.
        connections: Client connections, for idle times and drain.
        addresses: How many of them an address has, where that is bounded.
        tunnels: Those that their routes limit, for their times.
        clients_max: How many of them there may be, whatever is configured.
        date_line: The ``Date`` line of own answers, renewed once a second.
        overage_entered: Told when a workspace is found above a quota: (workspace, policy).
        is_draining: Whether the worker is to stop: answers that begin now end their connections.
        drain_ends_at: When what is under way is cut, by the loop's time; 0 until that is known.
        overages_told: The counters of which that was told, the first one first.
        refusals: Those of this second, which share records.
        bugs: Where stories that failed are told of: a caller may repeat what fails.
        not_given_back: Where charges are told of that neither journal nor store took back.
    """

    loop: asyncio.AbstractEventLoop
    clock: Clock
    keys: KeyDirectory
    key_format: KeyFormat
    counters: CounterStore
    local_counters: CounterStore
    upstreams: Upstreams
    journal: Recorder
    key_use: LastUsed
    access_log: Lines
    event_ids: EventIds
    overage_entered: Callable[[str, str], None]
    stats: Stats
    active: Active
    exchanges: set[Exchange] = field(default_factory=set)
    connections: set[asyncio.BaseProtocol] = field(default_factory=set)
    addresses: Addresses = field(default_factory=Addresses)
    tunnels: Tunnels = field(default_factory=Tunnels)
    date_line: bytes = b""
    overages_told: dict[str, None] = field(default_factory=dict)
    is_draining: bool = False
    drain_ends_at: float = 0.0
    clients_max: int = sys.maxsize
    refusals: RefusalSums = field(init=False)
    bugs: StateLog = field(init=False)
    not_given_back: StateLog = field(init=False)

    def __post_init__(self) -> None:
        self.refusals = RefusalSums(self.journal, self.stats.journal)
        now_micro = self.clock.monotonic_micro
        self.bugs = StateLog(_log, "proxy.story_failed", now_micro)
        self.not_given_back = StateLog(
            _log, "proxy.charge_not_given_back", now_micro, level="warning"
        )

    def active_at(self, now_micro: int) -> Active:
        """Return the configuration in force at an instant."""
        active = self.active
        if not active.valid_from_micro <= now_micro < active.valid_until_micro:
            active = self.active = activate(active.snapshot, self.upstreams, now_micro)
        return active

    def story_failed(self, error: BaseException) -> None:
        """Tell of a bug that cut a request, a tunnel or a slice of it."""
        self.bugs.note(kind_of(error), exc_info=error)

    def swap(self, snapshot: Snapshot) -> None:
        """Put a new snapshot in force between two requests."""
        self.active = activate(snapshot, self.upstreams, self.clock.now_micro())
        self.upstreams.keep_only(snapshot.upstreams)
        self.stats.worker.config_version = snapshot.version
