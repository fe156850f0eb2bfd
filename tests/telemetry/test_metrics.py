"""Every number of a worker is written somewhere: one that is never counted is a lie."""

import ast
import dataclasses
from pathlib import Path

import pytest

from gateway.telemetry import metrics

GATEWAY = Path(metrics.__file__).parents[1]
GROUPS = {
    "store": metrics.StoreStats,
    "journal": metrics.JournalStats,
    "shipper": metrics.ShipperStats,
    "directory": metrics.DirectoryStats,
    "worker": metrics.WorkerStats,
}


def written() -> set[str]:
    """Return the attributes that any module sets, adds to, or fills as a mapping."""
    found = set()
    for source in GATEWAY.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(attr=name, ctx=ast.Store()):
                    found.add(name)
                case ast.Subscript(value=ast.Attribute(attr=name), ctx=ast.Store()):
                    found.add(name)
                case ast.Assign(value=ast.Attribute(attr=name)):  # an alias that is filled
                    found.add(name)
                case ast.Call(args=arguments):  # handed to what fills it
                    found |= {item.attr for item in arguments if isinstance(item, ast.Attribute)}
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_every_number_is_counted_somewhere(group: str) -> None:
    names = {field.name for field in dataclasses.fields(GROUPS[group])}

    assert sorted(names - written()) == []


def test_the_rule_finds_a_number_that_nobody_counts() -> None:
    assert "connections_ever_dreamt_of" not in written()
    assert "connections_accepted" in written()


def test_the_groups_are_all_of_them() -> None:
    assert {field.name for field in dataclasses.fields(metrics.Stats)} == set(GROUPS)
