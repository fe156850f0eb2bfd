"""A member that decides something is one that every reader of JSON finds, and is read exactly."""

import json
from collections import Counter
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import Refusal
from gateway.http.json_bodies import (
    JsonBody,
    NumberText,
    quantity_of,
    refuse_coded,
    refuse_forms,
    require_charset,
)
from gateway.http.usage import UnreadableValue
from gateway.rules.units import MICRO, QUANTITY_UNITS_MAX


def micro(text: str, *pointer: str) -> int:
    return quantity_of(JsonBody(text.encode()).at(pointer or ("n",)))


# Where a member stands


def test_a_pointer_follows_members_and_items() -> None:
    body = JsonBody(b'{"a":{"b":[10,{"c":3}]},"":1,"a/b":2,"\xc3\xa9":4,"01":5}')

    assert body.at(("a", "b", "1", "c")) == 3
    assert body.at(("",)) == 1
    assert body.at(("a/b",)) == 2
    assert body.at(("\u00e9",)) == 4
    assert body.at(("01",)) == 5
    for absent in (("a", "x"), ("a", "b", "9"), ("a", "b", "-1"), ("a", "b", "-"), ("x", "a")):
        assert body.at(absent) is None
    for no_index in ("01", "\u0661", "1_0", "4294967297", "1000000000000"):
        assert body.at(("a", "b", no_index)) is None


def test_the_whole_body_may_be_the_member() -> None:
    assert JsonBody(b"[1]").at(()) == [1]
    assert JsonBody(b" 0.25 ").at(()) == NumberText("0.25")


@pytest.mark.parametrize(
    "raw",
    [
        *(b"{", b"", b"{} {}", b"[1,]", b'{"n":1,}', b"{'n':1}", b'{"n":NaN}', b'{"n":Infinity}'),
        *(b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"n":"\xff"}', b'{"n":"\\ud800"}', b"{}\x00"),
        *(b'{"n":1} // why', b'/* why */{"n":1}', b'{"n":01}', b'{"n":+1}', b'{"n":.5}'),
        *(b'{"n":1e400}', b'{"n":' + b"9" * 400 + b"}", b"[" * 2000 + b"]" * 2000),
    ],
)
def test_what_some_readers_refuse_is_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableValue, match="not valid JSON"):
        JsonBody(raw)


# Names that stand twice


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"n":100,"n":1}', "n"), ('{"n":1,"n":1}', "n"), ('{"n" : 1 ,\n"n"\t:null}', "n"),
        (r'{"\u006e":100,"n":1}', "n"), (r'{"n":100,"\u006E":1}', "n"),
        (r'{"\u006e":1,"\u006e":2}', "n"), (r'{"a\/b":1,"a/b":2}', "a~1b"),
        (r'{"\ud83d\ude00":1,"😀":2}', "😀"), (r'{"\"":1,"\u0022":2}', '"'),
        (r'{"\\":1,"\u005c":2}', "\\"),
        ('{"a":{"n":1},"a":{}}', "a/n"), ('{"a":{},"a":{"n":1}}', "a/n"),
        ('{"a":{"n":1,"n":2}}', "a/n"), ('{"a":{"a":1,"a":2}}', "a/a"),
        ('{"a":[0,{"n":1,"n":2}]}', "a/1/n"), ('{"a":[{"n":1}],"a":[]}', "a/0/n"),
        ('[{"n":1,"n":2}]', "0/n"), ('{"n":1,"x":{"n":3},"n":2}', "n"),
        ('{"n":null,"n":null}', "n"), ('{"n":1,"x":"\\n","n":2}', "n"),
    ],
)  # fmt: skip
def test_a_name_that_stands_twice_on_the_way_makes_the_member_unreadable(
    text: str, pointer: str
) -> None:
    tokens = tuple(token.replace("~1", "/") for token in pointer.split("/"))

    with pytest.raises(UnreadableValue, match="more than once"):
        JsonBody(text.encode()).at(tokens)


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"n":7,"x":{"n":3}}', "n"), ('{"x":[{"n":3},{"n":4}],"n":7}', "n"),
        ('{"n":7,"x":{"n":3,"n":4}}', "n"), ('{"x":1,"x":2,"n":7}', "n"),
        ('{"n":7,"N":8}', "n"), ('{"n":7,"x":"n","y":["n","n"]}', "n"),
        (r'{"n":7,"x":"\",\"n\":9"}', "n"), (r'{"n":7,"x":"\\","y":"\"n\":1"}', "n"),
        (r'{"n":7,"\u006fther":1}', "n"), (r'{"\u006e":7}', "n"), ('{"a":{"a":7}}', "a/a"),
        ('{"a":[{"n":1},{"n":7}]}', "a/1/n"), ('{"a":{"n":7},"b":{"n":1,"n":2}}', "a/n"),
        ('{"é":7,"e\u0301":1}', "é"),
    ],
)  # fmt: skip
def test_what_stands_beside_the_way_may_repeat_itself(text: str, pointer: str) -> None:
    assert JsonBody(text.encode()).at(tuple(pointer.split("/"))) == 7


