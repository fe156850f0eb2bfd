"""Growth is measured at what is asked for, and drawn as it was measured."""

import sqlite3
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from hashlib import sha256
from itertools import islice
from pathlib import Path

import pytest

from bench.growth import shipping
from bench.growth.__main__ import CURVES
from bench.growth.gateways import Setup, _write_routes, path_of, secret_of, write_keys
from bench.growth.plot import draw, top_of
from bench.growth.point import Begun, Curve, Point, Surroundings, summarise
from gateway.config.settings import load

SVG = "{http://www.w3.org/2000/svg}"


def test_keys_of_the_database_are_those_that_are_sent(tmp_path: Path) -> None:
    write_keys(tmp_path / "ledger.db", 25)

    database = sqlite3.connect(tmp_path / "ledger.db")
    hashes = {row[0] for row in database.execute("SELECT key_hash FROM api_keys")}
    owners = database.execute("SELECT count(DISTINCT workspace_id) FROM api_keys").fetchone()
    database.close()
    assert hashes == {sha256(secret_of(number).encode()).digest() for number in range(25)}
    assert owners == (25,)


def test_each_route_takes_its_path_and_has_all_limits(tmp_path: Path) -> None:
    route_file = _write_routes(Setup(routes=6, policies=3), tmp_path, 9)

    snapshot = load(route_file, environ={}, overrides={}).snapshot

    found = [snapshot.matcher.match(b"GET", b"bench", path_of(n).encode()) for n in range(6)]
    assert [route.name for route in found if route] == [f"route-{n}" for n in range(6)]
    assert {len(route.own_limits) for route in snapshot.routes} == {3}


def test_records_are_of_as_many_workspaces_as_asked() -> None:
    made = list(islice(shipping.records(4), 12))

    assert len({record.workspace_id for record in made}) == 4
    assert len({record.event_id for record in made}) == 12


def test_shipping_is_measured_without_postgresql_too(tmp_path: Path) -> None:
    with ExitStack() as stack:
        around = Surroundings(tmp_path, stack, 0, seconds=0, postgresql=None)
        ledgers = shipping._ledgers(around)
        batch = list(islice(shipping.records(2), 10))

        assert list(ledgers) == ["sqlite"]
        assert ledgers["sqlite"].append(batch) == 10


@pytest.mark.parametrize(
    ("value", "top"), [(0.0, 1.0), (0.9, 1.0), (1.0, 1.0), (41.0, 50.0), (58_519.0, 60_000.0)]
)
def test_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert top_of(value) == pytest.approx(top)


def test_plot_has_a_panel_a_curve_and_a_spot_a_point() -> None:
    curve = Curve("Keys & more", "keys", "us", (1, 100), lambda _size, _around: Begun(dict))
    points = [Point(1, {"gateway": 40.0, "redis": 10.0}), Point(100, {"gateway": 45.0})]

    root = ET.fromstring(draw({"a": curve, "b": curve}, {"a": points, "b": []}))

    assert len(root.findall(f"{SVG}g")) == 1
    assert len(root.findall(f".//{SVG}circle")) == 3
    assert "Keys & more" in [text.text for text in root.iter(f"{SVG}text")]


def test_point_has_medians_and_the_spread() -> None:
    point = summarise(7, [{"a": 1.0}, {"a": 5.0}, {"a": 2.0}], {"memory_mb": 80.0})

    assert (point.series, point.lowest, point.highest) == ({"a": 2.0}, {"a": 1.0}, {"a": 5.0})
    assert point.beside == {"memory_mb": 80.0}


def test_every_curve_begins_small_and_grows() -> None:
    for curve in CURVES.values():
        assert list(curve.sizes) == sorted(set(curve.sizes))
        assert curve.sizes[-1] >= 8 * curve.sizes[0]
