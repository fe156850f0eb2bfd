"""``gateway routes`` tells what the route file means."""

from pathlib import Path

from tests.support.operator_desk import OperatorDesk

ROOT = Path(__file__).parents[2]


def test_routes_are_told_as_they_were_understood(desk: OperatorDesk) -> None:
    create, replay = desk.json("routes")

    assert (create["methods"], create["path"], create["upstream"]) == (["POST"], "/v1/runs", "runs")
    assert create["cost"] == ["/estimated_dc or 1 dc"]
    assert create["endpoints"] == ["127.0.0.1:9"]
    assert create["key_needed"] is True
    assert replay["path"] == "/v1/runs/{}/replay"
    assert replay["requires"] == ["replay"]
    assert "create-run  POST" in desk.run("routes")


def test_the_shipped_routes_can_be_shown(desk: OperatorDesk) -> None:
    found = desk.json("routes", "--config", str(ROOT / "policies" / "gateway.yaml"))

    paths = {route["route"]: route["path"] for route in found}
    assert paths["read-runs"] == "/v1/runs/**"
    assert not next(route for route in found if route["route"] == "health")["key_needed"]