@pytest.mark.parametrize(
    ("text", "name"), [('{"k":"",",":1.5}', ","), ('{"k":"",",":[1.5],":":1.5}', ":")]
)
def test_a_name_may_look_like_what_stands_between_two_strings(text: str, name: str) -> None:
    assert JsonBody(text.encode()).at((name,)) == NumberText("1.5")


class Several(list[tuple[str, Any]]):
    """An object as the reference reads it: all its members."""


def reference(raw: str, pointer: tuple[str, ...]) -> object:
    """Return what the slow, obvious reader finds; ``...`` where a name stands twice."""
    found: Any = json.loads(
        raw, object_pairs_hook=Several, parse_float=NumberText, parse_int=NumberText
    )
    for token in pointer:
        if isinstance(found, Several):
            if Counter(name for name, _ in found)[token] > 1:
                return ...
            found = dict(found).get(token)
        elif isinstance(found, list) and token in {str(index) for index in range(len(found))}:
            found = found[int(token)]
        else:
            return None
    return found


NAMES = st.sampled_from(["n", "a", "0", "", "é", "\\", '"', "n\n", "😀"])


def written(name: str, *, is_escaped: bool) -> str:
    if not is_escaped:
        return json.dumps(name, ensure_ascii=False)
    units = name.encode("utf-16-be")
    pairs = zip(units[::2], units[1::2], strict=True)
    return '"' + "".join(f"\\u{high:02x}{low:02X}" for high, low in pairs) + '"'


QUOTED = st.builds(written, NAMES, is_escaped=st.booleans())
NUMBERS = st.sampled_from(
    ["0", "-0", "7", "0.1", "12.3456789", "1e-7", "-2.5E+1", "36893488147419103232"]
)
BLANKS = st.sampled_from(["", " ", "\n", "\t\r "])
TEXTS = st.recursive(
    st.one_of(NUMBERS, QUOTED, st.sampled_from(["true", "null", '"\\"n\\":1"', '"x"'])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.tuples(QUOTED, BLANKS, inner), max_size=5).map(
            lambda pairs: (
                "{" + ",".join(f"{name}{blank}:{blank}{item}" for name, blank, item in pairs) + "}"
            )
        ),
    ),
    max_leaves=12,
)


@given(TEXTS, st.lists(NAMES, max_size=3).map(tuple))
@example('{"a":[0.5],"0":7.25}', ("a", "0"))
@example('{"n":0.25,"x":"\\n"}', ("n",))
def test_it_finds_what_the_obvious_reader_finds(raw: str, pointer: tuple[str, ...]) -> None:
    expected = reference(raw, pointer)
    body = JsonBody(raw.encode())
    if expected is ...:
        with pytest.raises(UnreadableValue, match="more than once"):
            body.at(pointer)
        return
    found = body.at(pointer)
    if isinstance(expected, NumberText):
        as_text = found.text if isinstance(found, NumberText) else str(found)
        assert as_text == (expected.text if expected.text != "-0" else "0")
    elif not isinstance(expected, list | Several):
        assert found == expected


def test_a_text_of_a_megabyte_is_read_in_no_time_to_speak_of() -> None:
    """Each would take minutes if it were looked at from each of its ends."""
    quotes = '{"n":1,"x":"' + '\\"n\\":' * 150_000 + '"}'
    escaped = '{"n":1,"x":[' + ",".join(['"\\n"'] * 200_000) + "]}"
    objects = '{"n":1,"n":2,"x":[' + ",".join(["{}"] * 300_000) + "]}"

    assert micro(quotes) == micro(escaped) == MICRO
    with pytest.raises(UnreadableValue):
        micro(objects)


def test_what_is_nested_too_deeply_to_be_looked_at_closely_is_refused() -> None:
    with pytest.raises(UnreadableValue, match="too deeply"):
        micro('{"n":1,"n":1,"x":' + "[" * 1020 + "]" * 1020 + "}")


