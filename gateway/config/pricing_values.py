"""What may stand in a value of the pricing file: its form, its bounds, and both in words.

Source: design section 5; requirements A1, A17.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
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
