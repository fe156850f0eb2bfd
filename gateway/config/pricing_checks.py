"""Checks of the pricing file that join several of its members.

Each looks only at sections that are sound by themselves, so that one mistake does not hide another.
Source: design section 5; requirements A1, A2, A6, A10, A22; item 0.62.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from gateway.config.json_positions import JsonPath, JsonValue
from gateway.config.pricing_faults import Faults
from gateway.config.pricing_models import (
    BillingRulesFile,
    ExtraLimitFile,
    GraceFile,
    MeterFile,
    PolicyNamesFile,
    ProblemDetailsFile,
    RateLimitFieldsFile,
    TierFile,
    UnlimitedFile,
)
from gateway.config.pricing_values import instant_micro, percent_micro
from gateway.rules.billing import GraceResolution, grace_units
from gateway.rules.charging import REQUESTS_METER
from gateway.rules.units import QUANTITY_UNITS_MAX

BILLED_METER = "dc"
"""Name of the billed meter in routes, limits and records."""
LADDER_IDS = ("rpm", "monthly_dc", "hard_overage_cap")
"""Limits that every tier may have, under the names that route files use."""

RESERVED_LIMITS = frozenset({*LADDER_IDS, "usage", "idempotency", "settled", "lease", "hold"})
"""Names that counter keys begin with already."""
POLICY_COUNTER = "policy-"
"""What the counters of the route file's policies begin with, before the policy's name."""

_PROBLEM_MEMBERS = frozenset(
    "type title status detail instance code next_plan upgrade_url renews_at".split()  # noqa: SIM905
)
_VIOLATION_MEMBERS = frozenset({"limit", "current", "window_seconds"})
_FIELDS_IN_USE = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type", "date", "host"),
        *("keep-alive", "location", "retry-after", "server", "set-cookie", "te", "trailer"),
        *("transfer-encoding", "upgrade", "www-authenticate"),
    }
)
"""Fields with a meaning of their own; limits can't be told under these names."""

