"""What would happen to a request, and why: every step of a decision, nothing counted.

The order is that of a real request (design section 3, steps 2 to 5); the rules are the same ones.
Source: requirements N6, C5, C17.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.clock import Clock
from gateway.config.snapshot import CostReading, CostSource, Route, RunIdSource, Snapshot
from gateway.control.explanation import Explanation, PolicyStanding, Step
from gateway.control.workspaces import find_workspace
from gateway.errors import Refusal, RefusalCode
from gateway.http.addresses import address_in, network_in
from gateway.http.hosts import canonical_host
from gateway.http.json_bodies import quantity_of, read_json, refuse_coded
from gateway.http.methods import REFUSED, ROUTED, method_refusal
from gateway.http.paths import TARGET, AmbiguousPath, canonical, require_spelling
from gateway.http.problems import describe, render
from gateway.http.run_ids import checked_run_id, run_id_of_fields, run_id_of_json
from gateway.http.usage import UnreadableValue, quantity_from_field
from gateway.keys.port import KeyDescription, KeyRegistry, Workspace, WorkspaceStatus
from gateway.rules.access import is_address_allowed, key_refusal, missing_features
from gateway.rules.address_groups import group_on_open_route
from gateway.rules.charge import Charge, ChargeTemplate, Counts, Entry
from gateway.rules.charging import amounts, build_template
from gateway.rules.decision import (
    flags_of,
    retry_after_seconds,
    seconds_until,
    violations_of,
    would_refuse,
)
from gateway.rules.limits import Scope
from gateway.rules.plan import Pricing, Tier
from gateway.rules.units import MICRO, UNLIMITED, Cap, text_from_micro
from gateway.rules.windows import NEVER_MICRO

CountReader = Callable[[ChargeTemplate], Awaitable[Sequence[int | None]]]
"""Returns the present count of each entry in micro-units; None where it can't be known."""

RunReader = Callable[[str, str], Awaitable[tuple[str, int] | None]]
"""Returns id and time of the event that a workspace's run is billed by, None if by none yet."""


@dataclass(frozen=True, slots=True)
class Question:
    """The request that is asked about.

    Attributes:
        path: Request target: a path, with or without a query.
        headers: Values by lower-case name, in their order.
        address: The client's address; None skips checks of networks.
    """

    method: str
    path: str
    host: str = ""
    headers: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    body: bytes = b""
    address: str | None = None

    def values(self, name: bytes) -> Sequence[bytes]:
        """Return what a header field says, once for each time that it was sent."""
        return self.headers.get(name.decode(), ())


@dataclass(frozen=True, slots=True)
class AskedCaller:
    """Whose request it would be; ``key`` None asks for a workspace without naming a key."""

    workspace: Workspace
    key: KeyDescription | None


def caller_of_key(registry: KeyRegistry, key: KeyDescription) -> AskedCaller:
    """Return the caller that a key stands for. Raises ``GatewayError``: its workspace is gone."""
    return AskedCaller(find_workspace(registry, key.workspace_id), key)


async def explain(
    snapshot: Snapshot,
    clock: Clock,
    question: Question,
    caller: AskedCaller | None,
    read_counts: CountReader,
    read_run: RunReader | None = None,
) -> Explanation:
    """Walk a request through steps 2 to 5 without counting or forwarding it.

    Args:
        snapshot: The configuration to ask.
        clock: Says which periods run.
        question: The request.
        caller: Whose it is; None for a request without a key.
        read_counts: Present counts.
        read_run: Runs that were charged before; None if that can't be asked.

    Raises:
        StoreUnavailable: the counts can't be read.
        LedgerUnavailable: the run can't be looked up.
    """
    found = Explanation()
    try:
        await _walk(found, snapshot, clock.now_micro(), question, caller, read_counts, read_run)
    except Refusal as refusal:
        _refused(found, refusal, snapshot.pricing_at(clock.now_micro()))
    else:
        found.forwards = True
        found.summary = f"The request would be forwarded to {found.upstream!r}."
    return found


