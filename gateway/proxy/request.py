"""The way of one request, in nine steps.

Everything that decides is pure (``gateway.rules``, ``gateway.http``); everything that waits is
behind a port. Whatever happens, steps 8 and 9 run.

Source: design section 3; docs/semantics.md.
"""

from typing import Final

from gateway.clock import stopwatch_ns
from gateway.config.snapshot import Route
from gateway.errors import (
    DirectoryUnavailable,
    GatewayError,
    Refusal,
    RefusalCode,
    StoreUnavailable,
)
from gateway.http.credentials import REMEMBERED_BYTES_MAX
from gateway.http.fields import has_token
from gateway.http.methods import USUAL
from gateway.http.paths import AmbiguousPath, require_spelling
from gateway.http.problems import INSTANCE, Problem, render, repeated
from gateway.http.ratelimit import render as render_ratelimit
from gateway.keys.port import KeyEntry
from gateway.proxy.active import Active, RoutePlan
from gateway.proxy.answer import Answer
from gateway.proxy.books import Draft, close_books, counts_to_tell
from gateway.proxy.caller import KnownRefusal, Standing, entered, key_hash_of, require_access
from gateway.proxy.charging import charge
from gateway.proxy.costs import (
    actual_cost,
    is_in_body,
    read_cost,
    read_run_id,
    run_id_of_answer,
    run_id_of_head,
)
from gateway.proxy.exchange import ClientGone, Exchange
from gateway.proxy.forward import REFUSALS, identity_lines, send
from gateway.proxy.incoming import bad
from gateway.proxy.openings import admit_tunnel
from gateway.proxy.ports import Ports
from gateway.proxy.upstream import UpstreamError
from gateway.rules.charge import Counts
from gateway.rules.record import Outcome
from gateway.rules.units import MICRO

DEGRADED: Final = b"Gateway-Degraded: counter-store\r\n"
UNKNOWN_KEY: Final = Refusal(RefusalCode.KEY_INVALID)


async def serve(exchange: Exchange, ports: Ports) -> None:
    """Take one request from its parsed head to its record."""
    now_micro = ports.clock.now_micro()
    draft = Draft(exchange, ports, now_micro)  # 1  head is parsed, strictly
    ports.exchanges.add(exchange)
    exchange.id_line = b"X-Request-Id: %b\r\n" % exchange.request_id.encode()
    try:
        plan = draft.plan = find_route(draft, ports)  # 2
        if plan is None:
            answer_options(draft)
            return
        entry = None
        if plan.places:  # 3
            key_hash = key_hash_of(exchange, plan, ports.key_format)
            entry = ports.keys.known(key_hash) or await find_key(draft, key_hash, ports)
        is_known = find_caller(draft, plan, entry, ports)
        if is_known and not head_tells_cost(draft, plan):
            await find_cost(draft, plan)  # 4
        if is_known and await charge(draft, plan, ports):  # 5
            identity = begin_forward(draft, plan)  # 6
            tier = draft.caller.tier if draft.caller is not None else None
            answered(draft, plan, await send(exchange, plan, ports, tier, identity))
            relay(draft, plan)  # 7  all but the last bytes
            if exchange.answer_begun:
                await rest_of_relay(draft, plan)
        elif draft.refusal is not None:
            refuse(draft, draft.refusal, Outcome.REFUSED)
    except Refusal as refusal:
        refusal.forget_frames()
        refuse(draft, refusal, Outcome.REFUSED)
    except (StoreUnavailable, DirectoryUnavailable) as error:
        refuse(draft, unavailable(error), Outcome.REFUSED)
    except (UpstreamError, ClientGone) as error:
        cut_short(draft, error)
    finally:
        finish(draft, ports)  # 8, 9  the journal lets the last bytes go


def finish(draft: Draft, ports: Ports) -> None:
    """Close the books; whatever comes of it, the upstream is free for the next request."""
    try:
        close_books(draft, ports)
    finally:
        draft.exchange.let_upstream_go()
        ports.exchanges.discard(draft.exchange)


def find_route(draft: Draft, ports: Ports) -> RoutePlan | None:
    """Match method, host and path (step 2); None is an ``OPTIONS`` for the gateway itself."""
    exchange, active = draft.exchange, draft.active
    if exchange.refusal is not None:
        raise exchange.refusal
    if exchange.forwards_left == 0:
        return None
    route = active.matcher.match(exchange.method, exchange.host, exchange.path)
    if exchange.spelling:
        require_path(exchange, active, route)
    if route is None:
        if exchange.path == b"*":
            return None
        allowed = active.matcher.allowed_methods(exchange.host, exchange.path)
        if allowed:
            raise Refusal(RefusalCode.METHOD_NOT_ALLOWED, allow=b", ".join(sorted(allowed)))
        raise Refusal(RefusalCode.ROUTE_UNKNOWN)
    if not ports.journal.is_available:
        raise Refusal(RefusalCode.RECORDING_UNAVAILABLE)
    # A body in chunks may have come with its head, before its bound was known.
    bytes_max = route.body_bytes_max
    if exchange.content_length > bytes_max or exchange.body_bytes > bytes_max:
        raise Refusal(RefusalCode.BODY_TOO_LARGE)
    exchange.body_bytes_max = bytes_max
    return active.plans[route.name]


