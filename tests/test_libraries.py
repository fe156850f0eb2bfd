"""X7: the libraries that the requirements name are used, and none is carried along unused."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

MODULES = {
    "http-sf": "http_sf", "mypy-extensions": "mypy_extensions", "psycopg": "psycopg",
    "prometheus-client": "prometheus_client", "pyyaml": "yaml",
}  # fmt: skip
"""Where the module is not called as its package is."""

NOT_IMPORTED = {
    "redis",  # the client of tests; the product has a link of its own over hiredis (decision 3)
    "tzdata",  # zoneinfo reads it where the machine has no time zones
}
"""Packages that an installation brings and no module of the product imports, with the reason."""

NAMED = {"aiohttp", "uvloop", "redis", "pydantic", "jsonschema", "orjson", "pyyaml"}
"""By the requirement; pytest-aiohttp beside them, for tests."""


def imported_in(folder: str) -> set[str]:
    def names() -> Iterator[str]:
        for source in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module

    return {name.partition(".")[0] for name in names()}


def packages(lines: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;~ ]", line)[0] for line in lines}


RUNTIME = packages(PROJECT["dependencies"])
DEV = packages(PROJECT["optional-dependencies"]["dev"])


def module_of(package: str) -> str:
    return MODULES.get(package, package.replace("-", "_"))


def test_what_is_installed_is_imported_or_has_a_reason() -> None:
    imported = imported_in("gateway") | imported_in("upstream_stubs")

    assert {name for name in RUNTIME if module_of(name) not in imported} == NOT_IMPORTED


def test_the_named_libraries_are_used() -> None:
    used = imported_in("gateway")

    assert NAMED <= RUNTIME
    assert {name for name in NAMED if module_of(name) not in used} == {"redis"}
    assert "redis" in imported_in("tests")
    assert "hiredis" in used
    assert "pytest-aiohttp" in DEV
    assert "aiohttp_client" in (ROOT / "tests/admin/test_metrics.py").read_text(encoding="utf-8")
