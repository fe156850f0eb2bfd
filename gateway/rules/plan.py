"""One version of the pricing file as the rules see it: tiers, billing rules, answers.

Compiled by ``gateway.config`` from the validated models; read-only afterwards.
Source: design, "The pricing file"; requirements A1 to A3, A13 to A18, A21 to A23.
"""

from dataclasses import dataclass, field
from enum import Enum

from gateway.rules.limits import Ladder
from gateway.rules.units import Cap


class Aggregation(Enum):
    """How billable quantities of a period become one number."""

    SUM = "sum"
    COUNT = "count"
    MAX = "max"


class GracePolicy(Enum):
    """What becomes of usage inside the grace when the bill is made."""

    WAIVE_EXCESS = "waive_excess"
    NOTIFY_ONLY = "notify_only"


class ViolatedForm(Enum):
    """How a 429 body names the violated policies."""

    OBJECTS = "objects"
    NAMES = "names"


@dataclass(frozen=True, slots=True)
class Currency:
    """``minor_digits`` is the number of decimals of the currency: KRW 0, USD 2."""

    code: str
    symbol: str
    minor_digits: int
    tax_inclusive: bool


@dataclass(frozen=True, slots=True)
class Meter:
    """The billed meter: its internal name and the names that records and exports use."""

    name: str
    event_name: str
    quantity_field: str
    idempotency_key_field: str
    aggregation: Aggregation
    run_retention_seconds: int


@dataclass(frozen=True, slots=True)
class Grace:
    """Usage above the total cap that is let through: ``amount_micro`` is already resolved."""

    amount_micro: int
    policy: GracePolicy


@dataclass(frozen=True, slots=True)
class Tier:
    """A plan.

    Attributes:
        ladders: By limit id: everything a route may list under ``limits``.
        included_micro: Units that the base price pays for.
        quota_micro: Soft cap of the billed meter per month.
        total_cap_micro: Quota plus hard overage; above it (and the grace) requests are refused.
        base_price_minor: Per month, minor units of the currency.
        overage_price_minor: Per unit above the included ones, minor units.
        spending_limited: ``safety.hard_spending_limit``: the bill stops at the total cap's price.
        next_tier: The tier to suggest when a limit is hit, None for the last.
    """

    name: str
    features: frozenset[str]
    ladders: dict[str, Ladder]
    included_micro: Cap
    quota_micro: Cap
    total_cap_micro: Cap
    grace: Grace
    base_price_minor: int
    overage_price_minor: int
    spending_limited: bool
    overage_alerts: bool
    max_execution_seconds: int
    max_input_tokens: int
    max_output_tokens: int
    next_tier: str | None
    upgrade_url: str | None


@dataclass(frozen=True, slots=True)
class BillingRules:
    """``billable_status`` and ``reasons`` have an entry for each status 100 to 599.

    Attributes:
        billable_status: Whether an answer of this status is billed.
        reasons: The rule of the file that decided, e.g. ``success``, ``http_5xx``, ``no_rule``.
        refused_status: Status of a refusal by a limit (429, or what the file says).
        refused_type: Problem type of such a refusal.
        refused_title: Its title.
        payment_required_status: Status for a workspace that must pay first; None if not configured.
    """

    billable_status: tuple[bool, ...]
    reasons: tuple[str, ...]
    refused_status: int
    refused_type: str
    refused_title: str
    payment_required_status: int | None

    def is_billable(self, status: int) -> bool:
        """Return whether an answer with ``status`` (100 to 599) is billed."""
        return 100 <= status <= 599 and self.billable_status[status - 100]

    def reason(self, status: int) -> str:
        """Return the name of the rule that decides for ``status``."""
        return self.reasons[status - 100] if 100 <= status <= 599 else "no_rule"


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How the file wants limits to be told (``http`` section).

    Attributes:
        ratelimit_enabled: Whether the two fields are sent at all.
        policy_field: Name of the policy field, ``RateLimit-Policy``.
        limit_field: Name of the state field, ``RateLimit``.
        problem_content_type: ``application/problem+json``.
        violated_member: Name of the problem member that lists the violated policies.
        violated_form: Objects or plain names.
        violated_name_member: Inside an object, the member that holds the policy's name.
        retry_after_precedence: Whether ``Retry-After`` is sent beside ``RateLimit`` on refusals.
        type_reduced_capacity: Problem type when the store is away.
        type_abnormal_usage: Problem type for abnormal usage.
    """

    ratelimit_enabled: bool
    policy_field: str
    limit_field: str
    problem_content_type: str
    violated_member: str
    violated_form: ViolatedForm
    violated_name_member: str
    retry_after_precedence: bool
    type_reduced_capacity: str
    type_abnormal_usage: str


@dataclass(frozen=True, slots=True)
class Pricing:
    """One version of the file, valid in [effective_from_micro, effective_to_micro).

    Attributes:
        meter_units: Unit of every meter that a cost or a limit may name, by the meter's name.
    """

    version: str
    effective_from_micro: int
    effective_to_micro: int | None
    timezone: str
    currency: Currency
    meter: Meter
    tiers: dict[str, Tier]
    billing: BillingRules
    answers: AnswerFormat
    meter_units: dict[str, str] = field(default_factory=dict)
