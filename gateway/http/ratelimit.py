"""The RateLimit fields: constant parts made once per caller and period, numbers per answer.

Revision: draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4. The constant parts are made
by ``http-sf``; per answer only integers are filled in.
Source: requirements A11, A12, B5, N6.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import http_sf
from http_sf.types import ParamsType

from gateway.rules.charge import ChargeTemplate, Entry
from gateway.rules.decision import seconds_until
from gateway.rules.limits import LimitKind
from gateway.rules.plan import AnswerFormat
from gateway.rules.units import MICRO
from gateway.rules.windows import NEVER_MICRO


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What is constant of one policy in ``RateLimit``.

    Attributes:
        index: Of its counter in the charge.
        start: From the end of the item before it, or the line's begin, up to what remains.
    """

    index: int
    start: bytes
    limit_micro: int
    end_micro: int


@dataclass(frozen=True, slots=True)
class RateLimitFields:
    """What is constant about the fields of one charge template.

    Attributes:
        policy_line: The whole ``RateLimit-Policy`` line, empty if nothing is to be told.
        items: What is listed in ``RateLimit``, in order.
        legacy: ``delta``, ``epoch`` or None: which ``X-RateLimit-*`` triple to add.
    """

    policy_line: bytes
    items: tuple[PolicyState, ...]
    legacy: str | None


def prepare(
    template: ChargeTemplate, answers: AnswerFormat, *, legacy: str | None
) -> RateLimitFields:
    """Return the constant parts of the fields for a template; unlimited policies aren't in it."""
    if not template.entries:
        return RateLimitFields(b"", (), None)
    items = tuple(
        PolicyState(
            index,
            (
                (", " if index else f"{answers.limit_field}: ")
                + f"{http_sf.ser(entry.ladder.soft.wire)};r="
            ).encode(),
            entry.ladder.soft.limit_micro,
            entry.period.end_micro,
        )
        for index, entry in enumerate(template.entries)
    )
    policies = http_sf.ser([_policy_item(entry) for entry in template.entries])
    return RateLimitFields(
        policy_line=(
            f"{answers.policy_field}: {policies}\r\n".encode() if answers.ratelimit_enabled else b""
        ),
        items=items,
        legacy=legacy,
    )


def _policy_item(entry: Entry) -> tuple[str, ParamsType]:
    parameters: ParamsType = {"q": entry.ladder.soft.limit_micro // MICRO}
    period = entry.period
    if period.end_micro < NEVER_MICRO:
        parameters["w"] = (period.end_micro - period.start_micro) // MICRO
    return entry.ladder.soft.wire, parameters


def render(fields: RateLimitFields, counts_micro: Sequence[int], now_micro: int) -> bytes:
    """Return the field lines for counters that stand at ``counts_micro`` at ``now_micro``."""
    lines = fields.policy_line
    if lines:
        for item in fields.items:  # few: to join a list of them would cost more
            lines += _state_item(item, counts_micro[item.index], now_micro)
        lines += b"\r\n"
    if fields.legacy is not None and fields.items:
        lines += _legacy(fields, counts_micro, now_micro)
    return lines


def _state_item(item: PolicyState, count_micro: int, now_micro: int) -> bytes:
    left_micro = item.limit_micro - count_micro
    remaining = left_micro // MICRO if left_micro > 0 else 0
    if item.end_micro >= NEVER_MICRO:
        return b"%b%d" % (item.start, remaining)
    seconds = (item.end_micro - now_micro + 999_999) // MICRO
    return b"%b%d;t=%d" % (item.start, remaining, seconds if seconds > 0 else 1)


def _legacy(fields: RateLimitFields, counts_micro: Sequence[int], now_micro: int) -> bytes:
    """Return ``X-RateLimit-*`` of the first listed policy, a reset only if it resets (B5)."""
    first = fields.items[0]
    end_micro = first.end_micro
    lines = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\n" % (
        first.limit_micro // MICRO,
        max(0, first.limit_micro - counts_micro[first.index]) // MICRO,
    )
    if end_micro >= NEVER_MICRO:
        return lines
    reset = end_micro // MICRO if fields.legacy == "epoch" else seconds_until(end_micro, now_micro)
    return b"%bX-RateLimit-Reset: %d\r\n" % (lines, reset)


def with_refunds(
    template: ChargeTemplate, counts_micro: Sequence[int], deltas: dict[str, int]
) -> tuple[int, ...]:
    """Return the counts as they stand once the corrections of this very request are applied."""
    return tuple(
        max(0, count + deltas.get(entry.key, 0)) if entry.ladder.kind is LimitKind.QUOTA else count
        for entry, count in zip(template.entries, counts_micro, strict=True)
    )
