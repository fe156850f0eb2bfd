"""Reading pricing files and their versions: requirements A1, A3, A13; items 0.1 to 0.5, 0.56."""

import dataclasses
import json
from pathlib import Path

import pytest

from gateway.config.pricing import FILE_BYTES_MAX, load_pricing, load_pricings
from gateway.errors import ConfigError
from gateway.rules.plan import Pricing
from gateway.rules.units import MICRO
from tests.support.pricing_files import (
    ORIGIN_FILE,
    PRICING_FIXTURE,
    Document,
    changed_pricing,
    write_pricing,
)

MARCH_MICRO = 1_772_323_200 * MICRO
"""2026-03-01T00:00:00Z."""
JUNE_MICRO = 1_780_272_000 * MICRO
"""2026-06-01T00:00:00Z."""


def version(directory: Path, name: str, start: str, end: str | None = None) -> Path:
    def change(document: Document) -> None:
        document["pricing_version"] = f"2026-01-01.v{name}"
        document["effective_from"] = start
        document["effective_to"] = end

    return write_pricing(directory / f"{name}.json", change)


def faults_of(paths: list[Path]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_pricings(paths)
    return caught.value.message.replace(f"{paths[0].parent}/", "")


def test_the_fixture_loads() -> None:
    pricing = load_pricing(PRICING_FIXTURE)

    assert pricing.version == "2026-02-14.v0.2.1"
    assert pricing.effective_from_micro == MARCH_MICRO
    assert pricing.effective_to_micro is None
    assert list(pricing.tiers) == ["SANDBOX", "STARTER", "GROWTH", "ENTERPRISE"]


@pytest.mark.skipif(not ORIGIN_FILE.exists(), reason="the first system's file is not beside us")
def test_the_file_of_the_first_system_loads_unmodified_and_means_the_same() -> None:
    def without_links(pricing: Pricing) -> Pricing:
        tiers = {
            name: dataclasses.replace(tier, upgrade_url=None)
            for name, tier in pricing.tiers.items()
        }
        return dataclasses.replace(pricing, tiers=tiers)

    assert load_pricing(ORIGIN_FILE) == without_links(load_pricing(PRICING_FIXTURE))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file or directory"):
        load_pricing(tmp_path / "pricing.json")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pricing.json"
    path.write_bytes(b" " * (FILE_BYTES_MAX + 1))

    with pytest.raises(ConfigError, match="is too large"):
        load_pricing(path)


def test_bytes_that_are_no_text_are_told_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "pricing.json"
    path.write_bytes('{\n"symbol": "\u20a9'.encode() + b'\xff"}')

    with pytest.raises(ConfigError, match=r":2:13: \(file\): is not UTF-8"):
        load_pricing(path)


def test_versions_stand_in_the_order_in_which_they_come_into_force(tmp_path: Path) -> None:
    """A3: an open-ended version ends where the next begins."""
    later = version(tmp_path, "2.0.0", "2026-06-01T00:00:00Z")
    earlier = version(tmp_path, "1.0.0", "2026-03-01T09:00:00+09:00")

    first, second = load_pricings([later, earlier])

    assert (first.version, second.version) == ("2026-01-01.v1.0.0", "2026-01-01.v2.0.0")
    assert (first.effective_from_micro, first.effective_to_micro) == (MARCH_MICRO, JUNE_MICRO)
    assert (second.effective_from_micro, second.effective_to_micro) == (JUNE_MICRO, None)


def test_a_gap_between_versions_stays_a_gap(tmp_path: Path) -> None:
    one = version(tmp_path, "1.0.0", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    two = version(tmp_path, "2.0.0", "2026-06-01T00:00:00Z")

    first, _ = load_pricings([one, two])

    assert first.effective_to_micro == 1_775_001_600 * MICRO


def test_versions_that_overlap_are_refused(tmp_path: Path) -> None:
    one = version(tmp_path, "1.0.0", "2026-03-01T00:00:00Z", "2026-06-01T00:00:00.000001Z")
    two = version(tmp_path, "2.0.0", "2026-06-01T00:00:00Z")

    message = faults_of([one, two])

    assert message.startswith("2.0.0.json:1:")
    assert f"effective_from: begins before {one} ends".replace(f"{tmp_path}/", "") in message


def test_versions_that_begin_together_are_refused(tmp_path: Path) -> None:
    one = version(tmp_path, "1.0.0", "2026-03-01T00:00:00Z")
    two = version(tmp_path, "2.0.0", "2026-03-01T00:00:00Z")

    assert "effective_from: begins at the same instant as 1.0.0.json" in faults_of([one, two])


def test_a_version_that_stands_twice_is_refused(tmp_path: Path) -> None:
    one = version(tmp_path, "1.0.0", "2026-03-01T00:00:00Z", "2026-06-01T00:00:00Z")
    two = tmp_path / "copy.json"
    document = json.loads(one.read_text(encoding="utf-8"))
    document |= {"effective_from": "2026-06-01T00:00:00Z", "effective_to": None}
    two.write_text(json.dumps(document), encoding="utf-8")

    message = faults_of([one, two])

    assert "'2026-01-01.v1.0.0' is also the version of 1.0.0.json" in message


def test_the_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    one = version(tmp_path, "one", "2026-03-01T00:00:00Z")
    two = version(tmp_path, "two", "2026-03-01T00:00:00Z")

    message = faults_of([one, two])

    assert "one.json:1:" in message
    assert "two.json:1:" in message


def test_no_files_are_no_versions() -> None:
    assert load_pricings([]) == ()


def test_zone_and_tax_are_read(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document["timezone"] = "Asia/Seoul"
        document["currency"] = {"code": "USD", "symbol": "$", "tax_behavior": "inclusive"}

    pricing = changed_pricing(tmp_path, change)

    assert pricing.timezone == "Asia/Seoul"
    assert pricing.currency.minor_digits == 2
    assert pricing.currency.tax_inclusive
    assert pricing.tiers["STARTER"].ladders["monthly_dc"].window.timezone == "Asia/Seoul"
