"""The pieces: each prepares what it needs once and returns what is then called again and again.

A piece is one step of a request's way. Those named ``request.*`` are whole requests without
sockets, Redis and disk, so that a cost between the pieces shows as well.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.micro.stage import ANSWER, NOW_MICRO, Stage, request
from bench.micro.subjects import (
    admitted,
    caller_of,
    charge_of,
    draft_of,
    exchange_of,
    finished,
    record_of,
)
from gateway.config.snapshot import CostReading, CostSource, MeterCost
from gateway.counters.redis_commands import charge_command, counts_of
from gateway.errors import Refusal, RefusalCode
from gateway.http.credentials import read_key
from gateway.http.field_lines import Field, plain_field
from gateway.http.fields import HOP_BY_HOP, nominated
from gateway.http.forwarding import request_head, response_head
from gateway.http.paths import canonical
from gateway.http.problems import render as render_problem
from gateway.http.ratelimit import render as render_ratelimit
from gateway.keys.format import hash_secret
from gateway.ledger.rollups import accumulate
from gateway.ledger.rows import event_row, quantity_rows
from gateway.metering.journal import Journal
from gateway.metering.journal_format import decode_record, encode_record
from gateway.metering.recorder import Callback
from gateway.proxy.answer import Answer
from gateway.proxy.books import close_books
from gateway.proxy.caller import standing_of
from gateway.proxy.costs import actual_cost, read_cost
from gateway.proxy.head import read_head
from gateway.rules.charge import Charge, Counts
from gateway.rules.charging import amounts, build_template
from gateway.rules.decision import (
    is_within_limits,
    remember_refusal_until_micro,
    retry_after_seconds,
    violations_of,
)
from gateway.rules.record import Outcome
from gateway.rules.settlement import billability, settle
from gateway.rules.windows import Window, WindowKind, period_at
from gateway.telemetry.metrics import JournalStats

Call = Callable[[], object]
RECORDS_PER_TICK = 64
JSON_BODY = b'{"model": "small", "estimated_dc": 3, "input": "' + b"x" * 200 + b'"}'


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that is measured.

    Attributes:
        name: Of the module and what it does there.
        prepare: Returns what is timed.
        works_off: How many requests, records or so one call stands for.
    """

    name: str
    prepare: Callable[[Stage], Call]
    works_off: int = 1


# The head


def field_lines(stage: Stage) -> Call:
    lines = [field.line for field in exchange_of(stage).fields]

    def call() -> None:
        for line in lines:
            plain_field(line)
        nominated([b"keep-alive"])

    return call


def head(stage: Stage) -> Call:
    exchange = exchange_of(stage)
    return lambda: read_head(exchange, b"/v1/status?verbose=1", stage.snapshot)


def path_plain(_stage: Stage) -> Call:
    return lambda: canonical(b"/v1/projects/42/runs")


def path_escaped(_stage: Stage) -> Call:
    return lambda: canonical(b"/v1/%70rojects/a%20b/r%C3%BCns")


def match_literal(stage: Stage) -> Call:
    matcher = stage.ports.active.matcher
    return lambda: matcher.match(b"GET", b"api.example.com", b"/v1/status")


def match_parameter(stage: Stage) -> Call:
    matcher = stage.ports.active.matcher
    return lambda: matcher.match(b"GET", b"api.example.com", b"/v1/things-150/42/parts")


# The caller


def credentials(stage: Stage) -> Call:
    places, special = stage.plan.places, exchange_of(stage).special
    return lambda: read_key(places, special)


def digest(stage: Stage) -> Call:
    secret, key_format = stage.roomy.secret.encode(), stage.ports.key_format
    return lambda: hash_secret(secret) if key_format.accepts(secret) else None


def key_cache(stage: Stage) -> Call:
    keys, key_hash = stage.ports.keys, stage.roomy.key_hash
    return lambda: finished(keys.find(key_hash))


def caller(stage: Stage) -> Call:
    exchange = exchange_of(stage)
    return lambda: caller_of(stage, exchange)


# Limits


def window_seconds(_stage: Stage) -> Call:
    window = Window(WindowKind.SECONDS, 60)
    return lambda: period_at(window, NOW_MICRO)


def window_month(_stage: Stage) -> Call:
    window = Window(WindowKind.CALENDAR_MONTH, timezone="Asia/Seoul")
    return lambda: period_at(window, NOW_MICRO)


def template(stage: Stage) -> Call:
    ladders = [entry.ladder for entry in charge_of(stage).template.entries]
    return lambda: build_template(ladders, "acme", NOW_MICRO, key_id="key_1", route="status")


