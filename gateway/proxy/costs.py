"""Reading what a request costs: before it is forwarded, and from the answer.

Source: design section 3 (steps 4 and 8); requirement A7.
"""

from collections.abc import Mapping
from typing import Final, assert_never

from gateway.config.snapshot import CostReading, CostSource, RunIdReading, RunIdSource
from gateway.errors import Refusal, RefusalCode
from gateway.http.run_ids import (
    RUN_ID_BYTES_MAX,
    checked_run_id,
    run_id_of_fields,
    run_id_of_json,
)
from gateway.http.usage import (
    UnreadableQuantity,
    at_pointer,
    parse_json,
    quantity_from_field,
    quantity_from_json,
)
from gateway.proxy.active import RoutePlan
from gateway.proxy.answer import Answer
from gateway.proxy.exchange import Exchange

_IN_HEAD: Final = RunIdSource.HEADER
_IN_BODY: Final = RunIdSource.JSON
# Compiled, names of our own are spared a look-up.


async def read_cost(plan: RoutePlan, exchange: Exchange, json_bytes_max: int) -> dict[str, int]:
    """Return the cost per meter that is to be reserved, in micro-units.

    Raises:
        Refusal: the cost can't be read, or the body that holds it is too large.
        ClientGone: the body never came.
    """
    document: object = None
    if any(cost.reserve.source is CostSource.JSON for cost in plan.route.cost):
        body = await exchange.read_body(json_bytes_max)
        document = _document(body)
    return {
        cost.meter: _reserve(cost.reserve, exchange.special, document) for cost in plan.route.cost
    }


def _document(body: bytes) -> object:
    try:
        return parse_json(body) if body else None
    except UnreadableQuantity as error:
        raise Refusal(RefusalCode.COST_INVALID, detail=f"Invalid request: {error}.") from error


def _reserve(reading: CostReading, special: Mapping[bytes, list[bytes]], document: object) -> int:
    try:
        match reading.source:
            case CostSource.STATIC:
                found = None
            case CostSource.HEADER:
                values = special.get(reading.header, [])
                if len(values) > 1:
                    raise UnreadableQuantity("expected a single value")  # noqa: TRY301
                found = quantity_from_field(values[0]) if values else None
            case CostSource.JSON:
                member = at_pointer(document, reading.pointer)
                found = None if member is None else quantity_from_json(member)
            case _:
                assert_never(reading.source)
    except UnreadableQuantity as error:
        where = reading.header.decode() or "/" + "/".join(reading.pointer)
        raise Refusal(RefusalCode.COST_INVALID, detail=f"Invalid {where}: {error}.") from error
    if found is not None:
        return found
    if reading.default_micro is None:
        where = reading.header.decode() or "/" + "/".join(reading.pointer)
        raise Refusal(RefusalCode.COST_INVALID, detail=f"Missing {where}.")
    return reading.default_micro


def actual_cost(plan: RoutePlan, answer: Answer, captured: list[bytes] | None) -> dict[str, int]:
    """Return the actual cost per meter as far as the answer tells it; unreadable ones are left out.

    What the upstream says wrongly must not fail a request that it has already answered: the
    estimate stands.
    """
    actual: dict[str, int] = {}
    for cost in plan.route.cost:
        if cost.settle is None:
            continue
        try:
            if cost.settle.source is CostSource.HEADER:
                found = _from_fields(cost.settle.header, answer)
            elif captured:
                member = at_pointer(parse_json(b"".join(captured)), cost.settle.pointer)
                found = None if member is None else quantity_from_json(member)
            else:
                found = None
        except UnreadableQuantity:
            continue
        if found is not None:
            actual[cost.meter] = found
    return actual


def _from_fields(name: bytes, answer: Answer) -> int | None:
    values = [field.value for field in answer.fields if field.key == name]
    return quantity_from_field(values[0]) if len(values) == 1 else None


def is_in_body(reading: RunIdReading) -> bool:
    """Return whether the body must be read to know the run."""
    return reading.source is _IN_BODY


def run_id_of_head(reading: RunIdReading, exchange: Exchange) -> str | None:
    """Return the run id that the caller named in the head, None if it named none.

    Raises:
        Refusal: it is required and missing, or malformed.
    """
    value: bytes | None = None
    if reading.source is _IN_HEAD:
        value = run_id_of_fields(exchange.special.get(reading.header, ()))
    return checked_run_id(value, required=reading.required)


async def read_run_id(reading: RunIdReading, exchange: Exchange, json_bytes_max: int) -> str | None:
    """Return the run id that the caller named, None if it named none.

    Raises:
        Refusal: it is required and missing, or malformed.
    """
    if not is_in_body(reading):
        return run_id_of_head(reading, exchange)
    member = at_pointer(_document(await exchange.read_body(json_bytes_max)), reading.pointer)
    return checked_run_id(run_id_of_json(member), required=reading.required)


def run_id_of_answer(reading: RunIdReading | None, answer: Answer) -> str | None:
    """Return the run id that an answer names, for the record."""
    if reading is None or reading.source is not RunIdSource.RESPONSE_HEADER:
        return None
    for field in answer.fields:
        value = field.value
        if field.key == reading.header and len(value) <= RUN_ID_BYTES_MAX and value.isascii():
            return value.decode("ascii")
    return None
