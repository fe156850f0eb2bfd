"""The pull parser: each reading method consumes one node, right or wrong."""

import pytest

from gateway.errors import ConfigError
from gateway.keys.yaml_events import FAULTS_MAX, YamlEvents

NAMES = frozenset({"a", "b"})


def test_members_items_and_texts_are_read_in_one_pass() -> None:
    events = YamlEvents("a: [x, '~', \"1\"]\nb: ~\n", "f.yaml")
    read: dict[str, object] = {}

    def document(path: str) -> None:
        for name in events.members(path, NAMES):
            if name == "a":
                read["a"] = [(item, events.text(item, "text")) for item in events.items(name)]
            else:
                read["b"] = events.optional_text(name, "text")

    events.read(document)
    assert read == {"a": [("a[0]", "x"), ("a[1]", "~"), ("a[2]", "1")], "b": None}


def test_what_follows_a_wrong_node_is_read_on() -> None:
    events = YamlEvents("a: {deep: [1, {x: 2}]}\nc: [[]]\nb: fine\n", "f.yaml")
    read = []

    def document(path: str) -> None:
        for name in events.members(path, NAMES):
            read.append(events.text(name, "text"))

    with pytest.raises(ConfigError) as caught:
        events.read(document)
    assert read == [None, "fine"]
    assert [str(fault) for fault in caught.value.faults] == [
        "f.yaml:1:4: a: a mapping can't stand here (text)",
        "f.yaml:2:1: c: this key is not known here (one of a, b)",
    ]


def test_a_file_of_another_kind_does_not_flood_the_log() -> None:
    events = YamlEvents("\n".join(f"name{n}: 1" for n in range(10_000)), "f.yaml")
    with pytest.raises(ConfigError) as caught:
        events.read(lambda path: list(events.members(path, NAMES)).clear())
    assert len(caught.value.faults) == FAULTS_MAX