async def _walk(
    found: Explanation,
    snapshot: Snapshot,
    now_micro: int,
    question: Question,
    asked: AskedCaller | None,
    read_counts: CountReader,
    read_run: RunReader | None,
) -> None:
    route = _find_route(found, snapshot, question)
    pricing = snapshot.pricing_at(now_micro)
    if route.auth.places:
        tier = _find_caller(found, pricing, asked, now_micro)
        _check_access(found, route, tier, asked, question)
        ladders = [tier.ladders[name] for name in route.limits if name in tier.ladders]
    else:
        found.note("caller", "the route is open: no key is asked for")
        ladders, asked = [], None
    if _is_read(route) and len(question.body) > snapshot.limits.json_body_bytes_max:
        raise Refusal(RefusalCode.BODY_TOO_LARGE)
    cost_micro = _read_cost(found, route, question)
    run_id = _read_run_id(route, question)
    if run_id is not None and asked is not None:
        await _look_run_up(found, run_id, pricing, asked, now_micro, read_run)
    template = build_template(
        [*ladders, *route.own_limits],
        asked.workspace.workspace_id
        if asked
        else f"address-{group_on_open_route(question.address or '', route.own_limits)}",
        now_micro,
        key_id=asked.key.key_id if asked and asked.key else "",
        route=route.name,
        address=question.address or "",
    )
    is_repeat = found.repeat_of is not None
    charge = Charge(
        template,
        tuple(
            0 if is_repeat and not entry.counts_repeats else amount_micro
            for entry, amount_micro in zip(
                template.entries, amounts(template, cost_micro), strict=True
            )
        ),
        hold_id="",
    )
    await _judge(found, charge, now_micro, read_counts, _unnamed(question, asked))


def _find_route(found: Explanation, snapshot: Snapshot, question: Question) -> Route:
    host = canonical_host(question.host.encode()) if question.host else b""
    if host is None:
        raise Refusal(RefusalCode.BAD_REQUEST, detail="The Host field is malformed.")
    method = question.method.upper().encode()
    try:
        path, spelling = canonical(_path_of(question.path.encode(), method, snapshot))
        route = snapshot.matcher.match(method, host, path)
        policy = snapshot.paths if route is None else route.paths
        require_spelling(spelling, resolve=policy.normalise, merge_slashes=policy.merge_slashes)
    except AmbiguousPath as error:
        raise _bad(f"The path is ambiguous: {error}.") from error
    if route is None:
        allowed = snapshot.matcher.allowed_methods(host, path)
        if allowed:
            methods = ", ".join(sorted(method.decode() for method in allowed))
            told = f"The path takes {methods}."
            raise Refusal(RefusalCode.METHOD_NOT_ALLOWED, allow=methods.encode(), told=told)
        raise Refusal(RefusalCode.ROUTE_UNKNOWN)
    found.route, found.upstream = route.name, route.upstream.name
    found.note("route", f"{method.decode()} {path.decode()} is route {route.name!r}")
    if len(question.body) > route.body_bytes_max:
        raise Refusal(RefusalCode.BODY_TOO_LARGE)
    return route


def _path_of(target: bytes, method: bytes, snapshot: Snapshot) -> bytes:
    """Return the path of a request line, judged in the order in which the gateway reads it.

    Raises:
        Refusal: method or target can't be one.
    """
    if len(target) > snapshot.limits.target_bytes_max:
        raise Refusal(RefusalCode.TARGET_TOO_LONG)
    if b" " in target or not target:
        raise _bad("The request line is malformed.")
    refusal = method_refusal(method)
    if not target.isascii() and method in ROUTED | REFUSED:
        refusal = _bad("The request is not valid HTTP.")
    if refusal is not None:
        raise refusal
    if not TARGET.fullmatch(target):
        raise _bad("The request target holds a character that it can't.")
    return target.partition(b"?")[0]


def _bad(detail: str) -> Refusal:
    return Refusal(RefusalCode.BAD_REQUEST, detail=detail)


def _find_caller(
    found: Explanation, pricing: Pricing | None, asked: AskedCaller | None, now_micro: int
) -> Tier:
    if asked is None:
        raise Refusal(RefusalCode.KEY_MISSING)
    key, workspace = asked.key, asked.workspace
    found.workspace_id, found.plan = workspace.workspace_id, workspace.plan
    if key is not None:
        found.key_id = key.key_id
        code = key_refusal(
            now_micro=now_micro,
            expires_at_micro=key.expires_at_micro,
            revoked_at_micro=key.revoked_at_micro,
        )
        if code is not None:
            raise Refusal(code)
    if workspace.status is WorkspaceStatus.SUSPENDED:
        raise Refusal(RefusalCode.WORKSPACE_SUSPENDED)
    if workspace.status is WorkspaceStatus.PAYMENT_REQUIRED:
        raise Refusal(RefusalCode.PAYMENT_REQUIRED)
    tier = pricing.tiers.get(workspace.plan) if pricing else None
    if tier is None:
        raise Refusal(RefusalCode.PLAN_UNKNOWN)
    found.note("caller", f"workspace {workspace.workspace_id!r} on plan {workspace.plan!r}")
    return tier


