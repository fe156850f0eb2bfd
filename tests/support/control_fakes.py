"""What the use cases work on, in memory: clock, registry, ledger, a price list and a snapshot."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.clock import Clock
from gateway.config.matcher import RouteMatcher
from gateway.config.snapshot import (
    AccessLog,
    Auth,
    ClientLimits,
    CostReading,
    CostSource,
    Endpoint,
    FailurePolicy,
    KeyPlace,
    LegacyFields,
    MeterCost,
    PathPolicy,
    Route,
    RunIdReading,
    RunIdSource,
    Segment,
    Snapshot,
    Timeouts,
    Upstream,
)
from gateway.keys.port import KeyDescription, NewKey, Workspace, WorkspaceStatus
from gateway.ledger.port import ChargedTotal, UsageRow
from gateway.rules.limits import Ladder
from gateway.rules.plan import Aggregation, Currency, Grace, GracePolicy, Meter, Pricing, Tier
from gateway.rules.record import Record
from gateway.rules.units import MICRO, UNLIMITED
from tests.support.fake_clock import FakeClock
from tests.support.plans import ANSWERS, BILLING, monthly, rpm

MARCH_2026_MICRO = 1_772_323_200 * MICRO


class MemoryRegistry:
    """Keys and workspaces in dictionaries."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.by_workspace: dict[str, Workspace] = {}
        self.plans: dict[str, list[tuple[int, str]]] = {}
        self.by_key: dict[str, KeyDescription] = {}
        self.hashes: dict[str, bytes] = {}

    def create_workspace(self, workspace: Workspace) -> None:
        self.by_workspace[workspace.workspace_id] = workspace
        self.plans[workspace.workspace_id] = [(workspace.created_at_micro, workspace.plan)]

    def update_workspace(
        self, workspace_id: str, *, plan: str | None, status: WorkspaceStatus | None
    ) -> Workspace:
        old = self.by_workspace[workspace_id]
        new = replace(old, plan=plan or old.plan, status=status or old.status)
        self.by_workspace[workspace_id] = new
        self.plans[workspace_id].append((self.clock.now_micro(), new.plan))
        return new

    def workspace(self, workspace_id: str) -> Workspace | None:
        return self.by_workspace.get(workspace_id)

    def plan_at(self, workspace_id: str, at_micro: int) -> str | None:
        known = [plan for since, plan in self.plans[workspace_id] if since <= at_micro]
        return known[-1] if known else None

    def workspaces(self, *, limit: int, after: str = "") -> Sequence[Workspace]:
        later = sorted(name for name in self.by_workspace if name > after)
        return [self.by_workspace[name] for name in later[:limit]]

    def create_key(self, key: NewKey) -> None:
        self.hashes[key.key_id] = key.key_hash
        self.by_key[key.key_id] = KeyDescription(
            key.key_id,
            key.prefix,
            key.workspace_id,
            key.name,
            key.created_at_micro,
            key.expires_at_micro,
            None,
            None,
            key.features,
            key.networks,
        )

    def key(self, key_id: str) -> KeyDescription | None:
        return self.by_key.get(key_id)

    def replace_key(self, key_id: str, new: NewKey, *, ends_at_micro: int | None) -> KeyDescription:
        self.create_key(new)
        return self.revoke_key(key_id, at_micro=ends_at_micro)

    def keys(self, workspace_id: str | None, *, limit: int) -> Sequence[KeyDescription]:
        found = [key for key in self.by_key.values() if workspace_id in (None, key.workspace_id)]
        return found[:limit]

    def revoke_key(self, key_id: str, *, at_micro: int | None) -> KeyDescription:
        known = self.by_key[key_id]
        now_micro = self.clock.now_micro()
        if known.revoked_at_micro is None or known.revoked_at_micro > now_micro:
            ends_at_micro = now_micro if at_micro is None else at_micro
            known = self.by_key[key_id] = replace(known, revoked_at_micro=ends_at_micro)
        return known

    def touch_keys(self, used_at_micro: dict[str, int]) -> None:
        for key_id, at_micro in used_at_micro.items():
            self.by_key[key_id] = replace(self.by_key[key_id], last_used_at_micro=at_micro)


class MemoryLedger:
    """Rollups and totals as given."""

    def __init__(self, rows: Sequence[UsageRow] = (), totals: Sequence[ChargedTotal] = ()) -> None:
        self.rows = rows
        self.totals = totals

    def append(self, records: Sequence[Record]) -> int:
        return len(records)

    def usage(
        self,
        *,
        workspace_id: str | None,
        period: str | None,
        hourly: bool = False,
        limit: int | None = None,
    ) -> Sequence[UsageRow]:
        return [
            row
            for row in self.rows
            if workspace_id in (None, row.workspace_id) and period in (None, row.bucket)
        ][:limit]

    def events(
        self,
        *,
        workspace_id: str | None,
        period: str | None,
        after_event_id: str = "",
        limit: int = 1000,
    ) -> Sequence[Record]:
        return []

    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        return set()

    def epoch(self) -> str:
        return ""

    def charged_between(
        self, start_micro: int, end_micro: int, *, meter: str
    ) -> Iterator[ChargedTotal]:
        return (total for total in self.totals if total.meter == meter)

    def runs_since(self, start_micro: int, *, limit: int) -> Iterator[tuple[str, str, int]]:
        return iter(())

    def close(self) -> None:
        return


