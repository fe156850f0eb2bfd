"""A refused request that comes again, byte by byte, on the same connection: answered the short way.

Whoever is refused and does not wait sends the same head again and again. What it means and whose it
is was worked out for the one before; here is looked at all that may have changed since then: the
configuration, the key, how long the refusal holds, the journal. Anything new, and the request goes
the whole way (``gateway.proxy.request``). The books are the same: a record, counters, an id.
"""

from hmac import compare_digest

from gateway.clock import stopwatch_ns
from gateway.errors import Refusal
from gateway.proxy.books import Draft
from gateway.proxy.caller import remembered_refusal
from gateway.proxy.exchange import Charged, Exchange
from gateway.proxy.ports import Ports
from gateway.proxy.request import UNKNOWN_KEY, finish, refuse
from gateway.rules.charge import Counts
from gateway.rules.record import Outcome
from gateway.rules.units import MICRO


def same_as(refused: Charged | None, data: bytes) -> Draft | None:
    """Return the earlier request that was refused if what has come is its head, else None.

    In constant time: the head holds a key, and others may share the connection behind a proxy.
    """
    if not isinstance(refused, Draft):
        return None
    head = refused.exchange.whole_head
    return refused if len(data) == len(head) and compare_digest(data, head) else None


def repeat(known: Draft, exchange: Exchange, ports: Ports) -> bool:
    """Refuse a request that is the same as one that was refused; return whether that still holds.

    Args:
        known: The one that was refused.
        exchange: New, of the same connection.
        ports: See there.
    """
    former = known.exchange
    now_micro = ports.clock.now_micro()
    if ports.active_at(now_micro) is not known.active or ports.is_draining:
        return False
    counts: Counts | None = None
    refusal = known.refusal
    if refusal is UNKNOWN_KEY:
        if not ports.keys.is_unknown(known.key_hash):
            return False
    else:
        counts = _refused_still(known, ports)
        refusal = _told(known, counts)
    if refusal is None or not ports.journal.is_available:
        return False
    _begin(exchange, former, ports)
    draft = Draft(exchange, ports, now_micro)
    draft.plan = known.plan
    draft.caller = known.caller
    draft.reserved_micro = known.reserved_micro
    draft.standing = known.standing
    draft.charge = known.charge
    draft.counts = counts
    draft.is_remembered = known.is_remembered
    draft.group = known.group
    if counts is None:
        ports.stats.directory.unknown += 1
    else:
        ports.stats.store.refused_locally += 1
    try:
        refuse(draft, refusal, Outcome.REFUSED)
        finish(draft, ports)
    except Exception as error:  # noqa: BLE001 - as in a story: a bug must not take the worker with it
        ports.story_failed(error)
        exchange.client.transport.abort()
    return True


def _refused_still(known: Draft, ports: Ports) -> Counts | None:
    """Return the counts by which the caller is refused, None if that has to be asked again."""
    caller, plan = known.caller, known.plan
    standing, charge = known.standing, known.charge
    if caller is None or plan is None or standing is None or charge is None:
        return None
    entry = caller.entry
    # A key that changes is another entry; one that ends by itself is looked at the long way.
    if ports.keys.known(known.key_hash) is not entry:
        return None
    if entry.expires_at_micro is not None or entry.revoked_at_micro is not None:
        return None
    if plan.pool.is_guarded or caller.standings.get(plan.route.name) is not standing:
        return None
    return remembered_refusal(standing, charge, ports.counters.now_micro())


def _told(known: Draft, counts: Counts | None) -> Refusal | None:
    """Return the refusal that was rendered within this second."""
    last = known.standing.known_refusal if known.standing is not None else None
    if counts is None or last is None or last.second != counts.now_micro // MICRO:
        return None
    return last.refusal


def _begin(exchange: Exchange, former: Exchange, ports: Ports) -> None:
    exchange.started_ns = started_ns = stopwatch_ns()
    exchange.event_id = ports.event_ids.new(started_ns)
    is_named = former.request_id != former.event_id
    exchange.request_id = former.request_id if is_named else exchange.event_id
    exchange.id_line = b"X-Request-Id: %b\r\n" % exchange.request_id.encode()
    exchange.method = former.method
    exchange.host = former.host
    exchange.path = former.path
    exchange.query = former.query
    exchange.has_query = former.has_query
    exchange.spelling = former.spelling
    exchange.origin = former.origin
    exchange.fields = former.fields
    exchange.special = former.special
    exchange.special_names = former.special_names
    exchange.body_complete = True
