"""One version: what the gateway says of itself is what the package is."""

import tomllib
from pathlib import Path

from gateway.telemetry.version import VERSION

ROOT = Path(__file__).parents[2]


def test_the_gateway_says_the_packages_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION
