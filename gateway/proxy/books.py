"""Steps 8 and 9: settle the request and write its record. Pure but for the journal's queue.

Source: design sections 3 and 8; requirements A8, A9, C7, X6.
"""

from typing import Final

from gateway.clock import stopwatch_ns
from gateway.config.snapshot import RouteCounters
from gateway.errors import Refusal
from gateway.http.ratelimit import with_refunds
from gateway.proxy.active import RoutePlan
from gateway.proxy.answer import Answer
from gateway.proxy.caller import Caller, Standing
from gateway.proxy.exchange import Charged, Exchange
from gateway.proxy.head import look_again
from gateway.proxy.ports import Ports
from gateway.proxy.refusal_sums import ALONE_MAX, Group
from gateway.rules.charge import Charge, Correction, CounterDelta, Counts
from gateway.rules.charging import billing_period
from gateway.rules.decision import Violation, flags_of
from gateway.rules.record import Outcome, Record
from gateway.rules.settlement import REPEAT, Settlement, billability, settle
from gateway.rules.units import MICRO
from gateway.tasks import spawn
from gateway.telemetry.metrics import LATENCY_BOUNDS_MICRO

_NOTHING: Final[dict[str, int]] = {}
_COMPLETED: Final = Outcome.COMPLETED
_REFUSED: Final = Outcome.REFUSED
_METHODS: Final = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}


class Draft(Charged):
    """What is known of a request so far; becomes its record. Defaults stand on the class."""

    plan: RoutePlan | None = None
    caller: Caller | None = None
    reserved_micro: dict[str, int] = _NOTHING
    actual_micro: dict[str, int] = _NOTHING
    standing: Standing | None = None
    charge: Charge | None = None
    counts: Counts | None = None
    unenforced = False
    is_within_limits = False
    is_remembered = False
    key_hash = b""
    run_id: str | None = None
    answer: Answer | None = None
    outcome = Outcome.COMPLETED
    refusal: Refusal | None = None
    status = 0
    settlement: Settlement | None = None
    group: Group | None = None
    sent_ns = 0
    answered_ns = 0

    def __init__(self, exchange: Exchange, ports: Ports, now_micro: int) -> None:
        self.exchange = exchange
        self.ports = ports
        self.active = active = ports.active_at(now_micro)
        self.now_micro = now_micro
        if exchange.special_names and exchange.special_names is not active.special:
            look_again(exchange, active.special)

    def settle(self) -> Settlement:
        """Return how the request enters the books as things stand."""
        pricing = self.active.pricing
        counts = self.counts
        repeat = counts is not None and counts.repeat
        if pricing is None or (self.caller is None and self.charge is None):
            return self._unbilled([])
        status = self.answer.status if self.answer is not None else 0
        billable, reason = billability(
            pricing.billing,
            status,
            self.outcome,
            repeat=repeat,
            abandoned=self.exchange.bills_reserve,
        )
        admitted = counts is not None and (counts.admitted or self.unenforced)
        settlement = settle(
            self.charge if admitted else None,
            self.reserved_micro,
            self.actual_micro,
            billable=billable,
            reason=reason,
            repeat=repeat,
            counted=not self.unenforced,
        )
        return settlement if self.caller is not None else self._unbilled(settlement.deltas)

    def _unbilled(self, deltas: list[CounterDelta]) -> Settlement:
        """Return what a request is that nobody pays for; its address may get a quota back."""
        reason = "refused" if self.outcome is _REFUSED else "open_route"
        if self.outcome is Outcome.CLIENT_GONE and self.plan is not None and self.plan.places:
            reason = "client_gone"  # before its key was known
        return Settlement(
            billable=False,
            reason=reason,
            quantities_micro=_NOTHING,
            charged_micro=_NOTHING,
            deltas=deltas,
            releases_run=False,
        )

    def give_back(self) -> None:
        """Undo the charge of a request whose answer was cut because it could not be recorded."""
        charge = self.charge
        self.outcome = Outcome.UPSTREAM_FAILED
        settlement = self.settle()
        if charge is None or not (settlement.deltas or settlement.releases_run):
            return
        correction = Correction(
            tag=charge.template.tag,
            hold_id=charge.hold_id,
            deltas=tuple(settlement.deltas),
            run_key=charge.run_key,
            release_run=settlement.releases_run,
        )
        work = self.ports.counters.correct([correction])
        spawn(work, name="give-back", on_error=self._not_given_back)

    def _not_given_back(self, _name: str, error: BaseException) -> None:
        """The store is away as well: its counter stays too high until its period ends."""
        self.ports.not_given_back.note(type(error).__name__)


