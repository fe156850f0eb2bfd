"""What pieces are measured with: a request, its caller, its charge, its books, its record."""

from collections.abc import Coroutine
from typing import Any

from bench.micro.stage import NOW_MICRO, Stage
from gateway.clock import stopwatch_ns
from gateway.http.field_lines import Field
from gateway.proxy.answer import Answer
from gateway.proxy.books import Draft, close_books
from gateway.proxy.caller import Caller, entered, key_hash_of, standing_of
from gateway.proxy.exchange import Exchange
from gateway.proxy.head import read_head
from gateway.rules.charge import Charge, Counts
from gateway.rules.record import Record


def finished(coroutine: Coroutine[Any, Any, object]) -> object:
    """Return the result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("it waits for something")


def exchange_of(stage: Stage) -> Exchange:
    """Return a request as the parser leaves it."""
    client = stage.client()
    exchange = Exchange(client)
    exchange.method = b"GET"
    exchange.event_id = stage.ports.event_ids.new(stopwatch_ns())
    pairs = [
        (b"Host", b"api.example.com"),
        (b"User-Agent", b"python-requests/2.32"),
        (b"Accept-Encoding", b"gzip, deflate"),
        (b"Accept", b"*/*"),
        (b"Connection", b"keep-alive"),
        (b"Authorization", b"Bearer " + stage.roomy.secret.encode()),
        (b"X-Trace-Context", b"4bf92f3577b34da6a3ce929d0e0e4736"),
    ]
    exchange.fields = [Field(name, name.lower(), value) for name, value in pairs]
    exchange.special = {
        name.lower(): [value]
        for name, value in pairs
        if name in {b"Host", b"Connection", b"Authorization"}
    }
    exchange.origin = client._origin  # noqa: SLF001 - made when the connection is
    exchange.body_complete = True
    read_head(exchange, b"/v1/status?verbose=1", stage.snapshot)
    return exchange


def caller_of(stage: Stage, exchange: Exchange) -> Caller:
    """Return the caller of a request."""
    ports = stage.ports
    key_hash = key_hash_of(exchange, stage.plan, ports.key_format)
    return entered(ports.keys.known(key_hash), ports.active, NOW_MICRO)


def charge_of(stage: Stage, run_key: str | None = None) -> Charge:
    """Return the charge of a request."""
    exchange = exchange_of(stage)
    standing = standing_of(caller_of(stage, exchange), stage.plan, NOW_MICRO, "192.0.2.7")
    return Charge(
        standing.template, standing.static_amounts_micro, exchange.event_id, run_key, 1_800_000_000
    )


def admitted(charge: Charge) -> Counts:
    """Return what the store answers to a charge that fits."""
    return Counts(
        admitted=True, repeat=False, now_micro=NOW_MICRO, after_micro=charge.amounts_micro
    )


def draft_of(stage: Stage) -> Draft:
    """Return a request whose answer is ready and whose books are still open."""
    exchange = exchange_of(stage)
    draft = Draft(exchange, stage.ports, NOW_MICRO)
    draft.plan = stage.plan
    draft.caller = caller_of(stage, exchange)
    draft.standing = standing_of(draft.caller, stage.plan, NOW_MICRO, "192.0.2.7")
    draft.charge = charge_of(stage)
    draft.counts = admitted(draft.charge)
    draft.is_within_limits = True
    draft.answer = Answer(200, b"OK", [])
    draft.status = 200
    draft.reserved_micro = stage.plan.static_cost_micro or {}
    return draft


def record_of(stage: Stage) -> Record:
    """Return the record of a request that passed."""
    close_books(draft_of(stage), stage.ports)
    assert stage.recorder.last is not None
    return stage.recorder.last