def charge(stage: Stage) -> Call:
    known = charge_of(stage)
    cost = {"dc": 3_000_000}
    return lambda: Charge(known.template, amounts(known.template, cost), known.hold_id)


def decision_pass(stage: Stage) -> Call:
    known = charge_of(stage)
    counts = admitted(known)
    return lambda: is_within_limits(known.template, counts.after_micro)


def refused_counts(known: Charge) -> Counts:
    """Return the counts of a charge that no policy lets pass."""
    caps = tuple(
        entry.cap_micro if isinstance(entry.cap_micro, int) else 0
        for entry in known.template.entries
    )
    return Counts(admitted=False, repeat=False, now_micro=NOW_MICRO, after_micro=caps)


def decision_refuse(stage: Stage) -> Call:
    known = charge_of(stage)
    counts = refused_counts(known)

    def call() -> None:
        retry_after_seconds(violations_of(known, counts))
        remember_refusal_until_micro(known, counts)

    return call


def memory_charge(stage: Stage) -> Call:
    known, counters = charge_of(stage), stage.ports.counters
    return lambda: finished(counters.charge(known))


def redis_command(stage: Stage) -> Call:
    known = charge_of(stage)
    return lambda: charge_command(known)


def redis_command_run(stage: Stage) -> Call:
    known = charge_of(stage, "idempotency:{acme}:run-1")
    return lambda: charge_command(known)


def redis_counts(_stage: Stage) -> Call:
    reply = [1, NOW_MICRO, 1_000_000, 1_000_000]
    return lambda: counts_of(reply)


# Costs, answers


def cost_json(stage: Stage) -> Call:
    reading = CostReading(CostSource.JSON, 1_000_000, pointer=("estimated_dc",))
    plan = replace(stage.plan, route=replace(stage.plan.route, cost=(MeterCost("dc", reading),)))
    exchange = exchange_of(stage)
    exchange.body_chunks = [JSON_BODY]
    return lambda: finished(read_cost(plan, exchange, 65_536))


def cost_header(stage: Stage) -> Call:
    settling = CostReading(CostSource.HEADER, None, header=b"x-dc-used")
    cost = MeterCost("dc", CostReading(CostSource.STATIC, 1_000_000), settling)
    plan = replace(stage.plan, route=replace(stage.plan.route, cost=(cost,)))
    answer = Answer(200, b"OK", [Field(b"X-DC-Used", b"x-dc-used", b"3")])
    return lambda: actual_cost(plan, answer, None)


def ratelimit(stage: Stage) -> Call:
    known = charge_of(stage)
    shown = standing_of(
        caller_of(stage, exchange_of(stage)), stage.plan, NOW_MICRO, "192.0.2.7"
    ).fields
    return lambda: render_ratelimit(shown, known.amounts_micro, NOW_MICRO)


def problem(stage: Stage) -> Call:
    known = charge_of(stage)
    refusal = Refusal(
        RefusalCode.QUOTA_EXCEEDED,
        violations=violations_of(known, refused_counts(known)),
    )
    pricing = stage.ports.active.pricing
    assert pricing is not None
    tier = caller_of(stage, exchange_of(stage)).tier
    return lambda: render_problem(
        refusal,
        "event-1",
        answers=pricing.answers,
        billing=pricing.billing,
        tier=tier,
        tiers=pricing.tiers,
    )


def forwarded_head(stage: Stage) -> Call:
    exchange, dropped = exchange_of(stage), stage.plan.dropped
    start = b"GET /v1/status?verbose=1 HTTP/1.1\r\nHost: 127.0.0.1:9"
    added = b"Via: 1.1 gateway\r\nX-Forwarded-For: 192.0.2.7\r\nX-Request-Id: event-1\r\n"
    return lambda: request_head(start, exchange.fields, dropped, added)


def answered_head(_stage: Stage) -> Call:
    lines = ANSWER.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    given = [
        Field(name, name.lower(), value)
        for name, _, value in (line.partition(b": ") for line in lines)
    ]
    return lambda: response_head(200, b"OK", given, HOP_BY_HOP, b"X-Request-Id: event-1\r\n")


# The books


def settlement(stage: Stage) -> Call:
    known, pricing = charge_of(stage), stage.ports.active.pricing
    assert pricing is not None
    reserved, actual = {"dc": 1_000_000}, {"dc": 3_000_000}

    def call() -> None:
        billable, reason = billability(pricing.billing, 200, Outcome.COMPLETED, repeat=False)
        settle(
            known, reserved, actual, billable=billable, reason=reason, repeat=False, counted=True
        )

    return call


