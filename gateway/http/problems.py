"""What a refusal looks like on the wire: problem details (RFC 9457), one table for all codes.

Facts given to the caller are chosen here, so that nothing internal slips out.
Source: RFC 9457, RFC 6585 4, RFC 9110 11.6.1 and 15.5.6; requirements A10, A21, B6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Final, assert_never

import orjson

from gateway.errors import Refusal, RefusalCode
from gateway.http.forwarding import status_line
from gateway.rules.decision import Violation, renews_at_micro, retry_after_seconds
from gateway.rules.limits import Action, Ladder, LimitKind
from gateway.rules.plan import AnswerFormat, BillingRules, Tier, ViolatedForm
from gateway.rules.units import MICRO, UNLIMITED

TYPE_PREFIX: Final = "urn:problem-type:enforcement-gateway:"
REDUCED_CAPACITY: Final = (
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)
CONTENT_TYPE: Final = "application/problem+json"
RETRY_SOON: Final = b"Retry-After: 1\r\n"
"""While a store is away: its breaker probes again about then."""
ACCEPTED_CODINGS: Final = b"Accept-Encoding: identity\r\n"
"""RFC 9110 12.5.3: what a request's body may be coded with."""

_MINUTE: Final = 60


class Problem:
    """A refusal ready to be sent.

    Attributes:
        start: The status line and fields, whole lines, each ending in CRLF.
    """

    __slots__ = ("body", "start", "status")

    def __init__(self, status: int, start: bytes, body: bytes) -> None:
        self.status = status
        self.start = start
        self.body = body


INSTANCE: Final = "~instance~"
"""Stands for a request id in a problem that is rendered once for many requests."""


@dataclass(frozen=True, slots=True)
class RepeatedProblem:
    """A refusal that many requests get, but for their ids: rendered once for all of them."""

    status: int
    start: bytes
    before_instance: bytes
    after_instance: bytes

    def of(self, request_id: str) -> Problem:
        """Return the problem of one request; its id needs no escaping in JSON."""
        body = b"%b%b%b" % (self.before_instance, request_id.encode(), self.after_instance)
        return Problem(self.status, self.start, body)


def repeated(problem: Problem) -> RepeatedProblem:
    """Return a problem that was rendered with ``INSTANCE`` for a request id, for many requests."""
    before, _, after = problem.body.partition(INSTANCE.encode())
    return RepeatedProblem(problem.status, problem.start, before, after)


def status_of(code: RefusalCode) -> int:  # noqa: C901, PLR0911, PLR0912 - one exhaustive table
    """Return the status of a refusal; what the pricing file may change is in ``render``."""
    match code:
        case RefusalCode.BAD_REQUEST | RefusalCode.KEY_AMBIGUOUS | RefusalCode.COST_INVALID:
            return 400
        case (RefusalCode.KEY_MISSING | RefusalCode.KEY_INVALID
              | RefusalCode.KEY_REVOKED | RefusalCode.KEY_EXPIRED):  # fmt: skip
            return 401
        case RefusalCode.PAYMENT_REQUIRED:
            return 402
        case (
            RefusalCode.WORKSPACE_SUSPENDED
            | RefusalCode.PLAN_UNKNOWN
            | RefusalCode.FEATURE_UNAVAILABLE
            | RefusalCode.ADDRESS_NOT_ALLOWED
        ):
            return 403
        case RefusalCode.ROUTE_UNKNOWN:
            return 404
        case RefusalCode.METHOD_NOT_ALLOWED:
            return 405
        case RefusalCode.REQUEST_TIMEOUT:
            return 408
        case RefusalCode.BODY_TOO_LARGE:
            return 413
        case RefusalCode.TARGET_TOO_LONG:
            return 414
        case RefusalCode.CONTENT_CODING_UNSUPPORTED:
            return 415
        case RefusalCode.EXPECTATION_FAILED:
            return 417
        case RefusalCode.QUOTA_EXCEEDED | RefusalCode.TOO_MANY_TUNNELS:
            return 429
        case RefusalCode.HEAD_TOO_LARGE:
            return 431
        case RefusalCode.NOT_IMPLEMENTED:
            return 501
        case RefusalCode.UPSTREAM_UNREACHABLE | RefusalCode.UPSTREAM_FAILED:
            return 502
        case (
            RefusalCode.STORE_UNAVAILABLE
            | RefusalCode.DIRECTORY_UNAVAILABLE
            | RefusalCode.RECORDING_UNAVAILABLE
            | RefusalCode.OVERLOADED
            | RefusalCode.UPSTREAM_CIRCUIT_OPEN
        ):
            return 503
        case RefusalCode.UPSTREAM_TIMEOUT | RefusalCode.EXECUTION_TIMEOUT:
            return 504
        case RefusalCode.VERSION_UNSUPPORTED:
            return 505
        case _:
            assert_never(code)


