"""Numbers, durations, sizes and shares as people write them: ``250ms``, ``10MB``, ``0.05``."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from gateway.rules.units import QUANTITY_UNITS_MAX

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_SECONDS: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
}
_SIZE: Final = re.compile(r"([0-9]{1,12})(B|kB|KB|MB|GB|KiB|MiB|GiB)?")
_BYTES: Final = {
    None: 1, "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
}  # fmt: skip
_BYTES_MAX: Final = 10**18
"""More than any disk holds, and a number that every reader of the configuration can keep."""
PER_MILLION: Final = 1_000_000
_PLAIN_MAX: Final = 10**19


def plain_number(number: Decimal) -> int | Decimal:
    """Return a number as JSON Schema takes it: ``1.0`` is the integer 1."""
    if number.is_finite() and abs(number) < _PLAIN_MAX and number == number.to_integral_value():
        return int(number)
    return number


def seconds_of(value: object) -> float:
    """Return the seconds of a duration such as ``1.5s``.

    Raises:
        ValueError: it is not one.
    """
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a duration such as 250ms, 10s, 5m, 2h or 1d")
    return float(Decimal(found[1]) * _SECONDS[found[2]])


def positive_seconds_of(value: object) -> float:
    """Return the seconds of a duration above nothing: what lasts no time would never do.

    Raises:
        ValueError: it is not one.
    """
    seconds = seconds_of(value)
    if not seconds:
        raise ValueError("expected a duration above 0s")
    return seconds


def bytes_of(value: object) -> int:
    """Return the bytes of a size such as ``10MB``.

    Raises:
        ValueError: it is not one.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError("expected a size such as 65536, 64KiB or 10MB")
        size = int(found[1]) * _BYTES[found[2]]
    if size < 0:
        raise ValueError("expected a size of at least 0")
    if size > _BYTES_MAX:
        raise ValueError(f"expected a size of at most {_BYTES_MAX // 10**9}GB")
    return size


def _at_least(bytes_min: int) -> Callable[[int], int]:
    def check(size: int) -> int:
        if size < bytes_min:
            raise ValueError(f"expected a size of at least {bytes_min}")
        return size

    return check


def _size_schema(bytes_min: int) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": bytes_min, "maximum": _BYTES_MAX},
                {"type": "string", "pattern": r"^[0-9]{1,12}(B|[kK]B|MB|GB|KiB|MiB|GiB)?$"},
            ]
        }
    )


def per_million_of(value: object) -> int:
    """Return a share between 0 and 1 in millionths.

    Raises:
        ValueError: it is not one.
    """
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and 0 <= value <= 1:
        return int(value * PER_MILLION)
    raise ValueError("expected a share between 0 and 1, such as 0.05")


def units_of(value: object) -> int:
    """Return a quantity in whole units, whatever its size.

    Raises:
        ValueError: it is not one; parts of a unit stand in requests and answers only.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"expected whole units from 0 to {QUANTITY_UNITS_MAX}")


_Bounded = Annotated[int, Field(ge=0, le=QUANTITY_UNITS_MAX)]
Quantity = Annotated[_Bounded, BeforeValidator(units_of, json_schema_input_type=_Bounded)]
Seconds = Annotated[
    float,
    BeforeValidator(seconds_of),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d)$"}),
]
PositiveSeconds = Annotated[
    float,
    BeforeValidator(positive_seconds_of),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d)$"}
    ),
]
Bytes = Annotated[int, BeforeValidator(bytes_of), _size_schema(0)]
HeadBytes = Annotated[
    int, BeforeValidator(bytes_of), AfterValidator(_at_least(1024)), _size_schema(1024)
]
"""Less holds no ordinary request: with nothing, everybody was refused."""
TargetBytes = Annotated[
    int, BeforeValidator(bytes_of), AfterValidator(_at_least(128)), _size_schema(128)
]
Share = Annotated[
    int,
    BeforeValidator(per_million_of),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]
