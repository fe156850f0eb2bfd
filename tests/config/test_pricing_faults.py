"""One mistake, one exact message: every file of ``golden_pricing`` is a change and its faults.

``@ text`` moves on to a text of ``fixtures/pricing_ssot.json``, ``- text`` is taken out behind it,
the ``+ text`` that follows put in its place; after an empty line the faults.
Requirement A1 (a failure names line, column, path and what was expected); items 0.1, 0.4, 0.62.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.pricing import load_pricing
from gateway.errors import ConfigError
from tests.support.pricing_files import PRICING_FIXTURE, Document, pricing_document

CASES = sorted((Path(__file__).parent / "golden_pricing").glob("*.txt"))


def mutate(text: str, change: list[str]) -> str:
    """Apply the ``@``, ``-`` and ``+`` lines of a case."""
    at = 0
    for line in change:
        kind, part = line[0], line[2:]
        match kind:
            case "@":
                at = text.index(part, at)
            case "-":
                at = text.index(part, at)
                text = text[:at] + text[at + len(part) :]
            case "+":
                text = text[:at] + part + text[at:]
                at += len(part)
            case _:
                raise ValueError(line)
    return text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_mistake_is_told_with_its_place(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, expected = case.read_text(encoding="utf-8").split("\n\n")
    monkeypatch.chdir(tmp_path)
    mutated = mutate(PRICING_FIXTURE.read_text(encoding="utf-8"), change.split("\n"))
    Path("pricing.json").write_text(mutated, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_pricing(Path("pricing.json"))

    assert caught.value.message == expected.rstrip("\n")


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all members and items."""
    children: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    if isinstance(value, list):
        children = list(enumerate(value))
    return [
        place
        for step, child in children
        for place in ((*path, step), *places(child, (*path, step)))
    ]


PLACES = places(pricing_document())
WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 1, 10**40, 0.5, "", "x", "rpm\n", "\u00e9", [], [[]], {}, {"a": {}}, "0.5"]
)


@st.composite
def mutants(draw: st.DrawFn) -> Document:
    """A file with up to four members replaced, dropped or added."""
    document = pricing_document()
    for _ in range(draw(st.integers(1, 4))):
        *way, last = draw(st.sampled_from(PLACES))
        at: Any = document
        try:
            for step in way:
                at = at[step]
            change = draw(st.sampled_from(["replace", "drop", "add"]))
            if change == "drop":
                del at[last]
            else:
                other = draw(st.sampled_from(["limits_extra", "meters", "next_tier", "zzz"]))
                at[last if change == "replace" else other] = draw(WRONG)
        except (LookupError, TypeError):  # an earlier change took the place away
            continue
    return document


@given(mutants())
def test_a_broken_file_is_refused_in_words_or_loads(
    tmp_path_factory: pytest.TempPathFactory, document: Document
) -> None:
    """Item 0.1: whatever is wrong, the operator reads where; never a traceback."""
    path = tmp_path_factory.getbasetemp() / "mutant.json"
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    faults = None
    try:
        load_pricing(path)
    except ConfigError as error:
        faults = error.faults

    if faults is not None:
        assert faults
        assert [fault.line for fault in faults] == sorted(fault.line for fault in faults)
        assert len({fault.path for fault in faults}) == len(faults)


@pytest.mark.parametrize("text", ["[]", '"tiers"', "null", "3", "{}"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pricing.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_pricing(path)

    assert {(fault.line, fault.column) for fault in caught.value.faults} == {(1, 1)}


def test_a_fault_is_told_once_and_in_order(tmp_path: Path) -> None:
    """A1: all faults at once, also those of different stages."""
    document = pricing_document()
    document["currency"]["code"] = "KWR"
    document["tiers"][0]["limits"]["rate_limit_rpm"] = "60"
    document["tiers"][1]["policies"]["rpm_policy_name"] = "monthly_dc"
    del document["billing_rules"]["rounding"]
    path = tmp_path / "pricing.json"
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_pricing(path)

    assert [fault.path for fault in caught.value.faults] == [
        "currency.code",
        "tiers[0].limits.rate_limit_rpm",
        "tiers[1].policies.monthly_dc_policy_name",
        "billing_rules.rounding",
    ]
