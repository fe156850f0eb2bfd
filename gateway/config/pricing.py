"""The pricing file, the single source of truth: read, checked whole, compiled.

In this order: JSON, JSON Schema, typed models, checks that join members; every fault of a file is
reported at once, with its line and column.
Source: design section 5; requirements A1 to A3.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config.json_positions import (
    JsonDocument,
    JsonPath,
    JsonSyntaxError,
    parse_json,
    path_text,
)
from gateway.config.loaded import PricingPlace
from gateway.config.pricing_build import build_pricing
from gateway.config.pricing_checks import check, sound_sections
from gateway.config.pricing_faults import Faults
from gateway.config.pricing_models import PricingFile
from gateway.config.pricing_schema import schema_bytes, validator
from gateway.config.pricing_warnings import warn
from gateway.errors import ConfigError, Fault
from gateway.rules.identifiers import is_name
from gateway.rules.plan import Pricing

__all__ = [
    "FILE_BYTES_MAX",
    "PriceLists",
    "load_pricing",
    "load_pricings",
    "read_pricings",
    "schema_bytes",
]

FILE_BYTES_MAX = 4 * 1024 * 1024
"""Far above any real price list; a wrong path must not fill the memory."""


@dataclass(slots=True)
class PriceLists:
    """All versions in the order in which they come into force, and what is wrong with them.

    Attributes:
        places: Where each version stands.
        faults: With any, versions may be missing.
        warnings: What is allowed and probably not meant.
        tier_names: Of all lists, those with faults too; None where one can't be told.
    """

    pricings: tuple[Pricing, ...] = ()
    places: tuple[PricingPlace, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    tier_names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A version and where its members stand."""

    path: Path
    document: JsonDocument
    pricing: Pricing
    warnings: tuple[Fault, ...]

    @property
    def place(self) -> PricingPlace:
        """Where its members stand."""
        at = self.document.value_at
        found = [at((name,)) for name in ("effective_from", "effective_to", "tiers")]
        return PricingPlace(str(self.path), *((each.line, each.column) for each in found))

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

    Raises:
        ConfigError: with all faults of all files, and of their validity.
    """
    found = read_pricings(paths)
    if found.faults:
        raise ConfigError(faults=found.faults)
    return found.pricings


def read_pricings(paths: Sequence[Path]) -> PriceLists:
    """Return all versions with their faults; an open-ended version ends where the next begins."""
    loaded: list[_Loaded] = []
    lists = PriceLists()
    for path in paths:
        try:
            loaded.append(_load(path))
        except ConfigError as error:
            lists.faults += error.faults
    if lists.faults:
        lists.tier_names = _tier_names(paths)
    loaded.sort(key=lambda each: each.pricing.effective_from_micro)
    lists.faults += _clashes(loaded)
    lists.warnings += [fault for each in loaded for fault in each.warnings]
    pricings = [each.pricing for each in loaded]
    lists.places = tuple(each.place for each in loaded)
    lists.pricings = tuple(
        replace(pricing, effective_to_micro=following.effective_from_micro)
        if pricing.effective_to_micro is None and following is not None
        else pricing
        for pricing, following in zip(pricings, [*pricings[1:], None], strict=False)
    )
    return lists


def _tier_names(paths: Sequence[Path]) -> frozenset[str] | None:
    """Return the tiers of all files as they are called, None if one can't be told."""
    found = set()
    try:
        for path in paths:
            document: Any = _parse(path, _read(path)).value
            found |= {tier["tier"] for tier in document["tiers"]}
    except (ConfigError, KeyError, TypeError):
        return None
    return frozenset(found) if all(map(_is_name, found)) else None


def _is_name(text: object) -> bool:
    return isinstance(text, str) and is_name(text)


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
    raw = _read(path)
    document = _parse(path, raw)
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
    warnings = Faults(str(path), document)
    warn(file, warnings)
    pricing = build_pricing(file, unnamed=f"sha-{hashlib.sha256(raw).hexdigest()[:12]}")
    return _Loaded(path, document, pricing, tuple(warnings.sorted()))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        fault = Fault(str(path), 1, 1, "(file)", f"can't be read: {error.strerror or error.errno}")
        raise ConfigError(faults=[fault]) from error


def _parse(path: Path, raw: bytes) -> JsonDocument:
    """Return the JSON of a file; a fault of its bytes or its syntax hides all others."""
    if len(raw) > FILE_BYTES_MAX:
        fault = Fault(str(path), 1, 1, "(file)", "is too large", f"at most {FILE_BYTES_MAX} bytes")
        raise ConfigError(faults=[fault])
    try:
        return parse_json(raw.decode())
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        fault = Fault(str(path), line, column, "(file)", "is not UTF-8")
        raise ConfigError(faults=[fault]) from error
    except JsonSyntaxError as error:
        place = error.position
        fault = Fault(str(path), place.line, place.column, path_text(error.path), error.message)
        raise ConfigError(faults=[fault]) from error
