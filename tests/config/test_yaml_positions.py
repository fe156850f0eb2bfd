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
        ("a: u:${DB-PASS}@h", "f:1:4: a: ${ begins no variable here"),
        ("a: [b, '${PASS:-x}']", "f:1:8: a[1]: ${ begins no variable here"),
        ("a: ${GONE", "f:1:4: a: ${ begins no variable here"),
        ("? [1]\n: 2\n", "f:1:3: (file): a key has to be a plain string"),
        ("a: !!binary aGk=\n", "the tag !!binary can't be used here"),
        ("a: !!python/object:os.system x\n", "can't be used here"),
        ("a: .inf", "f:1:4: a: .inf is not a plain decimal number"),
        ("a: 010", "010 is not a plain decimal number"),
        ("a: 0x_", "0x_ is not a plain decimal number"),
        ("a: !!int one", "one is not a plain decimal number"),
        ("a: " + "9" * 5000, "is not a plain decimal number"),
        ("a: 0.2_5", "0.2_5 is not a plain decimal number"),
        ("[" * 60 + "]" * 60, "f:1:33: (file): nested deeper than 32 levels"),
        ("a: &a [1, *a]", "too large or too deep"),
        ("\u00e9: 1\nb: \0", "f:2:4: (file): not valid YAML: the character U+0000"),
        ("a: 1\n---\nb: 1\n", "f:2:1: (file): not valid YAML"),
    ],
)
def test_what_a_configuration_must_not_hold_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", {})

    assert told in caught.value.message


def test_what_fills_a_string_is_taken_as_it_is() -> None:
    """A password may hold what would mean a variable in the file."""
    assert parse("a: ${PW}", "f", {"PW": "${x"}).data == {"a": "${x"}


def test_bytes_of_a_variable_that_are_no_text_are_told() -> None:
    with pytest.raises(ConfigError, match="f:1:4: a: the environment variable PW is not UTF-8"):
        parse("a: ${PW}", "f", {"PW": "secret\udcff"})


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("off", "off"), ("Yes", "Yes"), ("!!bool maybe", "maybe"), ("1:30", "1:30"),
        ("1e3", "1e3"), ("2026-02-14", "2026-02-14"), ("true", True), ("False", False),
        ("~", None), ("-7", -7), (".5", Decimal("0.5")), ("$5", "$5"),
    ],
)  # fmt: skip
def test_plain_values_mean_what_they_look_like(text: str, data: object) -> None:
    """YAML 1.2: YAML 1.1 would make off a boolean and 1:30 ninety."""
    assert parse(f"a: {text}", "f", {}).data == {"a": data}


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_deep_file_is_refused_before_it_can_end_the_process(opening: str) -> None:
    """The composer of libyaml recurses: 200,000 levels overflow the stack of C."""
    with pytest.raises(ConfigError, match="nested deeper"):
        parse(opening * 200_000, "f", {})


def test_small_file_can_not_become_a_large_one() -> None:
    """The alias bomb."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    with pytest.raises(ConfigError, match="too large"):
        parse("\n".join(lines), "f", {})