def require_path(exchange: Exchange, active: Active, route: Route | None) -> None:
    """Refuse a spelling of the path that its route, or the file without one, does not take."""
    policy = active.snapshot.paths if route is None else route.paths
    try:
        require_spelling(
            exchange.spelling, resolve=policy.normalise, merge_slashes=policy.merge_slashes
        )
    except AmbiguousPath as error:
        raise bad(f"The path is ambiguous: {error}.") from error


def answer_options(draft: Draft) -> None:
    """Answer what is asked of the gateway and no service behind it: ``OPTIONS *``, last hops."""
    exchange = draft.exchange
    draft.status = 200
    path = exchange.path
    allowed = USUAL if path == b"*" else draft.active.matcher.allowed_methods(exchange.host, path)
    exchange.answer_options(b", ".join(sorted(allowed)), exchange.id_line)


async def find_key(draft: Draft, key_hash: bytes, ports: Ports) -> KeyEntry | None:
    """Ask the directory for a key that the worker has not seen lately.

    Raises:
        ClientGone: the client left meanwhile; nothing has been charged.
        Refusal: it left, and its key would not have let it in.
    """
    exchange = draft.exchange
    entry = await ports.keys.find(key_hash, exchange.origin.group)
    if exchange.client_gone:
        draft.caller = entered(entry, draft.active, draft.now_micro)
        raise ClientGone
    return entry


def find_caller(draft: Draft, plan: RoutePlan, entry: KeyEntry | None, ports: Ports) -> bool:
    """See whether a key may come in here and whether there is room (step 3).

    False stands for an unknown key: to raise it would cost as much as all the rest of it.
    """
    if plan.places:
        if entry is None:
            draft.refusal = UNKNOWN_KEY
            return False
        caller = draft.caller = entered(entry, draft.active, draft.now_micro)
        require_access(caller, plan.route, draft.exchange.origin.address)
    if plan.route.tunnel is not None and draft.exchange.wants_upgrade:
        draft.exchange.opening = admit_tunnel(draft, plan, plan.route.tunnel, ports)
    if plan.pool.is_guarded:  # before anything is charged
        plan.pool.require_room()
    return True


def head_tells_cost(draft: Draft, plan: RoutePlan) -> bool:
    """Take cost and run id of a request whose body need not be read for them (step 4)."""
    run_id = plan.run_id
    if plan.static_cost_micro is None or (run_id is not None and is_in_body(run_id)):
        return False
    draft.reserved_micro = plan.static_cost_micro
    if run_id is not None:
        draft.run_id = run_id_of_head(run_id, draft.exchange)
    return True


async def find_cost(draft: Draft, plan: RoutePlan) -> None:
    """Work out what is to be reserved, and under which run id (step 4)."""
    json_bytes_max = draft.active.snapshot.limits.json_body_bytes_max
    if plan.static_cost_micro is not None:
        draft.reserved_micro = plan.static_cost_micro
    else:
        draft.reserved_micro = await read_cost(plan, draft.exchange, json_bytes_max)
    if plan.run_id is not None:
        draft.run_id = await read_run_id(plan.run_id, draft.exchange, json_bytes_max)


def begin_forward(draft: Draft, plan: RoutePlan) -> bytes:
    """Note when the request is sent on; return the lines that tell the upstream who calls."""
    exchange, caller = draft.exchange, draft.caller
    if exchange.client_gone:
        raise ClientGone
    draft.sent_ns = draft.answered_ns = stopwatch_ns()
    if caller is None or not plan.route.auth.forward_identity:
        return b""
    return identity_lines(caller.entry, exchange.event_id)


def answered(draft: Draft, plan: RoutePlan, answer: Answer) -> None:
    """Note that the answer's head is here."""
    draft.answered_ns = stopwatch_ns()
    draft.answer = answer
    draft.status = answer.status
    if draft.run_id is None and plan.run_id is not None:
        draft.run_id = run_id_of_answer(plan.run_id, answer)


def relay(draft: Draft, plan: RoutePlan) -> None:
    """Pass on what is here of the answer, with the fields that tell where the caller stands."""
    exchange, answer = draft.exchange, draft.answer
    assert answer is not None
    if plan.settles_from_body:
        exchange.captured = []
    elif plan.settled_meters:
        draft.actual_micro = actual_cost(plan, answer, None)
    if not plan.settles_from_body:
        draft.settlement = draft.settle()
    if answer.status == 101:
        upgrade = [field.value for field in answer.fields if field.key == b"upgrade"]
        if not (exchange.wants_upgrade and has_token(upgrade, b"websocket")):
            raise UpstreamError("protocol", answered=True)
        exchange.tunnels = True
        if exchange.upstream is not None:
            exchange.upstream.reading.pause("upgrade")  # until the record is written
    exchange.begin_answer(answer, exchange.id_line + standing_lines(draft), plan.response_dropped)
    if plan.settles_from_body and not exchange.answer_begun:
        draft.actual_micro = actual_cost(plan, answer, exchange.captured)