Section = TypeVar("Section", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sections:
    """The parts of a file that are sound by themselves; None where one is not."""

    unlimited: UnlimitedFile | None
    meter: MeterFile | None
    grace: GraceFile | None
    details: ProblemDetailsFile | None
    fields: RateLimitFieldsFile | None
    billing: BillingRulesFile | None
    tiers: tuple[TierFile | None, ...]


def sound_sections(root: Mapping[str, JsonValue], faults: Faults) -> Sections:
    """Return the sections in which no fault was found so far."""

    def section(model: type[Section], value: JsonValue, path: JsonPath) -> Section | None:
        return None if value is None or faults.touch(path) else model.model_validate(value)

    def member(model: type[Section], name: str) -> Section | None:
        return section(model, root.get(name), (name,))

    def http_member(model: type[Section], name: str) -> Section | None:
        http = root.get("http")
        return section(model, http.get(name), ("http", name)) if isinstance(http, dict) else None

    tiers = root.get("tiers")
    return Sections(
        unlimited=member(UnlimitedFile, "unlimited_semantics"),
        meter=member(MeterFile, "meter"),
        grace=member(GraceFile, "grace_overage"),
        details=http_member(ProblemDetailsFile, "problem_details"),
        fields=http_member(RateLimitFieldsFile, "ratelimit_headers"),
        billing=member(BillingRulesFile, "billing_rules"),
        tiers=tuple(
            section(TierFile, tier, ("tiers", index))
            for index, tier in enumerate(tiers if isinstance(tiers, list) else [])
        ),
    )


def check(root: Mapping[str, JsonValue], sections: Sections, faults: Faults) -> None:
    """Report every contradiction."""
    _check_validity(root, faults)
    _check_meters(root, faults)
    _check_http(sections, faults)
    _check_billing(sections, faults)
    _check_tier_names(root, sections, faults)
    _check_extra_limits(root, sections, faults)
    for index, tier in enumerate(sections.tiers):
        if tier is not None:
            _check_policy_names(tier, index, sections, faults)
            _check_quantities(tier, index, sections, faults)


def is_unlimited(field: str, value: int, unlimited: UnlimitedFile) -> bool:
    """Return whether a figure means "no limit": zero does, in the fields that the file lists."""
    return (
        value == 0
        and unlimited.zero_means == "custom_or_unlimited"
        and field in unlimited.applies_to_fields
    )


def wire_names(tier: TierFile, conventions: PolicyNamesFile) -> dict[str, str]:
    """Return the names on the wire of ``LADDER_IDS``: the tier's, else the file's (item 0.62)."""
    policies = tier.policies
    return {
        "rpm": policies.rpm_policy_name or conventions.rpm,
        "monthly_dc": policies.monthly_dc_policy_name or conventions.monthly_dc,
        "hard_overage_cap": (policies.hard_overage_cap_policy_name or conventions.hard_overage_cap),
    }


def tier_grace_units(grace: GraceFile, *, quota: int, overage: int) -> int:
    """Return a tier's grace in units; without a hard overage cap there is none (A6)."""
    if not grace.enabled or not grace.applies_to or overage == 0:
        return 0
    return grace_units(
        GraceResolution(grace.resolution),
        base_units=quota + overage if grace.base == "total_cap" else overage,
        percent_micro=percent_micro(grace.max_grace_percent),
        max_units=grace.max_grace_dc,
    )


def _check_validity(root: Mapping[str, JsonValue], faults: Faults) -> None:
    start, end = root.get("effective_from"), root.get("effective_to")
    if faults.touch(("effective_from",)) or faults.touch(("effective_to",)):
        return
    if (
        isinstance(start, str)
        and isinstance(end, str)
        and instant_micro(end) <= instant_micro(start)
    ):
        faults.add(("effective_to",), "is not after effective_from")


def _check_meters(root: Mapping[str, JsonValue], faults: Faults) -> None:
    meters = root.get("meters")
    for name in meters if isinstance(meters, dict) else ():
        if name in {REQUESTS_METER, BILLED_METER}:
            faults.add(("meters", name), f"the meter {name!r} is always there", at_key=True)


def _check_http(sections: Sections, faults: Faults) -> None:
    fields, details = sections.fields, sections.details
    if fields is not None:
        path: JsonPath = ("http", "ratelimit_headers")
        names = {"policy_header": fields.policy_header, "limit_header": fields.limit_header}
        for member, name in names.items():
            if name.lower() in _FIELDS_IN_USE:
                faults.add((*path, member), f"{name!r} has a meaning of its own in HTTP")
        if fields.policy_header.lower() == fields.limit_header.lower():
            faults.add((*path, "limit_header"), "is the same field as policy_header")
    if details is not None:
        name = details.extensions.violated_policy_name_member
        if name in _VIOLATION_MEMBERS:
            faults.add(
                ("http", "problem_details", "extensions", "violated_policy_name_member"),
                f"{name!r} is a member of its own there",
            )


def _check_billing(sections: Sections, faults: Faults) -> None:
    billing = sections.billing
    if billing is None:
        return
    for rule in billing.billable.keys() & billing.non_billable.keys():
        if billing.billable[rule] is billing.non_billable[rule]:
            faults.add(
                ("billing_rules", "non_billable", rule),
                f"contradicts billing_rules.billable.{rule}",
                "one of them must be false, or go",
            )
    problem = billing.limit_exceeded_problem
    if problem.violated_policies_field in _PROBLEM_MEMBERS:
        faults.add(
            ("billing_rules", "limit_exceeded_problem", "violated_policies_field"),
            f"{problem.violated_policies_field!r} is a member of its own in problems",
        )
    details = sections.details
    if details is None:
        return
    said_twice = (
        (("type_uris", "quota_exceeded"), details.type_uris.quota_exceeded, "type", problem.type),
        (
            ("extensions", "violated_policies_field"),
            details.extensions.violated_policies_field,
            "violated_policies_field",
            problem.violated_policies_field,
        ),
    )
    for path, here, member, there in said_twice:
        if here is not None and here != there:
            faults.add(
                ("http", "problem_details", *path),
                f"differs from billing_rules.limit_exceeded_problem.{member}",
                f"there it is {there!r}",
            )


def _check_tier_names(root: Mapping[str, JsonValue], sections: Sections, faults: Faults) -> None:
    tiers = root.get("tiers")
    raw = [tier for tier in tiers if isinstance(tier, dict)] if isinstance(tiers, list) else []
    known = [tier.get("tier") for tier in raw]
    for index, tier in enumerate(sections.tiers):
        if tier is None:
            continue
        if tier.tier in known[:index]:
            faults.add(("tiers", index, "tier"), f"a tier named {tier.tier!r} stands above")
        if tier.next_tier is not None and (
            tier.next_tier == tier.tier or tier.next_tier not in known
        ):
            faults.add(
                ("tiers", index, "next_tier"),
                f"{tier.next_tier!r} is not another tier of this file",
            )


def _check_policy_names(tier: TierFile, index: int, sections: Sections, faults: Faults) -> None:
    if sections.fields is None:
        return
    conventions = sections.fields.policy_name_conventions
    places: list[tuple[JsonPath, str]] = [
        (("policies", f"{ladder}_policy_name"), wire)
        for ladder, wire in wire_names(tier, conventions).items()
    ]
    places += [
        (("limits_extra", position, "name"), extra.name)
        for position, extra in enumerate(tier.limits_extra)
    ]
    seen: set[str] = set()
    for path, wire in places:
        if wire in seen:
            faults.add(("tiers", index, *path), f"two limits of {tier.tier} are called {wire!r}")
        seen.add(wire)


def _check_quantities(tier: TierFile, index: int, sections: Sections, faults: Faults) -> None:
    if sections.unlimited is None:
        return
    path: JsonPath = ("tiers", index, "limits")
    limits = tier.limits
    quota, overage = limits.monthly_quota_dc, limits.hard_overage_dc_cap
    if is_unlimited("monthly_quota_dc", quota, sections.unlimited):
        if overage:
            faults.add(
                (*path, "hard_overage_dc_cap"),
                "can never apply: monthly_quota_dc is unlimited",
                "0, or a finite quota",
            )
        return
    if sections.meter is not None and sections.meter.aggregation == "max":
        faults.add(
            (*path, "monthly_quota_dc"),
            "a finite quota can't be enforced on a peak (meter.aggregation is max)",
            "an unlimited quota, or aggregation sum or count",
        )
    grace = tier_grace_units(sections.grace, quota=quota, overage=overage) if sections.grace else 0
    if quota + overage + grace > QUANTITY_UNITS_MAX:
        faults.add(
            (*path, "hard_overage_dc_cap"),
            f"quota, overage and grace are {quota + overage + grace} together",
            f"at most {QUANTITY_UNITS_MAX}",
        )


def _check_extra_limits(root: Mapping[str, JsonValue], sections: Sections, faults: Faults) -> None:
    meters = root.get("meters")
    known = [REQUESTS_METER, BILLED_METER, *(meters if isinstance(meters, dict) else ())]
    first: dict[str, tuple[ExtraLimitFile, str]] = {}
    for index, tier in enumerate(sections.tiers):
        for position, extra in enumerate(tier.limits_extra if tier else ()):
            path: JsonPath = ("tiers", index, "limits_extra", position)
            if extra.name in RESERVED_LIMITS or extra.name.startswith(POLICY_COUNTER):
                faults.add((*path, "name"), f"the name {extra.name!r} is taken by the gateway")
            if extra.meter not in known:
                faults.add(
                    (*path, "meter"), f"no meter {extra.meter!r}", f"known: {', '.join(known)}"
                )
            if sections.meter is not None and _is_peak(extra, sections.meter):
                faults.add((*path, "meter"), "a peak can't be limited (meter.aggregation is max)")
            other, where = first.setdefault(extra.name, (extra, tier.tier if tier else ""))
            if (other.kind, other.meter) != (extra.kind, extra.meter):
                faults.add(
                    (*path, "name"),
                    f"{extra.name!r} counts {other.meter} as {other.kind} in {where}",
                    "a workspace keeps its counter when it changes its plan",
                )


def _is_peak(extra: ExtraLimitFile, meter: MeterFile) -> bool:
    return extra.meter == BILLED_METER and meter.aggregation == "max" and extra.cap is not None