# Quantities


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("7", 7 * MICRO), ("0", 0), ("-0", 0), ("-0.0", 0), ("0.25", 250_000),
        ("1E+2", 100 * MICRO),
        ("0.30000000000000004", 300_001), ("12.3456789", 12_345_679), ("1e-7", 1), ("1e-400", 1),
        ("12.34567800000000000000000001", 12_345_679), ("8589934592.000001", 8_589_934_592_000_001),
        ("0." + "3" * 400, 333_334), ("9000000000.0", QUANTITY_UNITS_MAX * MICRO),
    ],
)  # fmt: skip
@pytest.mark.parametrize("around", ['{{"n":{}}}', '{{"n":{},"x":{{"n":1}}}}', '{{"\\u006e": {} }}'])
def test_a_number_is_read_exactly_and_rounded_up(around: str, number: str, expected: int) -> None:
    assert micro(around.format(number)) == expected


@pytest.mark.parametrize(
    "value",
    ["-1", "-0.5", "true", '"7"', "[]", "{}", '""', "1e30", "1e300", "9000000001",
     "9000000000.0000001", "18446744073709551616", "-18446744073709551616", "9" * 300],
)  # fmt: skip
def test_a_value_that_is_no_quantity_is_refused(value: str) -> None:
    with pytest.raises(UnreadableValue, match="expected"):
        micro('{"n":' + value + "}")


@given(st.from_regex(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_a_number_is_never_read_lower_than_it_is_written(text: str) -> None:
    with localcontext(prec=300):
        exact = Decimal(text) * MICRO
        if exact > QUANTITY_UNITS_MAX * MICRO:
            with pytest.raises(UnreadableValue):
                micro('{"n":' + text + "}")
        else:
            assert 0 <= micro('{"n":' + text + "}") - exact < 1


# What a body is declared to be


@pytest.mark.parametrize("codings", [[], [b""], [b"identity"], [b" Identity , identity", b""]])
def test_a_plain_body_is_read(codings: list[bytes]) -> None:
    refuse_coded(codings)


@pytest.mark.parametrize(
    ("codings", "named"),
    [
        ([b"gzip"], "gzip"), ([b"identity", b"BR"], "br"), ([b"identity, zstd"], "zstd"),
        ([b"x" * 1000], "x" * 40), ([b"\xff"], "\ufffd"),
    ],
)  # fmt: skip
def test_a_coded_body_is_refused_by_name(codings: list[bytes], named: str) -> None:
    with pytest.raises(Refusal) as refused:
        refuse_coded(codings)

    assert refused.value.code.value == "content_coding_unsupported"
    assert f"coding {named} " in refused.value.facts["detail"]


@pytest.mark.parametrize(
    ("declared", "raw"),
    [
        (b"application/json", b"\xc3\xa9"), (b"application/json; charset=UTF-8", b"\xc3\xa9"),
        (b'application/json;charset="utf8"', b"\xc3\xa9"), (b"", b"{}"),
        (b"text/plain; charset=ISO-8859-1", b"{}"), (b"text/plain; x=charset", b"\xc3\xa9"),
    ],
)  # fmt: skip
def test_a_charset_that_means_the_same_is_read(declared: bytes, raw: bytes) -> None:
    require_charset([declared], raw)


@pytest.mark.parametrize(
    ("declared", "raw"),
    [
        (b"application/json; charset=utf-16", b"{}"), (b"application/json; Charset = utf-7", b"{}"),
        (b"application/json; a=b; charset=shift_jis", b"{}"),
        (b"a; charset=iso-8859-1", b"\xc3\xa9"), (b"a; charset=utf-8; charset=ibm037", b"{}"),
    ],
)  # fmt: skip
def test_a_charset_that_may_mean_something_else_is_refused(declared: bytes, raw: bytes) -> None:
    with pytest.raises(UnreadableValue, match="JSON is UTF-8"):
        require_charset([declared], raw)


FORM = b"application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("types", "raw"),
    [
        ([FORM], b'{"n":1}'), ([FORM], b'{"n":1,"x":"&n&"}'), ([], b'{"n":"="}'),
        ([b"application/json"], b'{"n":1,"x":"&n=100&"}'), ([b"text/plain"], b'{"n":"a=b"}'),
    ],
)  # fmt: skip
def test_json_is_read_whatever_it_is_declared_to_be(types: list[bytes], raw: bytes) -> None:
    refuse_forms(types, raw)


@pytest.mark.parametrize(
    "types",
    [
        [FORM], [FORM.upper() + b"; charset=utf-8"], [b"application/json", FORM],
        [b"application/json, " + FORM],
    ],
)  # fmt: skip
def test_json_that_is_a_form_of_other_members_is_refused(types: list[bytes]) -> None:
    with pytest.raises(UnreadableValue, match="declared as a form"):
        refuse_forms(types, b'{"n":1,"x":"&n=100&"}')
