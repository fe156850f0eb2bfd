"""Pricing files made from the project's own fixture, changed as a test needs it."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.config.pricing import load_pricing
from gateway.rules.plan import Pricing

ROOT = Path(__file__).parents[2]
PRICING_FIXTURE = ROOT / "fixtures" / "pricing_ssot.json"
ORIGIN_FILE = ROOT.parent / "shared" / "seed-data" / "pricing_ssot.v0.2.1.json"
"""A real file of the first system that the gateway serves; not part of the project."""

Document = dict[str, Any]
_FIXTURE: Document = json.loads(PRICING_FIXTURE.read_text(encoding="utf-8"))
_TIERS = ["SANDBOX", "STARTER", "GROWTH", "ENTERPRISE"]


def pricing_document() -> Document:
    """Return the fixture as plain JSON values, free to be changed."""
    return copy.deepcopy(_FIXTURE)


def tier_of(document: Document, name: str) -> Document:
    """Return the part of a document that describes one tier."""
    return document["tiers"][_TIERS.index(name)]  # type: ignore[no-any-return]


def write_pricing(path: Path, change: Callable[[Document], object]) -> Path:
    """Write the fixture with a change to ``path`` and return the path."""
    document = pricing_document()
    change(document)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def changed_pricing(directory: Path, change: Callable[[Document], object]) -> Pricing:
    """Return what the fixture means after a change."""
    return load_pricing(write_pricing(directory / "pricing.json", change))
