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


def test_of_tls_only_what_changed_is_told(settings: Settings) -> None:
    first = replace(settings, tls=ListenerTls(Path("c"), Path("k"), None))
    second = replace(settings, tls=ListenerTls(Path("c"), Path("k2"), Path("ca")))

    assert changed_options(first, second) == ["tls_client_ca", "tls_key"]
    assert changed_options(settings, first) == ["tls_certificate", "tls_key"]