def books(stage: Stage) -> Call:
    draft, ports = draft_of(stage), stage.ports

    def call() -> None:
        draft.exchange.held = ANSWER
        close_books(draft, ports)

    return call


def encode(stage: Stage) -> Call:
    record = record_of(stage)
    return lambda: encode_record(record)


def decode(stage: Stage) -> Call:
    payload = encode_record(record_of(stage))[10:-1]
    return lambda: decode_record(payload)


def journal(stage: Stage) -> Call:
    """Append what a busy tick of the loop brings; the disk is the page cache."""
    record, loop = record_of(stage), stage.loop
    kept = Journal(
        stage.folder / "journal",
        clock=stage.ports.clock,
        stats=JournalStats(),
        fsync_seconds=3_600,
        segment_bytes_max=1 << 26,
        bytes_max=1 << 34,
    )
    kept.open()

    def released(_kept: bool) -> None:  # noqa: FBT001 - the journal's callback
        """Nobody waits."""

    nobody = Callback(released)

    def tick() -> None:
        for _ in range(RECORDS_PER_TICK):
            kept.append(record, nobody)
        loop.call_soon(loop.stop)

    def call() -> None:
        loop.call_soon(tick)
        loop.run_forever()

    return call


def ledger_rows(stage: Stage) -> Call:
    record = record_of(stage)
    return lambda: (event_row(record), list(quantity_rows(record)))


def ledger_sums(stage: Stage) -> Call:
    records = [record_of(stage) for _ in range(RECORDS_PER_TICK)]
    return lambda: accumulate(records)


# Whole requests


def whole_passed(stage: Stage) -> Call:
    client, upstream = stage.client(), stage.add_idle_upstream()
    data, worker = request(stage.roomy.secret), stage.ports.stats.worker

    def call() -> None:
        client.data_received(data)
        upstream.data_received(ANSWER)

    call()
    assert stage.recorder.last is not None
    assert stage.recorder.last.status == 200, stage.recorder.last
    assert worker.upstream_connections_opened == 0
    return call


def whole_refused_key(stage: Stage) -> Call:
    return _refused(stage, request(stage.unknown.secret), "key_invalid")


def whole_refused_limit(stage: Stage) -> Call:
    client, upstream = stage.client(), stage.add_idle_upstream()
    data = request(stage.full.secret)
    client.data_received(data)
    upstream.data_received(ANSWER)
    return _refused(stage, data, "quota_exceeded")


def _refused(stage: Stage, data: bytes, code: str) -> Call:
    client = stage.client()
    client.data_received(data)
    assert stage.recorder.last is not None
    assert stage.recorder.last.code == code, stage.recorder.last
    return lambda: client.data_received(data)


PIECES = (
    Piece("http.field_lines", field_lines),
    Piece("proxy.head", head),
    Piece("http.paths plain", path_plain),
    Piece("http.paths escaped", path_escaped),
    Piece("config.matcher literal", match_literal),
    Piece("config.matcher parameter", match_parameter),
    Piece("http.credentials", credentials),
    Piece("keys.format digest", digest),
    Piece("keys.cache hit", key_cache),
    Piece("proxy.caller known", caller),
    Piece("rules.windows seconds", window_seconds),
    Piece("rules.windows month", window_month),
    Piece("rules.charging template", template),
    Piece("rules.charge", charge),
    Piece("rules.decision pass", decision_pass),
    Piece("rules.decision refuse", decision_refuse),
    Piece("counters.memory charge", memory_charge),
    Piece("counters.redis command", redis_command),
    Piece("counters.redis command, run id", redis_command_run),
    Piece("counters.redis counts", redis_counts),
    Piece("proxy.costs json", cost_json),
    Piece("proxy.costs header", cost_header),
    Piece("http.ratelimit", ratelimit),
    Piece("http.problems 429", problem),
    Piece("http.forwarding request", forwarded_head),
    Piece("http.forwarding answer", answered_head),
    Piece("rules.settlement", settlement),
    Piece("proxy.books", books),
    Piece("metering.journal_format encode", encode),
    Piece("metering.journal_format decode", decode),
    Piece("metering.journal append", journal, RECORDS_PER_TICK),
    Piece("ledger.rows", ledger_rows),
    Piece("ledger.rollups", ledger_sums, RECORDS_PER_TICK),
    Piece("request.passed", whole_passed),
    Piece("request.refused by key", whole_refused_key),
    Piece("request.refused by limit", whole_refused_limit),
)
