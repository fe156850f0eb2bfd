"""A route file tells what it can, whatever is wrong with it."""

from pathlib import Path

import pytest

from gateway.config.route_document import RouteDocument, read_route_document

GOOD = """\
version: 1
pricing: [a.json, b.json]
keys: file:${FOLDER}/keys.yaml
tls_key: k.pem
upstreams: {u: {endpoints: ["http://h:1"]}}
routes: [{name: r, match: {methods: [GET], path: /}, upstream: u}]
"""


def read(text: str) -> RouteDocument:
    return read_route_document(text.encode(), Path("g.yaml"), {"FOLDER": "/etc"})


def test_a_sound_file_has_models_and_members() -> None:
    found = read(GOOD)

    assert found.faults == []
    assert found.file is not None
    assert found.pricing_names == ("a.json", "b.json")
    assert found.text("keys") == "file:/etc/keys.yaml"
    assert found.text("tls_certificate") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: ["),
        ("version: 1", "version: 1\nx: *y"),
        ("version: 1", "version: 1\n\tx: y"),
        ("routes: [", "routes: [["),
        ("version: 1", 'version: "1'),
    ],
)
def test_a_file_that_is_no_yaml_still_names_the_others(old: str, new: str) -> None:
    found = read(GOOD.replace(old, new))

    assert found.file is None
    assert len(found.faults) == 1
    assert found.pricing_names == ("a.json", "b.json")
    assert found.text("keys") == "file:/etc/keys.yaml"
    assert found.text("tls_key") == "k.pem"


def test_a_block_list_is_salvaged_too() -> None:
    found = read("pricing:\n  - a.json\n- b.json\nkeys: [\n")
    assert found.pricing_names == ()
    found = read("pricing:\n- a.json\n\n- b.json\nx: [\n")
    assert found.pricing_names == ("a.json", "b.json")


def test_what_is_not_utf8_is_told_with_its_line() -> None:
    found = read_route_document(b"pricing: a.json\n# \xff\n", Path("g.yaml"), {})

    assert [str(fault) for fault in found.faults] == [
        "g.yaml:2:1: (file): not UTF-8 (save the file as UTF-8)"
    ]
    assert found.pricing_names == ("a.json",)


def test_faults_of_the_text_and_of_the_models_are_told_together() -> None:
    found = read(GOOD.replace("upstream: u}", "uupstream: u, uupstream: x}") + "x: !!binary aGk=\n")

    assert sorted(fault.message for fault in found.faults) == [
        "the tag !!binary can't be used here",
        "this key is given twice",
        "upstream is missing",
    ]


def test_what_a_variable_filled_is_not_repeated() -> None:
    text = GOOD.replace("methods: [GET]", "methods: '${FOLDER}'") + "log_level: '${FOLDER}'\n"

    told = str(read(text).faults)

    assert "/etc" not in told
    assert "log_level" in told


@pytest.mark.parametrize("text", ["", "- a\n", "x\n", "{}\n"])
def test_what_is_no_route_file_is_a_fault(text: str) -> None:
    assert read(text).faults