TITLES: Final[dict[RefusalCode, tuple[str, str]]] = {
    RefusalCode.BAD_REQUEST: ("Bad Request", "The request can't be understood."),
    RefusalCode.KEY_AMBIGUOUS: ("Ambiguous API Key", "Two different API keys were sent."),
    RefusalCode.COST_INVALID: ("Invalid Cost", "The cost of this request can't be read."),
    RefusalCode.KEY_MISSING: ("API Key Required", "Send an API key with this request."),
    RefusalCode.KEY_INVALID: ("Invalid API Key", "This API key is not known."),
    RefusalCode.KEY_REVOKED: ("API Key Revoked", "This API key has been revoked."),
    RefusalCode.KEY_EXPIRED: ("API Key Expired", "This API key has expired."),
    RefusalCode.PAYMENT_REQUIRED: ("Payment Required", "This workspace has to be paid for first."),
    RefusalCode.WORKSPACE_SUSPENDED: ("Workspace Suspended", "This workspace is suspended."),
    RefusalCode.PLAN_UNKNOWN: ("Plan Unknown", "The plan of this workspace is not offered now."),
    RefusalCode.FEATURE_UNAVAILABLE: (
        "Feature Not Available",
        "The plan or the API key does not include what this route needs.",
    ),
    RefusalCode.ADDRESS_NOT_ALLOWED: (
        "Address Not Allowed",
        "This API key may not be used from this address.",
    ),
    RefusalCode.ROUTE_UNKNOWN: ("Not Found", "There is nothing at this path."),
    RefusalCode.METHOD_NOT_ALLOWED: ("Method Not Allowed", "This path does not take this method."),
    RefusalCode.REQUEST_TIMEOUT: ("Request Timeout", "The request did not arrive in time."),
    RefusalCode.BODY_TOO_LARGE: ("Content Too Large", "The body is larger than this route takes."),
    RefusalCode.TARGET_TOO_LONG: ("URI Too Long", "The request target is too long."),
    RefusalCode.CONTENT_CODING_UNSUPPORTED: (
        "Unsupported Media Type",
        "The body has to be sent without a content coding.",
    ),
    RefusalCode.EXPECTATION_FAILED: ("Expectation Failed", "Only 100-continue can be expected."),
    RefusalCode.QUOTA_EXCEEDED: (
        "Request cannot be satisfied as assigned quota has been exceeded",
        "A limit of the plan is reached.",
    ),
    RefusalCode.TOO_MANY_TUNNELS: (
        "Too Many Connections",
        "As many connections as are allowed are open; close one first.",
    ),
    RefusalCode.HEAD_TOO_LARGE: ("Request Header Fields Too Large", "The head is too large."),
    RefusalCode.UPSTREAM_UNREACHABLE: ("Bad Gateway", "The service can't be reached."),
    RefusalCode.UPSTREAM_FAILED: ("Bad Gateway", "The service did not give a valid answer."),
    RefusalCode.STORE_UNAVAILABLE: (
        "Temporary Reduced Capacity",
        "Limits can't be checked at the moment; try again shortly.",
    ),
    RefusalCode.DIRECTORY_UNAVAILABLE: (
        "Temporary Reduced Capacity",
        "API keys can't be checked at the moment; try again shortly.",
    ),
    RefusalCode.RECORDING_UNAVAILABLE: (
        "Temporary Reduced Capacity",
        "Usage can't be recorded at the moment; try again shortly.",
    ),
    RefusalCode.OVERLOADED: ("Service Unavailable", "Too many requests wait for the service."),
    RefusalCode.UPSTREAM_CIRCUIT_OPEN: (
        "Service Unavailable",
        "The service fails at the moment; try again later.",
    ),
    RefusalCode.UPSTREAM_TIMEOUT: ("Gateway Timeout", "The service did not answer in time."),
    RefusalCode.EXECUTION_TIMEOUT: (
        "Gateway Timeout",
        "The request took longer than the plan allows.",
    ),
    RefusalCode.NOT_IMPLEMENTED: (
        "Not Implemented",
        "The method or the transfer coding is not known.",
    ),
    RefusalCode.VERSION_UNSUPPORTED: (
        "HTTP Version Not Supported",
        "Only HTTP/1.1 and HTTP/1.0 are understood.",
    ),
}

