"""The pricing file as typed models; the published JSON Schema is generated from them.

Members that only this gateway knows are optional and marked "Extension". Rules that join several
members are in ``pricing_checks``.
Source: design section 5; requirements A1, A2, A13 to A17, A21, A22.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.config.pricing_values import (
    BASE_PRICE_MINOR_MAX,
    EXECUTION_SECONDS_MAX,
    PRICE_MINOR_MAX,
    RETENTION_DAYS_MAX,
    VERSION,
    CurrencyCode,
    FieldName,
    Instant,
    MediaType,
    Member,
    Name,
    Percent,
    PositiveUnits,
    Rule,
    Status,
    Symbol,
    Text,
    TimeZone,
    Title,
    Units,
    Uri,
    WebUrl,
    WindowSeconds,
    WindowText,
    ZeroField,
)


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
