"""Curves of the ledger: records per second by batch, by workspaces in a batch, by what it holds."""

import gc
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import count, islice

import psycopg
from sqlalchemy.engine import make_url

from bench.growth.point import Begun, Curve, Figures, Surroundings
from gateway.clock import stopwatch_ns
from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.ledger.sql import SqlLedger
from gateway.metering.event_ids import EventIds
from gateway.process.clock import SystemClock
from gateway.rules.record import Record

BATCH = 1_000
"""The default of the setting ``shipper.batch``."""
WORKSPACES = 10
FILLED_AT_ONCE = 10_000
NOW_MICRO = 1_795_132_800_000_000
UNIT = "records per second"


def records(workspaces: int) -> Iterator[Record]:
    """Yield records of requests that passed, without end, of so many workspaces in turn."""
    ids = EventIds(SystemClock())
    for number in count():
        event_id = ids.new(stopwatch_ns())
        yield Record(
            event_id=event_id,
            request_id=event_id,
            occurred_at_micro=NOW_MICRO + number,
            workspace_id=f"ws-{number % workspaces:09d}",
            key_id="key_0123456789abcdef",
            plan="STARTER",
            route="status",
            method="GET",
            run_id=None,
            status=200,
            outcome="completed",
            code=None,
            billable=True,
            reason="success",
            repeat=False,
            quantities_micro={"dc": 1_000_000},
            charged_micro={"dc": 1_000_000},
            pricing_version="2026-03-01",
            period="2026-11",
            bytes_out=500,
            latency_micro=900,
            upstream_micro=600,
        )


def _ledgers(around: Surroundings) -> dict[str, SqlLedger]:
    """Return an empty ledger of each kind that there is."""
    urls = {"sqlite": f"sqlite:///{around.folder}/ledger.db"}
    if around.postgresql is not None:
        urls["postgresql"] = _new_database(around)
    ledgers = {}
    for kind, url in urls.items():
        engine = create_engine_for(url)
        migrate(engine)
        ledgers[kind] = SqlLedger(engine)
        around.stack.callback(ledgers[kind].close)
    return ledgers


def _new_database(around: Surroundings) -> str:
    """Make a database for one point, and drop it with the point."""
    assert around.postgresql is not None
    server, name = make_url(around.postgresql), f"growth_{secrets.token_hex(6)}"
    shown = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(shown, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())

    def drop() -> None:
        with psycopg.connect(shown, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    around.stack.callback(drop)
    return server.set(database=name).render_as_string(hide_password=False)


def _rate(ledger: SqlLedger, source: Iterator[Record], batch: int, seconds: float) -> float:
    """Append batches for a while, without collections as where it is done; records per second."""
    shipped, spent = 0, 0.0
    gc.disable()
    while spent < seconds:
        page: Sequence[Record] = list(islice(source, batch))
        began = time.perf_counter()
        ledger.append(page)
        spent += time.perf_counter() - began
        shipped += batch
    gc.enable()
    return shipped / spent


def _begin(around: Surroundings, *, workspaces: int, batch: int, held: int) -> Begun:
    ledgers, sources = _ledgers(around), {}
    for kind, ledger in ledgers.items():
        source = sources[kind] = records(workspaces)
        left = held
        while left > 0:
            ledger.append(list(islice(source, min(left, FILLED_AT_ONCE))))
            left -= FILLED_AT_ONCE

    def measure() -> Figures:
        return {
            kind: _rate(ledger, sources[kind], batch, around.seconds)
            for kind, ledger in ledgers.items()
        }

    return Begun(measure)


def by_batch(size: int, around: Surroundings) -> Begun:
    """Batches of so many records of ten workspaces."""
    return _begin(around, workspaces=WORKSPACES, batch=size, held=size)


def by_workspaces(size: int, around: Surroundings) -> Begun:
    """Batches of a thousand records of so many workspaces."""
    return _begin(around, workspaces=size, batch=BATCH, held=BATCH)


def by_held(size: int, around: Surroundings) -> Begun:
    """A ledger that holds so many records already."""
    return _begin(around, workspaces=WORKSPACES, batch=BATCH, held=size)


CURVES = {
    "ship-batch": Curve(
        "Shipping, by batch", "records in a batch", UNIT, (1, 10, 100, 1_000, 10_000), by_batch
    ),
    "ship-workspaces": Curve(
        "Shipping, by workspaces", "workspaces in 1,000 records",
        UNIT, (1, 10, 100, 1_000), by_workspaces,
    ),
    "ship-held": Curve(
        "Shipping, by what the ledger holds", "records held",
        UNIT, (1_000, 10_000, 100_000), by_held,
    ),
}  # fmt: skip