_CLOSES: Final[tuple[RefusalCode, ...]] = (
    RefusalCode.BAD_REQUEST,
    RefusalCode.REQUEST_TIMEOUT,
    RefusalCode.BODY_TOO_LARGE,
    RefusalCode.TARGET_TOO_LONG,
    RefusalCode.HEAD_TOO_LARGE,
    RefusalCode.NOT_IMPLEMENTED,
    RefusalCode.VERSION_UNSUPPORTED,
)


def closes_connection(code: RefusalCode) -> bool:
    """Return whether the connection can't be used after this refusal."""
    # By identity: ``in`` compares enumeration members by a call each, on every refusal.
    return any(code is closing for closing in _CLOSES)


def render(
    refusal: Refusal,
    request_id: str,
    *,
    answers: AnswerFormat | None = None,
    billing: BillingRules | None = None,
    tier: Tier | None = None,
    tiers: dict[str, Tier] | None = None,
) -> Problem:
    """Return the problem of a refusal.

    Args:
        refusal: What is refused and the facts that the caller may know.
        request_id: Becomes ``instance``.
        answers: How the pricing file wants problems written; None before a caller is known.
        billing: Status, type and title of limit refusals; None before a caller is known.
        tier: The caller's plan.
        tiers: All plans, for the suggestion of one that helps.
    """
    code = refusal.code
    (title, detail), status = TITLES[code], status_of(code)
    type_uri = TYPE_PREFIX + code.value.replace("_", "-")
    extensions, fields = dict[str, object](), b""
    match code:
        case RefusalCode.QUOTA_EXCEEDED if answers is not None and billing is not None:
            violations: list[Violation] = refusal.facts["violations"]
            status, type_uri = billing.refused_status, billing.refused_type
            title, detail = billing.refused_title, describe(violations)
            extensions = _violated(violations, answers) | _renewal(violations)
            extensions |= _roomier_plan(violations, tier, tiers)
            fields = _retry_after(violations, answers)
        case (
            RefusalCode.STORE_UNAVAILABLE
            | RefusalCode.DIRECTORY_UNAVAILABLE
            | RefusalCode.RECORDING_UNAVAILABLE
        ):
            type_uri = answers.type_reduced_capacity if answers else REDUCED_CAPACITY
            fields = RETRY_SOON
        case RefusalCode.OVERLOADED | RefusalCode.UPSTREAM_CIRCUIT_OPEN:
            fields = _retry_later(refusal)
        case RefusalCode.PAYMENT_REQUIRED if billing and billing.payment_required_status:
            status = billing.payment_required_status
        case RefusalCode.METHOD_NOT_ALLOWED:
            fields = b"Allow: %b\r\n" % refusal.facts["allow"]
        case RefusalCode.FEATURE_UNAVAILABLE:
            extensions = _lacking(refusal, tier, tiers)
        case _:
            detail = refusal.facts.get("detail", detail)
    if status in {401, 415}:
        fields += ACCEPTED_CODINGS if status == 415 else _challenge(code)
    body = {
        "type": type_uri,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request_id,
        "code": code.value,
        **extensions,
    }
    return _problem(status, fields, body, answers)


def _problem(
    status: int, fields: bytes, body: dict[str, object], answers: AnswerFormat | None
) -> Problem:
    content_type = answers.problem_content_type if answers else CONTENT_TYPE
    fields += b"Content-Type: %b\r\nCache-Control: no-store\r\n" % content_type.encode()
    return Problem(status, status_line(status) + fields, orjson.dumps(body))


def describe(violations: list[Violation]) -> str:
    """Return in plain words which limit is reached."""
    if len(violations) != 1:
        return "Multiple quota limits exceeded"
    (violation,) = violations
    meter = violation.meter
    if violation.overage is not None:
        return f"Hard overage cap of {violation.overage} {meter.upper()} exceeded"
    if violation.kind is LimitKind.RATE and violation.window_seconds == _MINUTE:
        what = "RPM limit" if violation.ladder == "rpm" else f"Limit {violation.policy!r}"
        return f"{what} of {violation.limit} {meter} per minute exceeded"
    if violation.window_seconds is not None:
        return (
            f"Limit {violation.policy!r} of {violation.limit} {meter} "
            f"per {violation.window_seconds} seconds exceeded"
        )
    if violation.ladder == "monthly_dc":
        return f"Monthly {meter.upper()} quota of {violation.limit} exceeded"
    return f"Quota {violation.policy!r} of {violation.limit} {meter} exceeded"