def _check_access(
    found: Explanation, route: Route, tier: Tier, asked: AskedCaller | None, question: Question
) -> None:
    key = asked.key if asked else None
    if key is not None and key.networks and question.address is not None:
        networks = [network_in(network) for network in key.networks]
        if not is_address_allowed(address_in(question.address), networks):
            raise Refusal(RefusalCode.ADDRESS_NOT_ALLOWED)
        found.note("address", f"{question.address} lies in the key's networks")
    elif key is not None and key.networks:
        networks_told = ", ".join(key.networks)
        found.note("address", f"not judged: the key is bound to {networks_told}; give --address")
    granted = None if key is None or key.features is None else frozenset(key.features)
    missing = missing_features(route.requires, tier.features, granted)
    if missing:
        names = ", ".join(sorted(missing))
        barred = granted is not None and not missing <= granted
        raise Refusal(
            RefusalCode.FEATURE_UNAVAILABLE,
            features=missing,
            barred=barred,
            told=f"Missing: {names}.",
        )
    if route.requires:
        found.note("features", f"the plan includes {', '.join(sorted(route.requires))}")


def _read_cost(found: Explanation, route: Route, question: Question) -> dict[str, int]:
    cost_micro = {cost.meter: _reserve(cost.reserve, question) for cost in route.cost}
    found.cost = {meter: text_from_micro(value) for meter, value in cost_micro.items()}
    settled = [cost.meter for cost in route.cost if cost.settle is not None]
    told = ", ".join(f"{value} {meter}" for meter, value in found.cost.items()) or "one request"
    later = f"; {', '.join(settled)} is corrected by the answer" if settled else ""
    found.note("cost", told + later)
    return cost_micro


def _is_read(route: Route) -> bool:
    """Return whether the body must be read before the request is forwarded."""
    reads_cost = any(cost.reserve.source is CostSource.JSON for cost in route.cost)
    return reads_cost or (route.run_id is not None and route.run_id.source is RunIdSource.JSON)


def _reserve(reading: CostReading, question: Question) -> int:
    quantity: int | None = None
    where = reading.header.decode() or "/" + "/".join(reading.pointer)
    try:
        if reading.source is CostSource.HEADER:
            values = question.values(reading.header)
            if len(values) > 1:
                raise UnreadableValue("expected a single value")  # noqa: TRY301
            quantity = quantity_from_field(values[0]) if values else None
        elif reading.source is CostSource.JSON:
            member = _member(question, reading.pointer)
            quantity = None if member is None else quantity_of(member)
    except UnreadableValue as error:
        raise Refusal(RefusalCode.COST_INVALID, detail=f"Invalid {where}: {error}.") from error
    if quantity is None:
        quantity = reading.default_micro
    if quantity is None:
        raise Refusal(RefusalCode.COST_INVALID, detail=f"Missing {where}.")
    return quantity


def _member(question: Question, pointer: tuple[str, ...]) -> object | None:
    """Return a member of the body, None if it is not there.

    Raises:
        Refusal: the body can't be read.
        UnreadableValue: the member can't.
    """
    if not question.body:
        return None
    refuse_coded(question.values(b"content-encoding"))
    try:
        document = read_json(question.values(b"content-type"), question.body)
    except UnreadableValue as error:
        raise Refusal(RefusalCode.COST_INVALID, detail=f"Invalid request: {error}.") from error
    return document.at(pointer)


def _read_run_id(route: Route, question: Question) -> str | None:
    reading = route.run_id
    if reading is None or reading.source is RunIdSource.RESPONSE_HEADER:
        return None
    if reading.source is RunIdSource.HEADER:
        value = run_id_of_fields(question.values(reading.header))
    else:
        try:
            value = run_id_of_json(_member(question, reading.pointer))
        except UnreadableValue as error:
            where = "/" + "/".join(reading.pointer)
            raise Refusal(RefusalCode.BAD_REQUEST, detail=f"Invalid {where}: {error}.") from error
    return checked_run_id(value, required=reading.required)


