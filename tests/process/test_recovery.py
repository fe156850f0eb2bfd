"""After a restart a memory store holds what was charged: no quota comes back for free."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.config.snapshot import Snapshot
from gateway.counters.memory import MemoryCounterStore
from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.errors import LedgerUnavailable
from gateway.ledger.sql import SqlLedger
from gateway.metering.carrier import LedgerCarrier
from gateway.metering.courier import ThreadCourier
from gateway.metering.journal import Journal
from gateway.metering.shipper import Shipper
from gateway.process import recovery
from gateway.process.recovery import Rebuilt, compute, rebuild_memory
from gateway.rules.charge import Charge
from gateway.rules.charging import amounts, build_template, run_key
from gateway.rules.limits import Ladder, Scope
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from gateway.rules.windows import Window, WindowKind
from gateway.telemetry.metrics import ShipperStats, StoreStats
from tests.metering.journals import NOW_MICRO, FixedClock, journal_in, keep, record, ship
from tests.support.control_fakes import RUNS, pricing, route, snapshot
from tests.support.plans import extra, monthly

MONTH_KEY = "usage:{ws_acme}:2026-11"
HOUR_MICRO = 3600 * MICRO


class Ledger(SqlLedger):
    """The real ledger; refuses, when told, whatever is appended."""

    refuses = False

    def append(self, records: Sequence[Record]) -> int:
        if self.refuses:
            raise ValueError("no")
        return super().append(records)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine_for(f"sqlite:///{tmp_path / 'ledger.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


def memory() -> MemoryCounterStore:
    return MemoryCounterStore(FixedClock(), stats=StoreStats())


class Busy(Shipper):
    """Ships one batch before its time is up."""

    async def flush(self, deadline_seconds: float) -> bool:
        await self._ship()
        return not self._journal.unshipped_records


def shipper_of(journal: Journal, ledger: SqlLedger) -> Shipper:
    return Shipper(
        journal,
        ThreadCourier(LedgerCarrier(ledger, FixedClock())),
        clock=FixedClock(),
        stats=ShipperStats(),
        interval_seconds=0.002,
        batch=100,
    )


async def rebuilt_from(
    ledger: SqlLedger,
    folder: Path,
    records: Sequence[Record],
    config: Snapshot | None = None,
    *,
    shipped: int = 0,
) -> tuple[MemoryCounterStore, Rebuilt]:
    """Write records, ship some, note none of it, restart, rebuild."""
    journal = journal_in(folder / "journal")
    await keep(journal, records)
    ledger.append(records[:shipped])
    await journal.close()
    journal = journal_in(folder / "journal")
    store = memory()
    rebuilt = await rebuild_memory(
        store,
        ledger,
        journal,
        shipper_of(journal, ledger),
        config or snapshot(),
        NOW_MICRO + HOUR_MICRO,
    )
    await journal.close()
    return store, rebuilt


@pytest.mark.parametrize("shipped", [0, 3, 7])
async def test_the_quota_of_the_month_is_as_it_was(
    tmp_path: Path, engine: Engine, shipped: int
) -> None:
    """A5, D1: whatever the ledger had before the crash, each charge counts once."""
    free = {"billable": False, "charged_micro": {"dc": 0}}
    records = [
        *(record(number) for number in range(4)),
        record(10, **free, reason="http_5xx", status=500),
        record(11, **free, reason="repeat", repeat=True),
        record(12, occurred_at_micro=NOW_MICRO - 30 * 24 * HOUR_MICRO, period="2026-10"),
    ]
    store, rebuilt = await rebuilt_from(SqlLedger(engine), tmp_path, records, shipped=shipped)
    assert await store.read("ws_acme", [MONTH_KEY]) == (4 * MICRO,)
    assert list(rebuilt.counters) == [MONTH_KEY]


async def test_a_run_that_was_charged_is_not_charged_again(tmp_path: Path, engine: Engine) -> None:
    """A7: same run id within 45 days, a restart between: still a repeat."""
    failed = record(2, run_id="failed", billable=False, charged_micro={"dc": 0})
    store, rebuilt = await rebuilt_from(
        SqlLedger(engine), tmp_path, [record(1, run_id="done"), failed]
    )
    assert [run.key for run in rebuilt.runs] == [run_key("ws_acme", "done")]
    template = build_template([monthly(50)], "ws_acme", NOW_MICRO)
    cost = amounts(template, {"dc": MICRO})
    for run_id, is_repeat in (("done", True), ("failed", False)):
        key = run_key("ws_acme", run_id)
        counts = await store.charge(Charge(template, cost, f"hold-{run_id}", key, 4_000_000_000))
        assert counts.repeat is is_repeat


async def test_each_scope_gets_its_own_counter_back(tmp_path: Path, engine: Engine) -> None:
    day = Window(WindowKind.DAY)
    quotas: list[Ladder] = [
        extra("per_key", 9, day, scope=Scope.KEY),
        extra("per_route", 9, day, scope=Scope.ROUTE),
        extra("per_address", 9, day, scope=Scope.ADDRESS),
        extra("calls", 9, day, meter="requests"),
    ]
    config = snapshot(
        route("create-run", RUNS, own_limits=tuple(quotas)), route("other", (), own_limits=())
    )
    records = [
        record(1),
        record(2, key_id="key_2", charged_micro={"dc": 5 * MICRO}),
        record(3, route="other"),
        record(4, charged_micro={}, quantities_micro={}),
    ]
    _, rebuilt = await rebuilt_from(SqlLedger(engine), tmp_path, records, config)
    values = {key: counter.value_micro // MICRO for key, counter in rebuilt.counters.items()}
    assert values == {
        MONTH_KEY: 7,
        "per_key:{ws_acme}:key:key_1:2026-11-20": 1,
        "per_key:{ws_acme}:key:key_2:2026-11-20": 5,
        "per_route:{ws_acme}:route:create-run:2026-11-20": 6,
        "calls:{ws_acme}:2026-11-20": 3,
    }


async def test_a_route_that_does_not_charge_a_quota_does_not_fill_it(
    tmp_path: Path, engine: Engine
) -> None:
    """A route that is gone from the file may have charged it: it counts."""
    config = snapshot(route("create-run", RUNS), replace(route("free", RUNS), limits=("rpm",)))
    records = [record(1), record(2, route="free"), record(3, route="gone")]
    store, _ = await rebuilt_from(SqlLedger(engine), tmp_path, records, config)
    assert await store.read("ws_acme", [MONTH_KEY]) == (2 * MICRO,)


async def test_what_the_ledger_refuses_counts_from_the_journal(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_SHIP_SECONDS", 0.01)
    ledger = Ledger(engine)
    ledger.append([record(0)])
    ledger.refuses = True
    journal = journal_in(tmp_path / "journal")
    refused = record(2, billable=False, charged_micro={"dc": 0})
    await keep(journal, [record(1, run_id="run"), refused])
    store = memory()
    shipper = shipper_of(journal, ledger)
    rebuilt = await rebuild_memory(store, ledger, journal, shipper, snapshot(), NOW_MICRO)
    assert await store.read("ws_acme", [MONTH_KEY]) == (2 * MICRO,)
    assert [run.key for run in rebuilt.runs] == [run_key("ws_acme", "run")]
    await journal.close()


@pytest.mark.parametrize("first", ["failed", "billed", "left behind", "long ago"])
async def test_a_repeat_that_the_ledger_refuses_counts_if_it_would_be_billed(
    tmp_path: Path, engine: Engine, first: str
) -> None:
    """A7: one charge for its run, wherever the other tries are."""
    month_micro = 31 * 24 * HOUR_MICRO
    ledger = SqlLedger(engine)
    claims = {
        "run_id": "run", "billable": False, "repeat": True, "reason": "repeat",
        "charged_micro": {"dc": 0}, "run_key": "r", "claimed_reason": "success",
        "claimed_until_seconds": 4_000_000_000,
    }  # fmt: skip
    records = [record(2, **claims), record(3, **claims)]
    if first in ("billed", "long ago"):
        at_micro = NOW_MICRO - (2 * month_micro if first == "long ago" else 0)
        ledger.append([record(1, run_id="run", occurred_at_micro=at_micro)])
    elif first == "left behind":
        records.append(record(1, run_id="run"))
    journal = journal_in(tmp_path / "journal")
    await keep(journal, records)

    rebuilt = compute(ledger, journal, snapshot(), NOW_MICRO + HOUR_MICRO)

    assert rebuilt.counters[MONTH_KEY].value_micro == MICRO
    assert {run.key for run in rebuilt.runs} == {run_key("ws_acme", "run")}
    await journal.close()


async def test_a_claim_that_was_shipped_is_counted_once(tmp_path: Path, engine: Engine) -> None:
    failed = record(1, run_id="run", billable=False, charged_micro={"dc": 0}, reason="http_5xx")
    claiming = record(
        2, run_id="run", billable=False, repeat=True, reason="repeat", charged_micro={"dc": 0},
        run_key=run_key("ws_acme", "run"), claimed_reason="success",
        claimed_until_seconds=4_000_000_000,
    )  # fmt: skip
    store, rebuilt = await rebuilt_from(SqlLedger(engine), tmp_path, [failed, claiming])
    assert await store.read("ws_acme", [MONTH_KEY]) == (MICRO,)
    assert [run.key for run in rebuilt.runs] == [run_key("ws_acme", "run")]


async def test_a_long_backlog_is_shipped_whole_before_anything_is_counted(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A5: patience is with a ledger that does not answer, not with one that has much to do."""
    monkeypatch.setattr(recovery, "_LEFT_BEHIND_MAX", 2)
    ledger = Ledger(engine)
    journal = journal_in(tmp_path / "journal")
    await keep(journal, [record(number) for number in range(9)])
    store = memory()
    shipper = Busy(
        journal, ThreadCourier(LedgerCarrier(ledger, FixedClock())), clock=FixedClock(),
        stats=ShipperStats(), interval_seconds=0.002, batch=1,
    )  # fmt: skip

    await rebuild_memory(store, ledger, journal, shipper, snapshot(), NOW_MICRO)

    assert await store.read("ws_acme", [MONTH_KEY]) == (9 * MICRO,)
    await journal.close()