def _violated(violations: list[Violation], answers: AnswerFormat) -> dict[str, object]:
    if answers.violated_form is ViolatedForm.NAMES:
        return {answers.violated_member: [violation.policy for violation in violations]}
    return {
        answers.violated_member: [
            {
                answers.violated_name_member: violation.policy,
                "limit": violation.limit,
                "current": violation.current,
                "window_seconds": violation.window_seconds,
            }
            for violation in violations
        ]
    }


def _roomier_plan(
    violations: list[Violation], tier: Tier | None, tiers: dict[str, Tier] | None
) -> dict[str, object]:
    """Return which plan would let the request pass the plan's limits, if it violates any (B6)."""
    if tier is None or tiers is None:
        return {}
    ladders = tier.ladders
    of_plan = [violation for violation in violations if violation.ladder in ladders]
    if not of_plan:
        return {}
    return _advice(
        tier,
        tiers,
        lambda later: all(
            _has_room(violation, ladders[violation.ladder], later.ladders.get(violation.ladder))
            for violation in of_plan
        ),
    )


def _has_room(violation: Violation, now: Ladder, later: Ladder | None) -> bool:
    """Return whether a limit would let a request pass that is refused by the one of now."""
    if later is None or later.action is Action.WARN or later.block_cap_micro is UNLIMITED:
        return True
    cap_micro, window, then = later.block_cap_micro, now.window, later.window
    if later.meter != now.meter or window.kind is not then.kind:
        return False  # another limit of that name
    # More in a longer window may be less.
    return (
        now.block_cap_micro is not UNLIMITED
        and cap_micro >= violation.current * MICRO
        and cap_micro * (window.seconds or 1) >= now.block_cap_micro * (then.seconds or 1)
    )


def _lacking(
    refusal: Refusal, tier: Tier | None, tiers: dict[str, Tier] | None
) -> dict[str, object]:
    """Return which features are missing, and which plan has them if the key may use them there."""
    missing: frozenset[str] = refusal.facts["features"]
    told: dict[str, object] = {"missing_features": sorted(missing)}
    if tier is None or tiers is None or refusal.facts.get("barred"):
        return told
    return told | _advice(tier, tiers, lambda later: missing <= later.features)


def _advice(tier: Tier, tiers: dict[str, Tier], helps: Callable[[Tier], bool]) -> dict[str, object]:
    """Return the first of the later plans that helps, and where the one before it leads there."""
    if tier.next_tier is None:  # no plan is suggested here; who to ask may be
        return {"upgrade_url": tier.upgrade_url} if tier.upgrade_url else {}
    before = tier
    for _ in tiers:  # a file may suggest them in a circle
        later = tiers.get(before.next_tier) if before.next_tier else None
        if later is None or later is tier:
            break
        if helps(later):
            url = {"upgrade_url": before.upgrade_url} if before.upgrade_url else {}
            return {"next_plan": later.name, **url}
        before = later
    return {}


def _renewal(violations: list[Violation]) -> dict[str, object]:
    """Return when waiting will have helped, as RFC 3339 in UTC."""
    at_micro = renews_at_micro(violations)
    if at_micro is None:
        return {}
    return {"renews_at": f"{datetime.fromtimestamp(at_micro // MICRO, UTC):%Y-%m-%dT%H:%M:%SZ}"}


def _retry_after(violations: list[Violation], answers: AnswerFormat) -> bytes:
    seconds = retry_after_seconds(violations)
    if seconds is None or not answers.retry_after_precedence:
        return b""
    return b"Retry-After: %d\r\n" % seconds


def _retry_later(refusal: Refusal) -> bytes:
    wait_seconds: float = refusal.facts.get("retry_after_seconds", 1.0)
    return b"Retry-After: %d\r\n" % max(1, ceil(wait_seconds))


def _challenge(code: RefusalCode) -> bytes:
    if code is RefusalCode.KEY_MISSING:
        return b'WWW-Authenticate: Bearer realm="api"\r\n'
    return b'WWW-Authenticate: Bearer realm="api", error="invalid_token"\r\n'
