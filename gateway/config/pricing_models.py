"""The pricing file as typed models; the published JSON Schema is generated from them.

Members that only this gateway knows are optional and marked "Extension". Rules that join several
members are in ``pricing_checks``.
Source: design section 5; requirements A1, A2, A13 to A17, A21, A22.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from gateway.config.pricing_currency import CODE_WORDS, CODES, minor_digits
from gateway.config.pricing_zones import ZONE_WORDS, require_zone, zones
from gateway.rules.identifiers import NAME_PATTERN, NAME_WORDS
from gateway.rules.units import MICRO, QUANTITY_UNITS_MAX

PRICE_MINOR_MAX = 1_000_000_000
"""Per unit; times the largest quantity it still fits the 64-bit integers of databases and JSON."""
BASE_PRICE_MINOR_MAX = 1_000_000_000_000
WINDOW_SECONDS_MAX = 2_678_400
"""31 days; what is longer is a calendar window."""
EXECUTION_SECONDS_MAX = 604_800
RETENTION_DAYS_MAX = 3_660
GRACE_PERCENT_MAX = 1_000

INSTANT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_INSTANT = re.compile(INSTANT.rstrip("$"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_micro(text: str) -> int:
    """Return the microseconds since the Unix epoch of an RFC 3339 date-time.

    Raises:
        ValueError: not such a text, or no such day or time.
    """
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text!r} is not an RFC 3339 date-time such as 2026-03-01T00:00:00Z")
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date-time that exists") from error
    return (at - _EPOCH) // timedelta(microseconds=1)


def _checked_instant(text: str) -> str:
    instant_micro(text)
    return text


def _checked_currency(code: str) -> str:
    minor_digits(code)
    return code


def window_seconds(text: str) -> int:
    """Return N of ``seconds(N)``, 0 for a calendar window."""
    return int(text[8:-1]) if text.startswith("seconds(") else 0


def _exact(value: object) -> object:
    """Let an integer stand for a decimal: strict models take no int for a Decimal."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return Decimal(value) if is_integer else value  # type: ignore[arg-type]


def percent_micro(percent: Decimal) -> int:
    """Return a percentage in millionths of a percent.

    Raises:
        ValueError: out of range, or more than six decimals.
    """
    if not 0 <= percent <= GRACE_PERCENT_MAX:
        raise ValueError(f"{percent} is not between 0 and {GRACE_PERCENT_MAX}")
    exact = percent * MICRO
    if exact != int(exact):
        raise ValueError(f"{percent} has more than six decimals")
    return int(exact)


def _checked_percent(percent: Decimal) -> Decimal:
    percent_micro(percent)
    return percent


TEXT = r"^([ -#%-~]|\$+[ -#%-z|}~])*\$*$"
TITLE = r"^([^\x00-\x1f\x7f$]|\$+[^\x00-\x1f\x7f${])*\$*$"
"""Without ``${``: nothing is filled in here, a price list means the same on every machine."""
MEMBER = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
FIELD_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"
MEDIA_TYPE = r"^[A-Za-z0-9_.+-]{1,80}/[A-Za-z0-9_.+-]{1,80}(; ?charset=[A-Za-z0-9-]+)?$"
URI = r"^[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-\[\]_a-z~%]+$"
WEB_URL = r"^https?://[!#-;=?-\[\]_a-z~%]+$"
RULE = r"^(success|http_[1-5]([0-9][0-9]|xx))$"
WINDOW = (
    r"^(hour|day|calendar_month|none|seconds\(([1-9][0-9]{0,5}|1[0-9]{6}|2[0-5][0-9]{5}|"
    r"26[0-6][0-9]{4}|267[0-7][0-9]{3}|2678[0-3][0-9]{2}|2678400)\))$"
)
"""At most 31 days of seconds, see ``WINDOW_SECONDS_MAX``."""
VERSION = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\.v[0-9]+\.[0-9]+\.[0-9]+$"

PATTERN_WORDS = {
    INSTANT: "an RFC 3339 date-time such as 2026-03-01T00:00:00Z",
    TEXT: "1 to 200 printable ASCII characters; ${NAME} is not filled in here",
    TITLE: "text without control characters; ${NAME} is not filled in here",
    NAME_PATTERN: NAME_WORDS,
    MEMBER: "a letter, then up to 63 letters, digits, _ . -",
    FIELD_NAME: "the name of an HTTP field",
    MEDIA_TYPE: "a media type such as application/problem+json",
    URI: "an absolute URI",
    WEB_URL: "an http or https URL",
    RULE: "success, http_404 or http_4xx",
    WINDOW: "seconds(1) to seconds(2678400), hour, day, calendar_month or none",
    VERSION: "a date and a version such as 2026-02-14.v0.2.1",
}
"""What each pattern means to an operator."""

