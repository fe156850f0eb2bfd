"""``gateway plans`` tells the first system's figures (A13)."""

from tests.support.operator_desk import OperatorDesk


def test_every_tier_is_told_with_its_figures(desk: OperatorDesk) -> None:
    found = {plan["plan"]: plan for plan in desk.json("plans")}

    starter = found["STARTER"]
    assert starter["base_price"] == "₩29,000"
    assert (starter["included"], starter["quota"], starter["total_cap"]) == ("1000", "2000", "3000")
    assert (starter["grace"], starter["rates"]) == ("30", ["600/60s"])
    assert found["SANDBOX"]["total_cap"] == "50"
    assert found["ENTERPRISE"]["quota"] == "unlimited"
    assert found["ENTERPRISE"]["rates"] == []
    assert found["ENTERPRISE"]["features"] == ["audit", "replay", "sso"]


def test_people_get_a_table(desk: OperatorDesk) -> None:
    lines = desk.run("plans").splitlines()

    assert lines[0].startswith("PLAN ")
    assert len(lines) == 5
    assert "quantities in dc" in desk.told
