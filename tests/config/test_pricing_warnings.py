"""What is allowed and probably not meant is named at each load."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.pricing import read_pricings
from tests.support.pricing_files import (
    ORIGIN_FILE,
    PRICING_FIXTURE,
    Document,
    tier_of,
    write_pricing,
)


def warnings(folder: Path, change: Callable[[Document], object]) -> list[str]:
    """Return what is warned of beyond what the fixture is."""
    found = read_pricings([write_pricing(folder / "pricing.json", change)])
    usual = read_pricings([PRICING_FIXTURE]).warnings
    assert found.faults == []
    known = {fault.message for fault in usual}
    return [
        f"{fault.path}: {fault.message}" for fault in found.warnings if fault.message not in known
    ]


def starter(**members: object) -> Callable[[Document], object]:
    def change(document: Document) -> None:
        tier = tier_of(document, "STARTER")
        for name, value in members.items():
            (tier["limits"] if name in tier["limits"] else tier)[name] = value

    return change


def test_the_fixture_is_warned_of_nothing_but_what_is_not_enforced() -> None:
    """Every field that is read does something, or is named here."""
    assert [fault.path for fault in read_pricings([PRICING_FIXTURE]).warnings] == [
        "http.problem_details.type_uris.abnormal_usage_detected",
        "tiers[0].limits.max_input_tokens",
    ]


@pytest.mark.skipif(not ORIGIN_FILE.exists(), reason="not part of the project")
def test_the_file_of_the_first_system_loads_unmodified() -> None:
    found = read_pricings([ORIGIN_FILE])

    assert found.faults == []
    assert all("not enforced" in fault.message for fault in found.warnings)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (starter(included_dc_per_month=5000), [
            ("tiers[1].included_dc_per_month: STARTER sells 5000 units and refuses above 3000: the "
            "rest can't be used"),
            ("tiers[1].overage_price_per_dc: nothing of STARTER is ever sold at this price: it "
            "refuses above 3000, of which 5000 are included"),
        ]),
        (starter(included_dc_per_month=3000), [
            ("tiers[1].overage_price_per_dc: nothing of STARTER is ever sold at this price: it "
            "refuses above 3000, of which 3000 are included"),
        ]),
        (starter(overage_price_per_dc=0), [
            ("tiers[1].overage_price_per_dc: 2000 units of STARTER above the included ones cost "
            "nothing"),
        ]),
        (starter(included_dc_per_month=0), [
            ("tiers[1].overage_price_per_dc: nothing of STARTER is ever sold at this price: all "
            "units are included"),
        ]),
        (starter(monthly_quota_dc=0, hard_overage_dc_cap=0), [
            ("tiers[1].safety.hard_spending_limit: STARTER has no cap from which a highest bill "
            "could be worked out"),
        ]),
        (starter(included_dc_per_month=5000, overage_behavior="notify_only"), []),
        (starter(included_dc_per_month=2999), []),
        (lambda d: d["grace_overage"].update(max_grace_dc=0), [
            "grace_overage.enabled: no tier has any grace: it is nothing",
        ]),
        (lambda d: d["grace_overage"].update(applies_to=[]), [
            "grace_overage.enabled: no tier has any grace: it is nothing",
        ]),
        (lambda d: d["grace_overage"].update(enabled=False, max_grace_dc=0), []),
        (lambda d: d["unlimited_semantics"].update(zero_means="disabled"), [
            ("tiers[3].limits.monthly_quota_dc: ENTERPRISE refuses every request that costs "
            "something"),
        ]),
    ],
)  # fmt: skip
def test_a_contradiction_is_warned_of(
    tmp_path: Path, change: Callable[[Document], object], told: list[str]
) -> None:
    assert warnings(tmp_path, change) == told


def test_grace_without_a_cap_that_refuses(tmp_path: Path) -> None:
    def unlimited(document: Document) -> None:
        for tier in document["tiers"]:
            tier["limits"]["overage_behavior"] = "notify_only"

    assert (
        "grace_overage.enabled: no tier has any grace: no tier has a hard overage cap that refuses"
        in warnings(tmp_path, unlimited)
    )


def test_a_file_without_version_is_named_by_its_content(tmp_path: Path) -> None:
    path = write_pricing(tmp_path / "p.json", lambda d: d.pop("pricing_version"))

    (pricing,) = read_pricings([path]).pricings

    assert pricing.version == f"sha-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    path.write_bytes(path.read_bytes() + b"\n")
    assert read_pricings([path]).pricings[0].version != pricing.version
