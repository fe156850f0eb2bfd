"""The pricing file, the single source of truth: read, checked whole, compiled.

In this order: JSON, JSON Schema, typed models, checks that join members; every fault of a file is
reported at once, with its line and column.
Source: design section 5; requirements A1 to A3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from gateway.config.json_positions import (
    JsonDocument,
    JsonPath,
    JsonSyntaxError,
    parse_json,
    path_text,
)
from gateway.config.pricing_build import build_pricing
from gateway.config.pricing_checks import check, sound_sections
from gateway.config.pricing_faults import Faults
from gateway.config.pricing_models import PricingFile
from gateway.config.pricing_schema import schema_bytes, validator
from gateway.errors import ConfigError, Fault
from gateway.rules.plan import Pricing

__all__ = ["FILE_BYTES_MAX", "load_pricing", "load_pricings", "schema_bytes"]

FILE_BYTES_MAX = 4 * 1024 * 1024
"""Far above any real price list; a wrong path must not fill the memory."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A version and where its members stand."""

    path: Path
    document: JsonDocument
    pricing: Pricing

    def fault(self, at: JsonPath, message: str) -> Fault:
        """Return a fault of this file at a member."""
        place = self.document.value_at(at)
        return Fault(str(self.path), place.line, place.column, path_text(at), message)


def load_pricing(path: Path) -> Pricing:
    """Return one version of the pricing.

    Raises:
        ConfigError: with all faults of the file.
    """
    return _load(path).pricing


def load_pricings(paths: Sequence[Path]) -> tuple[Pricing, ...]:
    """Return all versions in the order in which they come into force (A3).

    An open-ended version ends where the next begins.

    Raises:
        ConfigError: with all faults of all files, and of their validity.
    """
    loaded: list[_Loaded] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            loaded.append(_load(path))
        except ConfigError as error:
            faults += error.faults
    loaded.sort(key=lambda each: each.pricing.effective_from_micro)
    faults += _clashes(loaded)
    if faults:
        raise ConfigError(faults=faults)
    pricings = [each.pricing for each in loaded]
    return tuple(
        replace(pricing, effective_to_micro=following.effective_from_micro)
        if pricing.effective_to_micro is None and following is not None
        else pricing
        for pricing, following in zip(pricings, [*pricings[1:], None], strict=False)
    )


def _clashes(loaded: list[_Loaded]) -> list[Fault]:
    """Return what two versions contradict each other in; ``loaded`` is sorted by validity."""
    faults = []
    seen: dict[str, _Loaded] = {}
    for each in loaded:
        first = seen.setdefault(each.pricing.version, each)
        if first is not each:
            message = f"{each.pricing.version!r} is also the version of {first.path}"
            faults.append(each.fault(("pricing_version",), message))
    for earlier, later in pairwise(loaded):
        begins = later.pricing.effective_from_micro
        ends = earlier.pricing.effective_to_micro
        if begins == earlier.pricing.effective_from_micro:
            message = f"begins at the same instant as {earlier.path}"
            faults.append(later.fault(("effective_from",), message))
        elif ends is not None and begins < ends:
            message = f"begins before {earlier.path} ends"
            faults.append(later.fault(("effective_from",), message))
    return faults


def _load(path: Path) -> _Loaded:
    document = _parse(path)
    faults = Faults(str(path), document)
    for repeated, first in document.repeated.items():
        faults.add(repeated, f"the key stands twice, first in line {first.line}", at_key=True)
    faults.add_schema_errors(validator().iter_errors(document.value))
    file = None
    try:
        file = PricingFile.model_validate(document.value)
    except ValidationError as error:
        faults.add_model_errors(error)
    if isinstance(document.value, dict):
        check(document.value, sound_sections(document.value, faults), faults)
    found = faults.sorted()
    if found or file is None:
        raise ConfigError(faults=found)
    return _Loaded(path, document, build_pricing(file))


def _parse(path: Path) -> JsonDocument:
    """Return the JSON of a file; a fault of its bytes or its syntax hides all others."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        fault = Fault(str(path), 1, 1, "$", f"can't be read: {error.strerror}")
        raise ConfigError(faults=[fault]) from error
    if len(raw) > FILE_BYTES_MAX:
        fault = Fault(str(path), 1, 1, "$", "is too large", f"at most {FILE_BYTES_MAX} bytes")
        raise ConfigError(faults=[fault])
    try:
        return parse_json(raw.decode())
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        fault = Fault(str(path), line, column, "$", "is not UTF-8")
        raise ConfigError(faults=[fault]) from error
    except JsonSyntaxError as error:
        place = error.position
        fault = Fault(str(path), place.line, place.column, path_text(error.path), error.message)
        raise ConfigError(faults=[fault]) from error
