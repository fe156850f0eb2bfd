"""What the gateway refuses is counted to the last request, and takes little room in the books."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.snapshot import Snapshot
from gateway.errors import Refusal, RefusalCode
from gateway.keys.port import KeyEntry
from gateway.ledger.rollups import accumulate
from gateway.metering.recorder import Recorder, Waiter
from gateway.proxy.books import Draft, close_books, record_of
from gateway.proxy.caller import entered
from gateway.proxy.exchange import ClientSide, Exchange
from gateway.proxy.ports import Ports
from gateway.proxy.refusal_sums import ALONE_MAX, VARIANTS_MAX, Group, Quantities, RefusalSums
from gateway.rules.charge import Counts
from gateway.rules.decision import Violation
from gateway.rules.limits import LimitKind
from gateway.rules.record import Outcome, Record
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import JournalStats, Stats
from tests.metering.journals import record
from tests.support.data_plane import ports_of
from tests.support.fake_clock import NOW_MICRO, FakeClock

SECOND = NOW_MICRO // MICRO
OWNER = (429, "quota_exceeded", "runs")
DC: Quantities = (("dc", MICRO),)


class Kept(Recorder):
    """A journal that keeps what it is given."""

    is_available = True

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.keeps = True

    def append(self, record: Record, waiter: Waiter) -> None:
        if self.keeps:
            self.records.append(record)
        waiter.release(written=self.keeps)


class Client(ClientSide):
    """A client that only looks whether it was answered."""

    def __init__(self) -> None:
        self.answered = 0

    def exchange_finished(self, exchange: Exchange) -> None:
        self.answered += exchange.client is self


def refuse(sums: RefusalSums, number: int, **facts: object) -> Group:
    """Have a number of refusals summed that are alike."""
    facts = {
        "second": SECOND, "by_store": False, "owner": OWNER, "method": "GET", "quantities": DC,
        **facts,
    }  # fmt: skip
    for _ in range(number):
        group = sums.group(**facts)  # type: ignore[arg-type]
        group.seen += 1
        if group.record is not None:
            group.add(1, 2, 3)
        elif group.seen > ALONE_MAX:
            group.begin(record(1, bytes_in=1, bytes_out=2, latency_micro=3, run_id="r"), "sum")
    return group


@pytest.fixture
def journal() -> Kept:
    return Kept()


@pytest.fixture
def stats() -> JournalStats:
    return JournalStats()


@pytest.fixture
def sums(journal: Kept, stats: JournalStats) -> RefusalSums:
    return RefusalSums(journal, stats, groups_max=100)


def test_those_after_the_tenth_share_a_record(
    sums: RefusalSums, journal: Kept, stats: JournalStats
) -> None:
    refuse(sums, ALONE_MAX + 41)
    assert journal.records == [], "the second is not over"

    sums.sweep(NOW_MICRO + MICRO, NOW_MICRO)

    (one,) = journal.records
    assert (one.count, one.bytes_in, one.bytes_out, one.latency_micro) == (41, 41, 82, 123)
    assert (one.event_id, one.request_id, one.run_id) == ("sum", "req-1", None)
    assert one.quantities_micro == {"dc": MICRO}
    assert stats.refusals_summed == 41
    sums.flush()
    assert len(journal.records) == 1


def test_ten_leave_nothing_behind(sums: RefusalSums, journal: Kept) -> None:
    refuse(sums, ALONE_MAX)
    sums.flush()
    assert journal.records == []


@pytest.mark.parametrize("by_store", [False, True])
@pytest.mark.parametrize("off_seconds", [-3600, -1, 0, 1, 3600])
def test_a_second_is_over_by_the_clock_that_it_is_of(
    sums: RefusalSums, journal: Kept, by_store: bool, off_seconds: int
) -> None:
    refuse(sums, ALONE_MAX + 1, by_store=by_store)
    now = NOW_MICRO + off_seconds * MICRO
    sums.sweep(*((NOW_MICRO, now) if by_store else (now, NOW_MICRO)))
    # A clock that is put back far does not come to this second for long.
    assert len(journal.records) == (off_seconds not in {0, -1})


def test_what_a_caller_varies_becomes_one_group(sums: RefusalSums, journal: Kept) -> None:
    """A caller chooses methods and costs: neither fills the books."""
    for number in range(VARIANTS_MAX + 50):
        refuse(sums, 1, quantities=(("dc", number),))
    sums.flush()

    (one,) = journal.records
    assert one.count == 50
    assert one.quantities_micro == {"dc": 0}, "they are not the same"


def test_as_many_groups_as_there_may_be_are_written_before_their_time(
    journal: Kept, stats: JournalStats
) -> None:
    sums = RefusalSums(journal, stats, groups_max=3)
    for name in "abc":
        refuse(sums, ALONE_MAX + 1, owner=(name,))
    assert journal.records == []

    group = refuse(sums, 1, owner=("d",))

    assert [one.count for one in journal.records] == [1, 1, 1]
    assert not group.is_over


def test_what_the_journal_does_not_take_is_counted(
    sums: RefusalSums, journal: Kept, stats: JournalStats
) -> None:
    refuse(sums, ALONE_MAX + 5)
    journal.is_available = False
    sums.flush()
    assert (journal.records, stats.refusals_unrecorded) == ([], 5)

    refuse(sums, ALONE_MAX + 2)
    journal.is_available, journal.keeps = True, False
    sums.flush()
    assert (journal.records, stats.refusals_unrecorded) == ([], 7)


# Through the books, against what each would be alone

POLICIES = [(), ("monthly_dc",), ("monthly_dc", "rpm")]
KEYS = [None, "key-1", "key-2", "key-3"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(POLICIES),
        st.integers(0, 2),  # cost
        st.sampled_from(["run", None]),
        st.sampled_from([0, 0, 0, 100, 400_000, 1_000_000, 3_599_000_000]),  # time that passes
        st.integers(1, 25),  # how often
    ),
    max_size=25,
)


def entry_of(key_id: str) -> KeyEntry:
    """Return the entry of a key: two of one workspace, one of another."""
    return KeyEntry(key_id, b"", "", "globex" if key_id == "key-3" else "acme", "STARTER")


def violation(policy: str) -> Violation:
    return Violation(policy, 1, 2, 60, None, None, LimitKind.RATE, policy, "dc", None)


def drafted(
    ports: Ports, entry: KeyEntry | None, policies: tuple[str, ...], cost: int, run_id: str | None
) -> Draft:
    """Return a request that was refused."""
    now_micro = ports.clock.now_micro()
    exchange = Exchange(Client())
    exchange.method, exchange.body_complete = b"GET", True
    exchange.event_id = exchange.request_id = ports.event_ids.new(0)
    draft = Draft(exchange, ports, now_micro)
    draft.outcome, draft.status = Outcome.REFUSED, 401
    draft.refusal = Refusal(RefusalCode.KEY_INVALID)
    draft.plan = next(iter(draft.active.plans.values()))
    if entry is not None:
        draft.caller = entered(entry, draft.active, now_micro)
        draft.reserved_micro = {"dc": cost * MICRO}
        draft.run_id = run_id
        draft.status = 403
        draft.refusal = Refusal(RefusalCode.FEATURE_UNAVAILABLE)
        if policies:
            draft.status = 429
            draft.refusal = Refusal(
                RefusalCode.QUOTA_EXCEEDED, violations=[violation(name) for name in policies]
            )
            draft.counts = Counts(
                admitted=False, repeat=False, now_micro=ports.counters.now_micro(), after_micro=()
            )
    return draft


def essence(one: Record) -> tuple[object, ...]:
    return (
        one.workspace_id, one.key_id, one.code, tuple(one.violated), one.status, one.period,
        tuple(one.quantities_micro.items()), one.occurred_at_micro // MICRO,
    )  # fmt: skip


@pytest.mark.sources  # its client is no connection
async def test_counts_add_up_to_the_requests_whatever_comes(
    tmp_path: Path, plane_snapshot: Snapshot
) -> None:
    """Per key, policies, cost and second: the first ten alone, at most one record for the rest."""

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS)
    def holds(steps: list[tuple[str | None, tuple[str, ...], int, str | None, int, int]]) -> None:
        journal = Kept()
        ports = ports_of(tmp_path, plane_snapshot, journal, Stats())  # type: ignore[arg-type]
        entries = {name: entry_of(name) for name in KEYS if name is not None}
        clock = ports.clock
        assert isinstance(clock, FakeClock)
        alone: list[Record] = []
        clients: list[ClientSide] = []
        for key_id, policies, cost, run_id, passes_micro, often in steps:
            clock.advance(passes_micro / MICRO)
            for _ in range(often):
                entry = None if key_id is None else entries[key_id]
                draft = drafted(ports, entry, policies, cost, run_id)
                alone.append(record_of(draft, draft.settle(), 0))
                clients.append(draft.exchange.client)
                close_books(draft, ports)
            ports.refusals.sweep(clock.now_micro(), ports.counters.now_micro())
        ports.refusals.flush()

        assert [client.answered for client in clients] == [1] * len(alone)  # type: ignore[attr-defined]
        asked = Counter(map(essence, alone))
        found = journal.records
        told: Counter[tuple[object, ...]] = Counter()
        for one in found:
            told[essence(one)] += one.count
        assert told == asked
        singles = {one.event_id for one in alone} & {one.event_id for one in found}
        rest = [essence(one) for one in found if one.event_id not in singles]
        assert len(set(rest)) == len(rest), "one record for all the others"
        kept_alone = Counter(essence(one) for one in found if one.event_id in singles)
        assert kept_alone == {kind: min(times, ALONE_MAX) for kind, times in asked.items()}
        assert len({one.event_id for one in found}) == len(found)
        assert accumulate(found) == accumulate(alone)
        routes = ports.active.snapshot.routes
        assert sum(route.counters.requests for route in routes) - before[0] == len(alone)
        before[0] += len(alone)

    before = [sum(route.counters.requests for route in plane_snapshot.routes)]
    holds()


@pytest.mark.sources  # its client is no connection
async def test_what_was_charged_or_forwarded_is_never_summed(
    tmp_path: Path, plane_snapshot: Snapshot
) -> None:
    """It owes the store something, or it used the upstream: its record is its own."""
    journal = Kept()
    ports = ports_of(tmp_path, plane_snapshot, journal, Stats())  # type: ignore[arg-type]
    entry = entry_of("key-1")

    def charged(draft: Draft) -> None:
        assert draft.counts is not None
        draft.counts = replace(draft.counts, admitted=True)

    def forwarded(draft: Draft) -> None:
        draft.counts, draft.sent_ns = None, 7

    def failed(draft: Draft) -> None:
        draft.outcome = Outcome.UPSTREAM_FAILED

    def gone(draft: Draft) -> None:
        draft.outcome, draft.status, draft.plan = Outcome.CLIENT_GONE, 0, None

    for change in (charged, forwarded, failed, gone):
        journal.records.clear()
        for _ in range(3 * ALONE_MAX):
            draft = drafted(ports, entry, ("rpm",), 1, None)
            change(draft)
            close_books(draft, ports)
        assert [one.count for one in journal.records] == [1] * (3 * ALONE_MAX), change
