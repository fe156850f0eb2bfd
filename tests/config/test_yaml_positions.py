"""YAML with places: every value has a line and a column, and nothing dangerous gets in."""

from decimal import Decimal

import pytest

from gateway.config.yaml_positions import dotted, parse
from gateway.errors import ConfigError


def test_every_value_has_its_place() -> None:
    document = parse("a:\n  b: [1, two]\nc: 0.5\n", "f", {})

    assert document.data == {"a": {"b": [1, "two"]}, "c": Decimal("0.5")}
    assert document.positions[("a", "b", 1)] == (2, 10)
    assert str(document.fault(("a", "x"), "gone")) == "f:2:3: a.x: gone"
    assert dotted(("routes", 0, "name")) == "routes[0].name"


def test_variables_fill_strings_only() -> None:
    document = parse("a: redis://:${PW}@h\nb: ${PW}\n", "f", {"PW": "x: [1]"})

    assert document.data == {"a": "redis://:x: [1]@h", "b": "x: [1]"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2\n", "f:2:1: a: this key is given twice"),
        ("a:\n\tb: 1\n", "f:2:1: (file): not valid YAML"),
        ("a: ${GONE}", "f:1:4: a: the environment variable GONE is not set"),
        ("? [1]\n: 2\n", "f:1:3: (file): a key has to be a plain string"),
        ("a: !!binary aGk=\n", "have no place here"),
        ("a: !!python/object:os.system x\n", "have no place here"),
        ("a: .inf", "not a plain number"),
        ("[" * 60 + "]" * 60, "too large or too deep"),
    ],
)
def test_what_a_configuration_must_not_hold_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", {})

    assert told in caught.value.message


def test_small_file_can_not_become_a_large_one() -> None:
    """The alias bomb."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    with pytest.raises(ConfigError, match="too large"):
        parse("\n".join(lines), "f", {})