async def _look_run_up(
    found: Explanation,
    run_id: str,
    pricing: Pricing | None,
    asked: AskedCaller | None,
    now_micro: int,
    read_run: RunReader | None,
) -> None:
    """Say whether the run was charged before, as far as the ledger has been told."""
    if read_run is None or pricing is None or asked is None:
        found.note("run id", "named: if it was charged before, this costs nothing")
        return
    known = await read_run(asked.workspace.workspace_id, run_id)
    retention_micro = pricing.meter.run_retention_seconds * MICRO
    if known is None or now_micro - known[1] >= retention_micro:
        found.note("run id", f"{run_id!r} was not charged yet")
        return
    found.repeat_of = known[0]
    found.note("run id", f"{run_id!r} was charged by event {known[0]}: a repeat costs nothing")


async def _judge(
    found: Explanation,
    charge: Charge,
    now_micro: int,
    read_counts: CountReader,
    unnamed: frozenset[Scope],
) -> None:
    entries = charge.template.entries
    if not entries:
        found.note("limits", "no limit applies")
        return
    known = [
        None if entry.ladder.scope in unnamed else count
        for entry, count in zip(entries, await read_counts(charge.template), strict=True)
    ]
    before = tuple(count or 0 for count in known)
    found.policies = [
        _standing(entry, amount, count, now_micro)
        for entry, amount, count in zip(entries, charge.amounts_micro, known, strict=True)
    ]
    violations = violations_of(
        charge, Counts(admitted=False, repeat=False, now_micro=now_micro, after_micro=before)
    )
    if violations:
        found.retry_after_seconds = retry_after_seconds(violations)
        raise Refusal(
            RefusalCode.QUOTA_EXCEEDED, violations=violations, told=f"{describe(violations)}."
        )
    after = tuple(map(sum, zip(before, charge.amounts_micro, strict=True)))
    found.flags = flags_of(
        charge, Counts(admitted=True, repeat=False, now_micro=now_micro, after_micro=after)
    )
    flagged = f", flagged {', '.join(found.flags)}" if found.flags else ""
    found.note("limits", f"all {len(entries)} policies allow it{flagged}")


def _unnamed(question: Question, asked: AskedCaller | None) -> frozenset[Scope]:
    """Return whose counters can't be known, as it was not said who they are."""
    unnamed = set[Scope]()
    if asked is None or asked.key is None:
        unnamed.add(Scope.KEY)
    if question.address is None:
        unnamed.add(Scope.ADDRESS)
        if asked is None:  # an open route: the address stands for the workspace
            unnamed |= {Scope.ROUTE, Scope.WORKSPACE}
    return frozenset(unnamed)


def _standing(
    entry: Entry, amount_micro: int, count_micro: int | None, now_micro: int
) -> PolicyStanding:
    end_micro = entry.period.end_micro
    return PolicyStanding(
        policy=entry.ladder.soft.wire,
        meter=entry.ladder.meter,
        count=None if count_micro is None else text_from_micro(count_micro),
        cost=text_from_micro(amount_micro),
        limit=text_from_micro(entry.ladder.soft.limit_micro),
        refuses_above=_cap_text(entry.cap_micro),
        resets_in_seconds=seconds_until(end_micro, now_micro) if end_micro < NEVER_MICRO else None,
        allows=not would_refuse(entry, amount_micro, count_micro or 0),
    )


def _cap_text(cap_micro: Cap) -> str | None:
    return None if cap_micro is UNLIMITED else text_from_micro(cap_micro)


def _refused(found: Explanation, refusal: Refusal, pricing: Pricing | None) -> None:
    """Note a refusal: in the words of its problem, and in more exact ones where there are any."""
    told = _told_to_caller(found, refusal, pricing)
    found.status, found.code = told["status"], refusal.code.value
    found.detail = told["detail"]
    words = str(refusal.facts.get("told", found.detail))
    found.steps.append(Step(refusal.code.value, passed=False, told=words))
    found.summary = f"The request would be refused with {found.status}: {words}"


def _told_to_caller(
    found: Explanation, refusal: Refusal, pricing: Pricing | None
) -> dict[str, Any]:
    tier = pricing.tiers.get(found.plan) if pricing and found.plan else None
    problem = render(
        refusal,
        "",
        answers=pricing.answers if pricing else None,
        billing=pricing.billing if pricing else None,
        tier=tier,
        tiers=pricing.tiers if pricing else None,
    )
    told: dict[str, Any] = orjson.loads(problem.body)
    return told
