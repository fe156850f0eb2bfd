"""What changed between two settings is told by the options that an operator wrote."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config.loaded import ListenerTls, Settings, changed_options
from gateway.config.settings import load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings() -> Settings:
    return load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={}).settings


def test_nothing_changed(settings: Settings) -> None:
    assert changed_options(settings, settings) == []


def test_each_option_is_told_by_its_name(settings: Settings) -> None:
    new = replace(settings, drain_seconds=1.5, uses_huge_pages=False, ship_interval_seconds=9.0)

    assert changed_options(settings, new) == ["drain", "huge_pages", "shipper.interval"]


def test_what_follows_from_another_option_is_not_told_beside_it(settings: Settings) -> None:
    elsewhere, other = "postgresql://h/other", "sqlite:///elsewhere/ledger.db"
    moved = replace(settings, data_dir=Path("elsewhere"), ledger=other, keys=other)
    bound = replace(settings, journal_bytes_max=400, keep_shipped_bytes_max=100)

    assert changed_options(settings, moved) == ["data_dir"]
    assert changed_options(settings, bound) == ["journal.max_bytes"]
    assert changed_options(settings, replace(settings, ledger=elsewhere)) == ["ledger"]
    both = replace(settings, ledger=elsewhere, keys=elsewhere)
    assert changed_options(settings, both) == ["ledger"]
    assert changed_options(settings, replace(settings, keys="file:k")) == ["keys"]
    assert changed_options(settings, replace(settings, keep_shipped_bytes_max=1)) == [
        "journal.keep_shipped_bytes"
    ]


def test_of_tls_only_what_changed_is_told(settings: Settings) -> None:
    first = replace(settings, tls=ListenerTls(Path("c"), Path("k"), None))
    second = replace(settings, tls=ListenerTls(Path("c"), Path("k2"), Path("ca")))

    assert changed_options(first, second) == ["tls_client_ca", "tls_key"]
    assert changed_options(settings, first) == ["tls_certificate", "tls_key"]