async def test_more_than_can_be_searched_is_no_start(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_SHIP_SECONDS", 0.01)
    monkeypatch.setattr(recovery, "_LEFT_BEHIND_MAX", 2)
    ledger = Ledger(engine)
    ledger.refuses = True
    journal = journal_in(tmp_path / "journal")
    await keep(journal, [record(number) for number in range(3)])

    with pytest.raises(LedgerUnavailable) as caught:
        await rebuild_memory(
            memory(), ledger, journal, shipper_of(journal, ledger), snapshot(), NOW_MICRO
        )

    assert caught.value.code == "recovery.backlog"
    await journal.close()


async def test_what_the_ledger_has_of_a_batch_that_failed_counts_once(
    tmp_path: Path, engine: Engine
) -> None:
    """A5: a refused record that can't be set aside leaves the others where they are, too."""
    ledger = SqlLedger(engine)
    journal = journal_in(tmp_path / "journal")
    await keep(journal, [record(number) for number in range(4)])
    ledger.append([record(1), record(2)])

    rebuilt = compute(ledger, journal, snapshot(), NOW_MICRO)

    assert rebuilt.counters[MONTH_KEY].value_micro == 4 * MICRO
    await journal.close()


async def test_without_a_ledger_hard_caps_are_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Design 7: rebuilt from the ledger before hard caps trust it: no ledger, no start."""
    monkeypatch.setattr(recovery, "_SHIP_SECONDS", 0.0)
    folder = tmp_path / "gone"
    folder.mkdir()
    engine = create_engine_for(f"sqlite:///{folder / 'ledger.db'}")
    migrate(engine)
    engine.dispose()
    (folder / "ledger.db").unlink()
    (folder / "ledger.db").mkdir()
    for leftover in folder.glob("ledger.db-*"):
        leftover.unlink()
    journal = journal_in(tmp_path / "journal")
    ledger = SqlLedger(engine)
    with pytest.raises(LedgerUnavailable):
        await rebuild_memory(
            memory(), ledger, journal, shipper_of(journal, ledger), snapshot(), NOW_MICRO
        )
    await journal.close()


async def test_with_no_pricing_in_force_nothing_was_charged(tmp_path: Path, engine: Engine) -> None:
    journal = journal_in(tmp_path / "journal")
    later = pricing(effective_from_micro=NOW_MICRO + HOUR_MICRO)
    assert compute(SqlLedger(engine), journal, snapshot(pricings=(later,)), NOW_MICRO) == Rebuilt()
    await journal.close()


@pytest.mark.parametrize("shipped", [0, 5])
async def test_what_is_kept_though_it_is_shipped_counts_once(
    tmp_path: Path, engine: Engine, shipped: int
) -> None:
    """Also where the ledger lacks it again, or a segment is there twice."""
    records = [record(number) for number in range(6)]
    ledger = SqlLedger(engine)
    journal = journal_in(
        tmp_path / "journal", segment_bytes_max=500, keep_seconds=3600, keep_bytes_max=1 << 20
    )
    for one in records:
        await keep(journal, [one])
        await journal.flush()
    ship(journal)
    await journal.close()
    ledger.append(records[:shipped])
    (double,) = (tmp_path / "journal").glob("*2.v1.journal")
    shutil.copy(double, tmp_path / "journal" / "000000000040.v1.journal")
    journal = journal_in(
        tmp_path / "journal", segment_bytes_max=500, keep_seconds=3600, keep_bytes_max=1 << 20
    )
    store = memory()
    await rebuild_memory(
        store, ledger, journal, shipper_of(journal, ledger), snapshot(), NOW_MICRO + HOUR_MICRO
    )
    assert await store.read("ws_acme", [MONTH_KEY]) == (6 * MICRO,)
    await journal.close()
