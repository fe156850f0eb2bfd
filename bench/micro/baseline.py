"""The committed baseline: one set of figures for sources, one for compiled modules."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.micro.compare import Figure

PATH = Path(__file__).with_name("baseline.json")


@dataclass(frozen=True, slots=True)
class Baseline:
    """Figures, and under what they were measured."""

    about: Mapping[str, str]
    figures: Mapping[str, Figure]


def mode(*, is_compiled: bool) -> str:
    """Return the name of the set of figures."""
    return "compiled" if is_compiled else "sources"


def read(name: str, path: Path = PATH) -> Baseline | None:
    """Return a set of figures, None if none was ever written."""
    if not path.exists():
        return None
    found = json.loads(path.read_text()).get(name)
    if found is None:
        return None
    pieces = {piece: Figure(**told) for piece, told in found["pieces"].items()}
    return Baseline(found["about"], pieces)


def update(name: str, measured: Baseline, path: Path = PATH, *, keeps_others: bool = False) -> None:
    """Write a set of figures; the other set stays.

    Args:
        name: Of the set.
        measured: What it shall say.
        path: The file.
        keeps_others: Pieces that were not measured now stay as well.
    """
    document = json.loads(path.read_text()) if path.exists() else {}
    former = document.get(name, {}).get("pieces", {}) if keeps_others else {}
    pieces = former | {
        piece: {key: round(value, 5) for key, value in asdict(found).items()}
        for piece, found in measured.figures.items()
    }
    document[name] = {"about": dict(measured.about), "pieces": pieces}
    path.write_text(json.dumps(document, indent=1) + "\n")


def differences(about: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return in what two measurements can't be compared closely."""
    return [
        f"{key}: {other.get(key, 'unknown')} then, {about[key]} now"
        for key in ("python", "cpu")
        if about[key] != other.get(key)
    ]
