"""A mistake of one value hides no mistake between others, and makes none up."""

from pathlib import Path

import pytest

from gateway.config.settings import load
from gateway.errors import ConfigError
from tests.support.pricing_files import PRICING_FIXTURE

GOOD = """\
version: 1
pricing: pricing.json
policies:
  - {name: poll, window: 10s, cap: 5}
  - {name: slow, window: 20s, cap: 5}
upstreams:
  app: {endpoints: ["http://127.0.0.1:9"]}
  other: {endpoints: ["http://127.0.0.1:9"]}
routes:
  - {name: one, match: {methods: [GET], path: /one}, upstream: app, limits: [poll]}
  - {name: two, match: {methods: [GET], path: /two}, upstream: other, limits: [slow]}
  - {name: three, match: {methods: [GET], path: /three}, upstream: app, requires: [replay]}
"""


def faults(folder: Path, *changes: tuple[str, str]) -> list[str]:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "pricing.json").write_bytes(PRICING_FIXTURE.read_bytes())
    (folder / "gateway.yaml").write_text(text)
    try:
        load(folder / "gateway.yaml", environ={}, overrides={})
    except ConfigError as error:
        return [f"{fault.line} {fault.path}: {fault.message}" for fault in error.faults]
    return []


def test_the_file_is_good(tmp_path: Path) -> None:
    assert faults(tmp_path) == []


UNKNOWN = ("upstream: app, requires: [replay]", "upstream: ap, requires: [repla]")
TWO = [
    "12 routes[2].upstream: no upstream is called ap",
    "12 routes[2].requires[0]: no plan has the feature repla",
]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("version: 1", "version: true"), "1 version: true can't stand here"),
        (("version: 1\n", ""), "1 (file): version is missing"),
        (("version: 1", "version: 1\nnonsense: 1"), "2 nonsense: this key is not known here"),
        (("name: one", "name: o ne"), "10 routes[0].name: not a name: it holds a space"),
        (("name: one, ", ""), "10 routes[0]: name is missing"),
        (("path: /one", "path: one"), "10 routes[0].match.path: not the right form"),
        (("methods: [GET], path: /one", "path: /one"), "10 routes[0].match: methods is missing"),
        (("window: 10s", "window: soon"), "4 policies[0].window: 'soon' can't stand here"),
        (('"http://127.0.0.1:9"', "5"), "7 upstreams.app.endpoints[0]: a number can't stand here"),
        (("upstream: other", "upstream: other, tunnel: 5"),
         "11 routes[1].tunnel: a number can't stand here"),
    ],
)  # fmt: skip
def test_both_kinds_are_told_in_one_run(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    found = faults(tmp_path, UNKNOWN, change)

    shift = change[1].count("\n") - change[0].count("\n")
    expected = [f"{int(line.partition(' ')[0]) + shift}{line[2:]}" for line in TWO]
    assert sorted(found) == sorted([told, *expected])


def test_a_mistake_in_the_same_part_is_told_as_well(tmp_path: Path) -> None:
    assert faults(tmp_path, ("upstream: app, limits: [poll]", "upstream: ap, limit: [poll]")) == [
        "10 routes[0].upstream: no upstream is called ap",
        "10 routes[0].limit: this key is not known here",
    ]


@pytest.mark.parametrize("text", ["version: 1\n", "routes: 5\nupstreams: 5\n", "pricing: []\n"])
def test_too_little_is_no_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "gateway.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load(tmp_path / "gateway.yaml", environ={}, overrides={})