def tier(
    name: str,
    *ladders: Ladder,
    base: int = 0,
    included: int = 0,
    price: int = 0,
    total: int = 0,
    grace: int = 0,
    features: frozenset[str] = frozenset(),
) -> Tier:
    return Tier(
        name=name,
        features=features,
        ladders={ladder.id: ladder for ladder in ladders},
        included_micro=included * MICRO if included else UNLIMITED,
        quota_micro=total * MICRO if total else UNLIMITED,
        total_cap_micro=total * MICRO if total else UNLIMITED,
        grace=Grace(grace * MICRO, GracePolicy.WAIVE_EXCESS),
        base_price_minor=base,
        overage_price_minor=price,
        spending_limited=True,
        overage_alerts=True,
        max_execution_seconds=30,
        max_input_tokens=16_000,
        max_output_tokens=4_000,
        next_tier=None,
        upgrade_url=None,
    )


def pricing(version: str = "v1", *, effective_from_micro: int = MARCH_2026_MICRO) -> Pricing:
    """Return a price list with three of the first system's tiers (A13)."""
    tiers = [
        tier("SANDBOX", rpm(60), monthly(50), included=50, total=50),
        tier(
            "STARTER",
            rpm(600),
            monthly(2000, overage=1000, grace_micro=30 * MICRO),
            base=29_000,
            included=1_000,
            price=39,
            total=3_000,
            grace=30,
        ),
        tier("ENTERPRISE", features=frozenset({"replay", "sso", "audit"})),
    ]
    return Pricing(
        version=version,
        effective_from_micro=effective_from_micro,
        effective_to_micro=None,
        timezone="UTC",
        currency=Currency("KRW", "₩", 0, tax_inclusive=False),
        meter=Meter("dc", "decisionproof.dc", "dc_amount", "run_id", Aggregation.SUM, 3_888_000),
        tiers={entry.name: entry for entry in tiers},
        billing=BILLING,
        answers=ANSWERS,
    )


def route(
    name: str,
    path: tuple[Segment, ...],
    *,
    methods: frozenset[bytes] = frozenset({b"POST"}),
    requires: frozenset[str] = frozenset(),
    cost: tuple[MeterCost, ...] = (),
    places: tuple[KeyPlace, ...] = (KeyPlace(b"authorization", bearer=True),),
    run_id_required: bool = False,
    own_limits: tuple[Ladder, ...] = (),
) -> Route:
    endpoint = Endpoint("127.0.0.1", 9100, tls=False, authority=b"127.0.0.1:9100")
    return Route(
        name=name,
        methods=methods,
        hosts=frozenset(),
        path=path,
        upstream=Upstream(
            "runs", (endpoint,), Timeouts(1, 30, 30, None), 64, 16, 30, preserve_host=False
        ),
        auth=Auth(places),
        requires=requires,
        limits=("rpm", "monthly_dc") if places else (),
        own_limits=own_limits,
        cost=cost,
        run_id=RunIdReading(
            RunIdSource.HEADER, header=b"idempotency-key", required=run_id_required
        ),
        on_store_failure=FailurePolicy.CLOSED,
        legacy_fields=LegacyFields.OFF,
        replace_upstream_ratelimit=False,
        body_bytes_max=1_000,
    )


RUNS = (Segment(b"v1"), Segment(b"runs"))
DC_FROM_BODY = MeterCost(
    "dc",
    CostReading(CostSource.JSON, MICRO, pointer=("estimated_dc",)),
    CostReading(CostSource.HEADER, None, header=b"x-dc-used"),
)


def snapshot(*routes: Route, pricings: tuple[Pricing, ...] | None = None) -> Snapshot:
    chosen = routes or (route("create-run", RUNS, cost=(DC_FROM_BODY,)),)
    return Snapshot(
        version=1,
        source_digest="",
        pricings=pricings or (pricing(),),
        routes=chosen,
        matcher=RouteMatcher(chosen),
        upstreams=tuple({entry.upstream.name: entry.upstream for entry in chosen}.values()),
        limits=ClientLimits(16_384, 100, 8_192, 10, 30, 60, 65_536, 1_000, 16),
        paths=PathPolicy(normalise=False, merge_slashes=False),
        access_log=AccessLog(1_000_000),
        trusted_proxies=(),
        identity_fields=frozenset(),
        via=b"gateway",
        local_share_percent=10,
    )