async def rest_of_relay(draft: Draft, plan: RoutePlan) -> None:
    """Pass on the rest of an answer that came in pieces."""
    exchange, answer = draft.exchange, draft.answer
    assert answer is not None
    await exchange.rest_of_answer(answer)
    if plan.settles_from_body:
        draft.actual_micro = actual_cost(plan, answer, exchange.captured)


def standing_lines(draft: Draft) -> bytes:
    """Return the fields that tell the caller where it stands."""
    standing, counts = draft.standing, draft.counts
    if draft.unenforced:
        return DEGRADED
    if standing is None or counts is None:
        return b""
    return render_ratelimit(standing.fields, counts_to_tell(draft), counts.now_micro)


def refuse(draft: Draft, refusal: Refusal, outcome: Outcome) -> None:
    """Answer with a problem, in the place of the upstream."""
    exchange, standing = draft.exchange, draft.standing
    if exchange.client_gone:
        client_gone(draft)
        return
    draft.refusal = refusal
    draft.outcome = outcome
    lines = exchange.id_line
    if standing is None or draft.counts is None or draft.unenforced:
        problem = _problem(draft, refusal, exchange.request_id)
    elif draft.is_remembered:
        known = standing.known_refusal
        if known is None or known.refusal is not refusal:
            known = standing.known_refusal = _known(draft, refusal, standing, draft.counts)
        problem = known.problem.of(exchange.request_id)
        lines = b"%b%b" % (lines, known.lines)
    else:
        draft.settlement = draft.settle()
        problem = _problem(draft, refusal, exchange.request_id)
        lines += render_ratelimit(standing.fields, counts_to_tell(draft), draft.counts.now_micro)
    draft.status = problem.status
    exchange.refuse(problem, refusal.code, lines)
    if draft.is_remembered or refusal is UNKNOWN_KEY:
        keep_for_repetition(draft)


def keep_for_repetition(draft: Draft) -> None:
    """Keep what was refused without asking anybody: most who are come again with the same."""
    exchange = draft.exchange
    if not 0 < len(exchange.whole_head) <= REMEMBERED_BYTES_MAX:
        return
    if exchange.keep_alive and not exchange.has_body:
        draft.key_hash = exchange.client.known_hash
        exchange.client.refused = draft


def unavailable(error: GatewayError) -> Refusal:
    """Return what the caller is told of a store or directory that can't be asked."""
    is_store = isinstance(error, StoreUnavailable)
    return Refusal(RefusalCode.STORE_UNAVAILABLE if is_store else RefusalCode.DIRECTORY_UNAVAILABLE)


def _problem(draft: Draft, refusal: Refusal, request_id: str) -> Problem:
    if refusal.facts:
        return _rendered(draft, refusal, request_id)
    # Nothing in it depends on the caller: one is like the other, but for its instance.
    problems, code = draft.active.problems, str(refusal)
    known = problems.get(code)
    if known is None:
        known = problems[code] = repeated(_rendered(draft, refusal, INSTANCE))
    return known.of(request_id)


def _rendered(draft: Draft, refusal: Refusal, request_id: str) -> Problem:
    caller, pricing = draft.caller, draft.active.pricing
    return render(
        refusal,
        request_id,
        answers=pricing.answers if pricing else None,
        billing=pricing.billing if pricing else None,
        tier=caller.tier if caller else None,
        tiers=pricing.tiers if pricing else None,
    )


def _known(draft: Draft, refusal: Refusal, standing: Standing, counts: Counts) -> KnownRefusal:
    """Return the answer that repetitions of a refusal get within this second."""
    return KnownRefusal(
        refusal,
        counts.now_micro // MICRO,
        repeated(_problem(draft, refusal, INSTANCE)),
        render_ratelimit(standing.fields, counts.after_micro, counts.now_micro),
    )


def cut_short(draft: Draft, error: UpstreamError | ClientGone) -> None:
    """Tell the caller that the upstream failed; an answer that has begun is cut, not patched."""
    exchange = draft.exchange
    if isinstance(error, ClientGone) or exchange.client_gone:
        client_gone(draft)
    elif exchange.refusal is not None and exchange.answer_begun:
        exchange.cut()  # it broke its own request off, and has of the answer what it has
        client_gone(draft)
    elif exchange.refusal is not None:
        refuse(draft, exchange.refusal, Outcome.REFUSED)
    else:
        refuse(draft, Refusal(REFUSALS[error.kind]), Outcome.UPSTREAM_FAILED)


def client_gone(draft: Draft) -> None:
    """Note that nobody is there to be answered; what was delivered is still settled."""
    is_cut_off = draft.exchange.is_cut_off
    draft.refusal = None
    draft.outcome = Outcome.STOPPED if is_cut_off else Outcome.CLIENT_GONE
    draft.settlement = None
    if draft.status == 0:
        draft.status = 503 if is_cut_off else 499
