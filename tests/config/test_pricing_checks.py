"""What the golden errors don't show: what the checks let pass, and what they are made of."""

from pathlib import Path

import pytest

from gateway.config.pricing_checks import is_unlimited, tier_grace_units, wire_names
from gateway.config.pricing_models import GraceFile, PolicyNamesFile, TierFile, UnlimitedFile
from tests.support.pricing_files import Document, changed_pricing, pricing_document, tier_of


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("zero_means", ["custom_or_unlimited", "disabled"])
def test_only_a_zero_that_the_file_lists_is_unlimited(
    value: int, listed: bool, zero_means: str
) -> None:
    """A2, item 0.39."""
    fields = ["rate_limit_rpm"] if listed else []
    semantics = UnlimitedFile.model_validate(
        {"zero_means": zero_means, "applies_to_fields": fields}
    )

    assert is_unlimited("rate_limit_rpm", value, semantics) is (
        value == 0 and listed and zero_means == "custom_or_unlimited"
    )


def test_grace_is_taken_of_the_total_cap_or_of_the_overage() -> None:
    """A6: 1 percent of 3000 or of 1000; without overage none."""
    file = pricing_document()["grace_overage"]
    of_total = GraceFile.model_validate(file)
    of_overage = GraceFile.model_validate(file | {"base": "overage_cap"})

    assert tier_grace_units(of_total, quota=2_000, overage=1_000) == 30
    assert tier_grace_units(of_overage, quota=2_000, overage=1_000) == 10
    assert tier_grace_units(of_total, quota=2_000, overage=0) == 0


def test_a_tiers_own_policy_names_win() -> None:
    """Item 0.62."""
    tier = tier_of(pricing_document(), "STARTER") | {"policies": {"rpm_policy_name": "burst"}}
    conventions = PolicyNamesFile(rpm="rate", hard_overage_cap="cap")

    assert wire_names(TierFile.model_validate(tier), conventions) == {
        "rpm": "burst",
        "monthly_dc": "monthly_dc",
        "hard_overage_cap": "cap",
    }


def test_one_limit_in_several_tiers_may_differ_in_window_and_cap(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document["meters"] = {"memories": {"unit": "memories"}}
        limit = {"name": "memories", "kind": "quota", "meter": "memories"}
        tier_of(document, "STARTER")["limits_extra"] = [limit | {"window": "day", "cap": 5}]
        tier_of(document, "GROWTH")["limits_extra"] = [limit | {"window": "hour", "cap": 9}]

    tiers = changed_pricing(tmp_path, change).tiers

    assert "memories" in tiers["STARTER"].ladders
    assert "memories" in tiers["GROWTH"].ladders


def test_a_rule_said_the_same_way_twice_is_no_contradiction(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document["billing_rules"]["non_billable"]["http_422"] = False

    assert changed_pricing(tmp_path, change).billing.is_billable(422)
