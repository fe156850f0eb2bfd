"""Reading what a request costs: before it is forwarded, and from the answer.

Source: design section 3 (steps 4 and 8); requirement A7.
"""

from collections.abc import Mapping
from typing import Final, assert_never

from gateway.config.snapshot import CostReading, CostSource, RunIdReading, RunIdSource
from gateway.errors import Refusal, RefusalCode
from gateway.http.json_bodies import JsonBody, quantity_of, read_json, refuse_coded
from gateway.http.run_ids import (
    RUN_ID_BYTES_MAX,
    checked_run_id,
    run_id_of_fields,
    run_id_of_json,
)
from gateway.http.usage import UnreadableValue, quantity_from_field
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
    document: JsonBody | None = None
    if any(cost.reserve.source is CostSource.JSON for cost in plan.route.cost):
        document = await _body(exchange, json_bytes_max)
    return {
        cost.meter: _reserve(cost.reserve, exchange.special, document) for cost in plan.route.cost
    }


async def _body(exchange: Exchange, json_bytes_max: int) -> JsonBody | None:
    """Return the JSON body, None if there is no body.

    Raises:
        Refusal: it can't be read, or is too large.
        ClientGone: it never came.
    """
    if exchange.has_body:
        refuse_coded(_values(exchange, b"content-encoding"))
    raw = await exchange.read_body(json_bytes_max)
    if not raw:
        return None
    try:
        return read_json(_values(exchange, b"content-type"), raw)
    except UnreadableValue as error:
        raise Refusal(RefusalCode.COST_INVALID, detail=f"Invalid request: {error}.") from error


def _values(exchange: Exchange, name: bytes) -> list[bytes]:
    return [field.value for field in exchange.fields if field.key == name]


def _reserve(
    reading: CostReading, special: Mapping[bytes, list[bytes]], document: JsonBody | None
) -> int:
    try:
        match reading.source:
            case CostSource.STATIC:
                found = None
            case CostSource.HEADER:
                values = special.get(reading.header, [])
                if len(values) > 1:
                    raise UnreadableValue("expected a single value")  # noqa: TRY301
                found = quantity_from_field(values[0]) if values else None
            case CostSource.JSON:
                member = None if document is None else document.at(reading.pointer)
                found = None if member is None else quantity_of(member)
            case _:
                assert_never(reading.source)
    except UnreadableValue as error:
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
                member = JsonBody(b"".join(captured)).at(cost.settle.pointer)
                found = None if member is None else quantity_of(member)
            else:
                found = None
        except UnreadableValue:
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
    document = await _body(exchange, json_bytes_max)
    return run_id_of_body(reading, document)


def run_id_of_body(reading: RunIdReading, document: JsonBody | None) -> str | None:
    """Return the run id that a JSON body names, None if it names none.

    Raises:
        Refusal: it is required and missing, or malformed, or there are two.
    """
    try:
        member = None if document is None else document.at(reading.pointer)
    except UnreadableValue as error:
        where = "/" + "/".join(reading.pointer)
        raise Refusal(RefusalCode.BAD_REQUEST, detail=f"Invalid {where}: {error}.") from error
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