Instant = Annotated[
    str,
    AfterValidator(_checked_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT}),
]
TimeZone = Annotated[
    str,
    AfterValidator(require_zone),
    WithJsonSchema({"type": "string", "enum": list(zones()), "errorMessage": ZONE_WORDS}),
]
CurrencyCode = Annotated[
    str,
    AfterValidator(_checked_currency),
    WithJsonSchema({"type": "string", "enum": list(CODES), "errorMessage": CODE_WORDS}),
]
Percent = Annotated[
    Decimal,
    BeforeValidator(_exact),
    AfterValidator(_checked_percent),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": GRACE_PERCENT_MAX}),
]
Text = Annotated[str, StringConstraints(pattern=TEXT, min_length=1, max_length=200)]
Symbol = Annotated[str, StringConstraints(pattern=TITLE, min_length=1, max_length=8)]
Title = Annotated[str, StringConstraints(pattern=TITLE, min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Of plans, features, meters, limits and policies, as in the route file and in keys files."""
Member = Annotated[str, StringConstraints(pattern=MEMBER)]
"""A member's name in JSON that the gateway writes."""
FieldName = Annotated[str, StringConstraints(pattern=FIELD_NAME)]
"""A token of RFC 9110 5.6.2."""
MediaType = Annotated[str, StringConstraints(pattern=MEDIA_TYPE)]
Uri = Annotated[str, StringConstraints(pattern=URI), Field(json_schema_extra={"format": "uri"})]
WebUrl = Annotated[
    str, StringConstraints(pattern=WEB_URL), Field(json_schema_extra={"format": "uri"})
]
Rule = Annotated[str, StringConstraints(pattern=RULE)]
WindowText = Annotated[str, StringConstraints(pattern=WINDOW)]
Units = Annotated[int, Field(ge=0, le=QUANTITY_UNITS_MAX)]
PositiveUnits = Annotated[int, Field(ge=1, le=QUANTITY_UNITS_MAX)]
Status = Annotated[int, Field(ge=400, le=599)]
WindowSeconds = Annotated[int, Field(ge=1, le=WINDOW_SECONDS_MAX)]
ZeroField = Literal[
    "included_dc_per_month", "monthly_quota_dc", "rate_limit_rpm", "hard_overage_dc_cap"
]


class PricingSection(BaseModel):
    """Exact types, no unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CurrencyFile(PricingSection):
    """What prices are in."""

    code: CurrencyCode = Field(description="ISO 4217 code; prices are integers in its minor unit.")
    symbol: Symbol = Field(description="How people write the currency.")
    tax_behavior: Literal["exclusive", "inclusive"] = Field(
        description="Whether prices already contain tax."
    )


class UnlimitedFile(PricingSection):
    """What a zero means."""

    zero_means: Literal["custom_or_unlimited", "disabled"] = Field(
        description="Zero in the listed fields means no limit; or it is the number zero."
    )
    applies_to_fields: list[ZeroField] = Field(
        description="Fields in which zero means unlimited; elsewhere zero is zero.",
        json_schema_extra={"uniqueItems": True},
    )


class MeterFile(PricingSection):
    """The billed meter, called ``dc`` in routes and limits."""

    event_name: Text = Field(description="Name of the usage event in exports.")
    quantity_field: Member = Field(description="Name of the quantity in exports.")
    idempotency_key_field: Member = Field(description="Name of the run id in exports.")
    aggregation: Literal["sum", "count", "max"] = Field(
        description="How a period's quantities become one number: their sum, their count, the peak."
    )
    timestamp_source: Literal["occurred_at"] = Field(
        description="Usage counts in the period in which the request was charged."
    )
    idempotency_scope: Literal["workspace_id"] = Field(
        description="A run id is unique within its workspace."
    )
    idempotency_retention_days: int = Field(
        ge=1, le=RETENTION_DAYS_MAX, description="How long a repeated run id is charged once."
    )


class GraceFile(PricingSection):
    """Usage above the total cap that is let through."""

    enabled: bool = Field(description="Whether there is any grace.")
    policy: Literal["waive_excess", "notify_only"] = Field(
        description="Usage inside the grace is not billed; or it is billed and only reported."
    )
    resolution: Literal["min_of_percent_or_dc", "percent_only", "dc_only"] = Field(
        description="Which of the two bounds counts."
    )
    max_grace_percent: Percent = Field(
        description="Percent of the base, at most six decimals; the result is rounded down."
    )
    max_grace_dc: Units = Field(description="Whole units.")
    applies_to: list[Literal["hard_overage_dc_cap"]] = Field(
        description="Caps that have a grace; an empty list gives none.",
        json_schema_extra={"uniqueItems": True},
    )
    base: Literal["total_cap", "overage_cap"] = Field(
        default="total_cap",
        description="Extension: what the percentage is taken of: quota + overage, or overage.",
    )


class TypeUrisFile(PricingSection):
    """Problem types."""

    quota_exceeded: Uri | None = Field(
        default=None, description="Same as billing_rules.limit_exceeded_problem.type."
    )
    temporary_reduced_capacity: Uri = Field(
        default="https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
        description="Type of refusals because the gateway's own parts are away.",
    )
    abnormal_usage_detected: Uri = Field(
        default="https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
        description="Type of refusals because of abnormal usage.",
    )


class ExtensionsFile(PricingSection):
    """Members beside those of RFC 9457."""

    violated_policies_field: Member | None = Field(
        default=None, description="Same as billing_rules.limit_exceeded_problem."
    )
    violated_policies_form: Literal["objects", "names"] = Field(
        default="objects", description="Extension: objects with figures, or an array of names."
    )
    violated_policy_name_member: Member = Field(
        default="policy_name", description="Extension: the member that holds a policy's name."
    )


class ProblemDetailsFile(PricingSection):
    """What refusals look like."""

    rfc: Literal["9457"] = Field(description="The standard that bodies follow.")
    content_type: MediaType = Field(description="Media type of refusals.")
    type_uris: TypeUrisFile = Field(description="Problem types.")
    extensions: ExtensionsFile = Field(description="Members beside those of the standard.")


class PolicyNamesFile(PricingSection):
    """Names on the wire for tiers that don't name their policies themselves."""

    rpm: Name = Field(default="rpm", description="The rate limit.")
    monthly_dc: Name = Field(default="monthly_dc", description="The monthly quota.")
    hard_overage_cap: Name = Field(default="hard_overage_cap", description="The total cap.")


class RateLimitFieldsFile(PricingSection):
    """What every answer tells about limits."""

    enabled: bool = Field(description="Whether the fields are sent.")
    policy_header: FieldName = Field(description="Name of the field with the policies.")
    limit_header: FieldName = Field(description="Name of the field with what is left.")
    retry_after_precedence: bool = Field(description="Whether refusals also say Retry-After.")
    policy_name_conventions: PolicyNamesFile = Field(
        description="Policy names where a tier's policies don't say otherwise."
    )
    rate_limit_window_seconds_default: WindowSeconds = Field(
        description="Window of the rate limit where a tier names none."
    )


class HttpFile(PricingSection):
    """How limits are told."""

    problem_details: ProblemDetailsFile = Field(description="Refusals.")
    ratelimit_headers: RateLimitFieldsFile = Field(description="Fields of every answer.")


class LimitsFile(PricingSection):
    """A tier's figures."""

    rate_limit_rpm: Units = Field(description="Requests per window.")
    rate_limit_window_seconds: WindowSeconds | None = Field(
        default=None, description="Window of rate_limit_rpm; absent: the default of http."
    )
    monthly_quota_dc: Units = Field(description="Soft cap per calendar month.")
    hard_overage_dc_cap: Units = Field(
        description="Units above the quota; 0 beside a finite quota means none at all."
    )
    overage_behavior: Literal["block_on_breach", "notify_only"] = Field(
        description="Whether requests above the total cap are refused, or only reported."
    )
    max_execution_seconds: int = Field(
        ge=1, le=EXECUTION_SECONDS_MAX, description="Bound on the duration of one request."
    )
    max_input_tokens: PositiveUnits = Field(description="Bound on one model call's input.")
    max_output_tokens: PositiveUnits = Field(description="Bound on one model call's output.")


class PoliciesFile(PricingSection):
    """The names under which callers see the limits."""

    rpm_policy_name: Name | None = Field(default=None, description="The rate limit.")
    monthly_dc_policy_name: Name | None = Field(default=None, description="The quota.")
    hard_overage_cap_policy_name: Name | None = Field(default=None, description="Total cap.")


class SafetyFile(PricingSection):
    """Protection against surprising bills."""

    overage_alerts: bool = Field(description="Whether entering overage is reported.")
    hard_spending_limit: bool = Field(
        description="The bill never exceeds base price + overage price x (total cap - included)."
    )


class ExtraLimitFile(PricingSection):
    """Extension: one more limit of a tier."""

    name: Name = Field(description="Its name in routes, on the wire and in counter keys.")
    kind: Literal["rate", "quota"] = Field(
        description="rate counts every request; quota is given back what is not billable."
    )
    meter: Name = Field(description="requests, dc, or one of the file's meters.")
    window: WindowText = Field(description="seconds(N), hour, day, calendar_month or none.")
    cap: Units | None = Field(description="Units per window; null is no limit.")
    action: Literal["block", "warn"] = Field(
        default="block", description="Refuse above the cap, or pass and report."
    )
    scope: Literal["workspace", "key", "route", "address"] = Field(
        default="workspace", description="Whose usage is counted together."
    )


class TierFile(PricingSection):
    """One plan."""

    tier: Name = Field(description="Its name.")
    monthly_base_price: Annotated[int, Field(ge=0, le=BASE_PRICE_MINOR_MAX)] = Field(
        description="Minor units of the currency per month."
    )
    included_dc_per_month: Units = Field(description="Units that the base price pays for.")
    overage_price_per_dc: Annotated[int, Field(ge=0, le=PRICE_MINOR_MAX)] = Field(
        description="Minor units of the currency per unit above the included ones."
    )
    features: dict[Name, bool] = Field(
        description="What routes may require.", json_schema_extra={"additionalProperties": False}
    )
    limits: LimitsFile = Field(description="Its figures.")
    policies: PoliciesFile = Field(description="Names of its limits on the wire.")
    safety: SafetyFile = Field(description="Protection against surprising bills.")
    limits_extra: list[ExtraLimitFile] = Field(default=[], description="Extension: more limits.")
    next_tier: Name | None = Field(
        default=None,
        description="Extension: what to suggest at a limit; absent: the next of the file.",
    )
    upgrade_url: WebUrl | None = Field(
        default=None, description="Extension: where a caller gets the next tier."
    )


class LimitExceededFile(PricingSection):
    """The problem of a refusal by a limit."""

    type: Uri = Field(description="Its type.")
    title: Title = Field(description="Its title.")
    violated_policies_field: Member = Field(description="Its member with the violated policies.")


class BillingRulesFile(PricingSection):
    """What is billed."""

    rounding: Literal["ceil_at_month_end_only"] = Field(
        description="Quantities are rounded up to whole units once, on the month's total."
    )
    billable: dict[Rule, bool] = Field(
        description="success (2xx), http_NNN or http_Nxx: true is billed; the finest rule wins.",
        json_schema_extra={"additionalProperties": False},
    )
    non_billable: dict[Rule, bool] = Field(
        description="The same keys: true is not billed. What no rule names is not billed.",
        json_schema_extra={"additionalProperties": False},
    )
    limit_exceeded_http_status: Status = Field(description="Status of a refusal by a limit.")
    limit_exceeded_problem: LimitExceededFile = Field(description="Its problem details.")
    payment_required_http_status_optional: Status | None = Field(
        default=None, description="Status for a workspace that has to pay first; absent: 402."
    )


class ExtraMeterFile(PricingSection):
    """Extension: one more meter."""

    unit: Name = Field(description="What one unit of it is: tokens, seconds, gigabytes.")


class PricingFile(PricingSection):
    """Pricing, limits and billing rules of an API: the single source of truth."""

    schema_reference: str | None = Field(
        default=None, alias="$schema", description="Extension: lets editors complete the file."
    )
    pricing_version: Annotated[str, StringConstraints(pattern=VERSION)] | None = Field(
        default=None,
        description="Date and version; stands in every record and statement. Absent: sha- and the "
        "first 12 hexadecimal digits of the SHA-256 of the file's content.",
    )
    effective_from: Instant = Field(description="First instant at which the file is in force.")
    effective_to: Instant | None = Field(
        default=None, description="First instant at which it no longer is; null: until replaced."
    )
    timezone: TimeZone = Field(
        default="UTC", description="Extension: IANA zone in which days and months are cut."
    )
    currency: CurrencyFile = Field(description="What prices are in.")
    unlimited_semantics: UnlimitedFile = Field(description="What a zero means.")
    meter: MeterFile = Field(description="The billed meter.")
    meters: dict[Name, ExtraMeterFile] = Field(
        default={},
        description="Extension: more meters, by name.",
        json_schema_extra={"additionalProperties": False},
    )
    grace_overage: GraceFile = Field(description="What is let through above the total cap.")
    http: HttpFile = Field(description="How limits are told.")
    tiers: list[TierFile] = Field(min_length=1, description="The plans, smallest first.")
    billing_rules: BillingRulesFile = Field(description="What is billed.")