def counts_to_tell(draft: Draft) -> tuple[int, ...]:
    """Return the counters as the caller will find them, this request's own correction included.

    A repeat's is not: as a rule its run stays charged by another try.
    """
    charge, counts = draft.charge, draft.counts
    assert charge is not None
    assert counts is not None
    settlement = draft.settlement
    if settlement is None or not settlement.deltas or counts.repeat:
        return counts.after_micro
    deltas = {delta.key: delta.delta_micro for delta in settlement.deltas}
    return with_refunds(charge.template, counts.after_micro, deltas)


def close_books(draft: Draft, ports: Ports) -> None:
    """Settle, hand the record to the journal, which lets the last bytes go, and count."""
    exchange = draft.exchange
    elapsed_micro = (stopwatch_ns() - exchange.started_ns) // 1000
    if exchange.is_malformed:
        ports.stats.worker.parse_errors += 1
        _count_unrouted(str(draft.refusal), ports)
        exchange.release(written=True)
        return
    if exchange.client_gone and draft.outcome is _COMPLETED and not exchange.was_told_all:
        draft.outcome = Outcome.CLIENT_GONE  # it was asked to its end all the same
    settlement = draft.settlement
    if settlement is None or draft.outcome is not _COMPLETED:
        if _is_summed(draft, elapsed_micro, ports):
            return
        settlement = draft.settle()
    if settlement.deltas and draft.standing is not None:
        draft.standing.refused = None
    record = record_of(draft, settlement, elapsed_micro)
    _record(draft, record, ports)
    # What nobody waits for comes last: where requests come singly, the caller has the answer now.
    _count(draft, elapsed_micro, ports, billable=settlement.billable)
    if ports.access_log.chooses():
        ports.access_log.write_request(record, exchange)
    if draft.caller is not None:
        ports.key_use.note(draft.caller.entry.key_id, draft.now_micro)


def _record(draft: Draft, record: Record, ports: Ports) -> None:
    exchange = draft.exchange
    if draft.counts is not None and draft.counts.admitted:
        exchange.charged = draft
    elif draft.refusal is not None and not ports.journal.is_available:
        # What costs nobody anything may go unrecorded; what was charged must be given back.
        ports.stats.journal.refusals_unrecorded += 1
        exchange.release(written=True)
        return
    ports.journal.append(record, exchange)


def _is_summed(draft: Draft, elapsed_micro: int, ports: Ports) -> bool:
    """Add a request to those of its second that were refused alike; False: it is not to be.

    What the gateway answered by itself, and what changed no counter and is on no bill, need
    not be told apart: after the first ones, no answer waits for its record.
    """
    exchange, counts, caller = draft.exchange, draft.counts, draft.caller
    if draft.outcome is not _REFUSED and (draft.plan is not None or draft.status == 0):
        return False
    if (counts is not None and counts.admitted) or draft.sent_ns:
        return False
    if not ports.journal.is_available:
        return False
    group = _group_of(draft, ports)
    group.seen += 1
    if group.seen <= ALONE_MAX:
        return False
    if group.record is None:
        first = record_of(draft, draft.settle(), elapsed_micro)
        group.begin(first, ports.event_ids.new(exchange.started_ns))
    else:
        group.add(exchange.body_bytes, exchange.bytes_out, elapsed_micro)
    exchange.release(written=True)
    _count(draft, elapsed_micro, ports, billable=False)
    if ports.access_log.chooses():
        ports.access_log.write_request(record_of(draft, draft.settle(), elapsed_micro), exchange)
    if caller is not None:
        ports.key_use.note(caller.entry.key_id, draft.now_micro)
    return True


def _group_of(draft: Draft, ports: Ports) -> Group:
    """Return the requests that share a record with this one, if they come to more than a few."""
    counts, caller, refusal = draft.counts, draft.caller, draft.refusal
    second = (draft.now_micro if counts is None else counts.now_micro) // MICRO
    group = draft.group
    if group is not None and group.second == second and not group.is_over:
        return group  # the same head, refused before on the same connection
    entry = caller.entry if caller is not None else None
    pricing = draft.active.pricing
    violations: list[Violation] = [] if refusal is None else refusal.facts.get("violations", [])
    owner = (
        draft.status,
        None if refusal is None else str(refusal),
        None if draft.plan is None else draft.plan.route.name,
        None if entry is None else entry.workspace_id,
        None if entry is None else entry.key_id,
        None if entry is None else entry.plan,
        None if pricing is None else pricing.version,
        _period_of(draft, counts),
        counts is not None and counts.repeat,
        tuple([violation.policy for violation in violations]),
    )
    is_known = entry is not None and pricing is not None
    quantities = tuple(sorted(draft.reserved_micro.items())) if is_known else ()
    draft.group = group = ports.refusals.group(
        second, counts is not None, owner, _method_of(draft.exchange), quantities
    )
    return group


