"""A record holds what it is given; what most requests leave out has a default of its own."""

from dataclasses import fields

from gateway.rules.record import RECORD_VERSION, Outcome, Record

GIVEN: dict[str, object] = {
    "event_id": "e",
    "request_id": "r",
    "occurred_at_micro": 1,
    "workspace_id": "w",
    "key_id": "k",
    "plan": "p",
    "route": "route",
    "method": "GET",
    "run_id": "run",
    "status": 200,
    "outcome": Outcome.COMPLETED.value,
    "code": "c",
    "billable": True,
    "reason": "success",
    "repeat": True,
    "quantities_micro": {"dc": 1},
    "charged_micro": {"dc": 2},
    "pricing_version": "v",
    "period": "2026-11",
}
DEFAULTS: dict[str, object] = {
    "flags": [],
    "violated": [],
    "bytes_in": 0,
    "bytes_out": 0,
    "latency_micro": 0,
    "upstream_micro": 0,
    "deltas": [],
    "run_key": None,
    "claimed_reason": "",
    "claimed_until_seconds": 0,
    "v": RECORD_VERSION,
    "count": 1,
}
LEFT_OUT: dict[str, object] = {
    "flags": ["overage"],
    "violated": ["rpm"],
    "bytes_in": 3,
    "bytes_out": 4,
    "latency_micro": 5,
    "upstream_micro": 6,
    "deltas": [["key", -1, 2]],
    "run_key": "idempotency:{w}:run",
    "claimed_reason": "success",
    "claimed_until_seconds": 7,
    "v": 9,
    "count": 10,
}


def held(record: Record) -> dict[str, object]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def test_every_field_is_kept_under_its_name() -> None:
    given = GIVEN | LEFT_OUT
    assert held(Record(**given)) == given  # type: ignore[arg-type]


def test_what_is_left_out_has_its_default_and_no_two_records_share_it() -> None:
    one, other = Record(**GIVEN), Record(**GIVEN)  # type: ignore[arg-type]
    assert held(one) == GIVEN | DEFAULTS
    assert one == other
    one.flags.append("overage")
    assert other.flags == []
