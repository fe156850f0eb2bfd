"""Zones are those of the locked list, whatever folder of zones a machine has."""

import zoneinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.config.pricing import read_pricings
from gateway.config.pricing_zones import require_zone, zones
from gateway.rules import windows
from tests.support.pricing_files import write_pricing


@pytest.mark.parametrize(
    "name", ["UTC", "Asia/Seoul", "Europe/Berlin", "America/New_York", "Etc/GMT+5", "US/Eastern"]
)
def test_iana_names_are_zones(name: str) -> None:
    assert require_zone(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "localtime", "Factory", "posixrules", "right/UTC", "posix/UTC", "asia/seoul", "utc",
        "../../etc/passwd", "", "Asia/Seoul ", "Asia", "leapseconds", "tzdata.zi", "/etc/localtime",
        "KST", "UTC+9", "posix/Asia/Seoul", "SystemV/EST5", "zone.tab",
    ],
)  # fmt: skip
def test_what_means_something_else_elsewhere_is_no_zone(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not an IANA time zone such as Asia/Seoul"):
        require_zone(name)
    found = read_pricings([write_pricing(tmp_path / "p.json", lambda d: d.update(timezone=name))])
    assert [fault.path for fault in found.faults] == ["timezone"]


def test_every_zone_of_the_list_can_be_opened() -> None:
    assert len(zones()) > 400
    for name in zones():
        ZoneInfo(name)


def test_the_machines_own_zones_are_not_asked() -> None:
    assert windows
    assert zoneinfo.TZPATH == ()


@pytest.mark.parametrize(
    ("member", "value"),
    [("symbol", "${SIGN}"), ("symbol", "$${X}")],
)
def test_variables_are_not_filled_in(tmp_path: Path, member: str, value: str) -> None:
    """A price list means the same on every machine."""
    path = write_pricing(tmp_path / "p.json", lambda d: d["currency"].update({member: value}))
    assert [fault.path for fault in read_pricings([path]).faults] == [f"currency.{member}"]


@pytest.mark.parametrize("value", ["$", "US$", "$$", "R$ ", "kr"])
def test_currency_signs_are_no_variables(tmp_path: Path, value: str) -> None:
    path = write_pricing(tmp_path / "p.json", lambda d: d["currency"].update(symbol=value))
    assert read_pricings([path]).faults == []