def record_of(draft: Draft, settlement: Settlement, elapsed_micro: int) -> Record:
    """Return the record of what is over."""
    exchange, caller, plan, charge = draft.exchange, draft.caller, draft.plan, draft.charge
    counts, refusal = draft.counts, draft.refusal
    entry = caller.entry if caller is not None else None
    pricing = draft.active.pricing
    record = Record(
        event_id=exchange.event_id,
        request_id=exchange.request_id,
        occurred_at_micro=draft.now_micro if counts is None else counts.now_micro,
        workspace_id=None if entry is None else entry.workspace_id,
        key_id=None if entry is None else entry.key_id,
        plan=None if entry is None else entry.plan,
        route=None if plan is None else plan.route.name,
        method=_method_of(exchange),
        run_id=draft.run_id,
        status=draft.status,
        outcome=_outcome(draft.outcome),
        code=None if refusal is None else str(refusal),
        billable=settlement.billable,
        reason=settlement.reason,
        repeat=counts is not None and counts.repeat,
        quantities_micro=settlement.quantities_micro,
        charged_micro=settlement.charged_micro,
        pricing_version=None if pricing is None else pricing.version,
        period=_period_of(draft, counts),
        bytes_in=exchange.body_bytes,
        bytes_out=exchange.bytes_out,
        latency_micro=elapsed_micro,
        upstream_micro=(draft.answered_ns - draft.sent_ns) // 1000,
    )
    if settlement.deltas:
        record.deltas = [
            [delta.key, delta.delta_micro, delta.expires_at_seconds] for delta in settlement.deltas
        ]
    if settlement.releases_run and charge is not None:
        record.run_key = charge.run_key
    elif record.repeat and settlement.billable and charge is not None:
        _claim_run(record, charge)
    if refusal is not None:
        violations: list[Violation] = refusal.facts.get("violations", [])
        record.violated = [violation.policy for violation in violations]
    elif draft.unenforced:
        record.flags = ["unenforced"]
    elif charge is not None and counts is not None and not draft.is_within_limits:
        record.flags = flags_of(charge, counts)
    return record


def _method_of(exchange: Exchange) -> str:
    return _METHODS.get(exchange.method) or exchange.method.decode("ascii", "replace")


def _claim_run(record: Record, charge: Charge) -> None:
    """Make a billable repeat the one that its run is billed by if no other try is.

    Until the ledger says so it is a repeat that costs nothing: as a rule its run is billed already.
    """
    record.claimed_reason = record.reason
    record.claimed_until_seconds = charge.run_expires_at_seconds
    record.run_key = charge.run_key
    record.billable = False
    record.reason = REPEAT
    record.charged_micro = dict.fromkeys(record.quantities_micro, 0)


def _period_of(draft: Draft, counts: Counts | None) -> str:
    """Return the billing period of the charge: the store's clock counts, not when it began."""
    active = draft.active
    if counts is None or active.valid_from_micro <= counts.now_micro < active.valid_until_micro:
        return active.period
    zone = active.pricing.timezone if active.pricing is not None else "UTC"
    return billing_period(zone, counts.now_micro)


def _outcome(outcome: Outcome) -> str:
    """Return ``outcome.value``, whose look-up is slow, without it for what is common."""
    if outcome is _COMPLETED:
        return "completed"
    return "refused" if outcome is _REFUSED else str(outcome.value)


def _bucket(latency_micro: int) -> int:
    index = 0
    for bound_micro in LATENCY_BOUNDS_MICRO:  # most requests end in the first few
        if latency_micro <= bound_micro:
            break
        index += 1
    return index


def _count_unrouted(code: str, ports: Ports) -> None:
    refused = ports.stats.worker.unrouted_refused
    refused[code] = refused.get(code, 0) + 1


def _count(draft: Draft, elapsed_micro: int, ports: Ports, *, billable: bool) -> None:
    exchange, status, refusal = draft.exchange, draft.status, draft.refusal
    if draft.plan is None:
        unrouted = ports.stats.worker.unrouted
        unrouted[status] = unrouted.get(status, 0) + 1
        if refusal is not None:
            _count_unrouted(str(refusal), ports)
        return
    counters: RouteCounters = draft.plan.route.counters
    counters.requests += 1
    counters.by_status[status] = counters.by_status.get(status, 0) + 1
    counters.latency_sum_micro += elapsed_micro
    if not counters.latency_buckets:
        counters.latency_buckets = [0] * (len(LATENCY_BOUNDS_MICRO) + 1)
    counters.latency_buckets[_bucket(elapsed_micro)] += 1
    counters.bytes_in += exchange.body_bytes
    counters.bytes_out += exchange.bytes_out
    counters.unenforced += draft.unenforced
    if billable and len(draft.actual_micro) < draft.plan.settled_meters:
        counters.unsettled += 1
    if refusal is not None:
        code = str(refusal)
        counters.refused[code] = counters.refused.get(code, 0) + 1
