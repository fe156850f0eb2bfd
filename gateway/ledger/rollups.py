"""What a record adds to the sums of its workspace. Pure.

A record is counted once in the row of the meter ``requests``, and once in the row of each meter
that it names. So the ``requests`` row of a workspace and period counts all of its records, a
meter's row those that used (or would have used) that meter.

- ``requests``: the records' requests (``count``); ``refused``: those that the gateway refused;
  ``repeats``: those whose run had been charged before.
- ``charged_micro``: the sum that the aggregation ``sum`` bills. In the row ``requests`` every
  billed record is one unit.
- ``billable_events``: records billed with a quantity other than zero; the aggregation ``count``.
- ``charged_max_micro``: the largest single quantity billed; the aggregation ``max``.

A correction (``reason`` is ``correction``) is no request. Its quantities, negative ones too, are
added to the sum. If it is ``billable`` it takes back (or adds, where positive) a whole event of the
count as well; if not, it corrects a quantity alone. A maximum can't be taken back by a sum: it
stays.

A record without workspace was refused before anybody was known: it is an event, but in nobody's
sum.

Source: design section 8; requirements A22, D1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Final

from gateway.rules.charging import REQUESTS_METER, billing_period
from gateway.rules.record import Outcome, Record
from gateway.rules.units import MICRO

CORRECTION: Final = "correction"
"""The ``reason`` of a compensating record."""

SUM_MAX_MICRO: Final = 2**63 - 1
"""The largest sum that a rollup holds: one that reads so, or as much below zero, may be larger."""

_HOUR_MICRO: Final = 3_600 * MICRO
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Granularity(Enum):
    """How long a rollup's bucket is."""

    HOUR = "hour"
    MONTH = "month"


HOUR: Final = Granularity.HOUR.value
MONTH: Final = Granularity.MONTH.value
_REFUSED: Final = Outcome.REFUSED.value

HourKey = tuple[str, str, int, str]
"""Workspace id, meter, hours since the Unix epoch, period."""
RollupKey = tuple[str, str, str, str, str]
"""Granularity, workspace id, meter, bucket, period."""


@dataclass(slots=True)
class Tally:
    """What is added to one rollup; the fields are the columns."""

    requests: int = 0
    billable_events: int = 0
    refused: int = 0
    repeats: int = 0
    charged_micro: int = 0
    charged_max_micro: int = 0


def is_correction(record: Record) -> bool:
    """Return whether a record compensates another one."""
    return record.reason == CORRECTION


def period_of(record: Record) -> str:
    """Return the billing period of a record; one that was never charged lies in the UTC month."""
    return record.period or billing_period("UTC", record.occurred_at_micro)


def accumulate(records: Iterable[Record]) -> dict[RollupKey, Tally]:
    """Return what records add to the hourly and monthly rollups."""
    hourly: dict[HourKey, Tally] = {}
    for record in records:
        if record.workspace_id is None:
            continue
        period = period_of(record)
        hour = record.occurred_at_micro // _HOUR_MICRO
        workspace_id = record.workspace_id
        charged = _billed_requests_micro(record)
        _add(_tally_of(hourly, (workspace_id, REQUESTS_METER, hour, period)), record, charged)
        for meter in meters_of(record):
            if meter != REQUESTS_METER:
                charged = record.charged_micro.get(meter, 0)
                _add(_tally_of(hourly, (workspace_id, meter, hour, period)), record, charged)
    tallies: dict[RollupKey, Tally] = {}
    for (workspace_id, meter, hour, period), tally in hourly.items():
        tallies[HOUR, workspace_id, meter, hour_bucket(hour), period] = tally
        month = tallies.setdefault((MONTH, workspace_id, meter, period, period), Tally())
        _merge(month, tally)
    return tallies


def _tally_of(hourly: dict[HourKey, Tally], key: HourKey) -> Tally:
    tally = hourly.get(key)
    if tally is None:
        tally = hourly[key] = Tally()
    return tally


def _merge(whole: Tally, part: Tally) -> None:
    """Add an hour to its month."""
    whole.requests += part.requests
    whole.billable_events += part.billable_events
    whole.refused += part.refused
    whole.repeats += part.repeats
    whole.charged_micro += part.charged_micro
    whole.charged_max_micro = max(whole.charged_max_micro, part.charged_max_micro)


@lru_cache(maxsize=64)
def hour_bucket(hours: int) -> str:
    """Return the name of an hour, counted from the Unix epoch: ``2026-11-20T22:00Z``."""
    return (_EPOCH + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:00Z")


def counted_events(record: Record, charged_micro: int) -> int:
    """Return what a record adds to the number of billed events of a meter."""
    if not record.billable or not charged_micro:
        return 0
    return 1 if charged_micro > 0 else -1


def meters_of(record: Record) -> list[str]:
    """Return the meters that a record knows a quantity or a charge of, each once."""
    used = record.quantities_micro
    return [*used, *[meter for meter in record.charged_micro if meter not in used]]


def saturated(sum_micro: int) -> int:
    """Return a sum as a rollup holds it."""
    return max(-SUM_MAX_MICRO, min(sum_micro, SUM_MAX_MICRO))


def _billed_requests_micro(record: Record) -> int:
    if not record.billable:
        return 0
    if is_correction(record):
        return -MICRO if any(value < 0 for value in record.charged_micro.values()) else MICRO
    return MICRO


def _add(tally: Tally, record: Record, charged_micro: int) -> None:
    tally.charged_micro += charged_micro
    tally.charged_max_micro = max(tally.charged_max_micro, charged_micro)
    tally.billable_events += counted_events(record, charged_micro)
    if is_correction(record):
        return
    count = record.count
    tally.requests += count
    tally.refused += count if record.outcome == _REFUSED else 0
    tally.repeats += count if record.repeat else 0
