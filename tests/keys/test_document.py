"""A keys document is taken whole or refused whole, every mistake with its place (B3)."""

import hashlib
import json

import pytest

from gateway.errors import ConfigError, Fault
from gateway.keys.document import parse_document
from gateway.keys.port import WorkspaceStatus

ONE = hashlib.sha256(b"one").hexdigest()
TWO = hashlib.sha256(b"two").hexdigest()

FULL = f"""\
version: 1
workspaces:
  - keys:
      - name: backend
        features: []
        cidrs: [10.0.0.0/8, "2001:db8::/32"]
        revoked_at: ~
        expires_at: 2027-01-01T09:00:00+09:00
        prefix: egw_live_9xAb
        sha256: {ONE.upper()}
        id: no
    status: suspended
    plan: STARTER
    id: 0123
  - id: empty
    plan: FREE
    keys: []
"""


def faults(text: str) -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "keys.yaml")
    return caught.value.faults


def places(text: str) -> list[tuple[int, int, str]]:
    return [(fault.line, fault.column, fault.path) for fault in faults(text)]


def key_document(*lines: str) -> str:
    start = ["version: 1", "workspaces:", "- id: acme", "  plan: FREE", "  keys:"]
    return "\n".join([*start, *(f"  {line}" for line in lines), ""])


def test_every_member_is_read_in_any_order_and_names_stay_text() -> None:
    (entry,) = parse_document(FULL, "keys.yaml").values()
    assert (entry.key_id, entry.workspace_id, entry.plan) == ("no", "0123", "STARTER")
    assert entry.workspace_status is WorkspaceStatus.SUSPENDED
    assert entry.key_hash == bytes.fromhex(ONE)
    assert entry.prefix == "egw_live_9xAb"
    assert entry.expires_at_micro == 1_798_761_600_000_000
    assert entry.revoked_at_micro is None
    assert entry.features == frozenset()
    assert [str(network) for network in entry.networks] == ["10.0.0.0/8", "2001:db8::/32"]


def test_json_is_read_as_well() -> None:
    keys = [{"id": "k", "sha256": ONE}]
    text = json.dumps({"version": 1, "workspaces": [{"id": "a", "plan": "P", "keys": keys}]})
    assert list(parse_document(text, "keys.json")) == [bytes.fromhex(ONE)]


def test_every_fault_is_told_at_once_each_with_line_and_column() -> None:
    text = key_document(
        "- id: a{b}",
        f"  sha256: {ONE}",
        "- id: second",
        "  sha256: short",
        "  colour: red",
        "  expires_at: tomorrow",
        "  cidrs: [10.0.0.1/8]",
    )
    found = places(text)
    assert (6, 9, "workspaces[0].keys[0].id") in found
    assert (9, 13, "workspaces[0].keys[1].sha256") in found
    assert (10, 5, "workspaces[0].keys[1].colour") in found
    assert (11, 17, "workspaces[0].keys[1].expires_at") in found
    assert (12, 13, "workspaces[0].keys[1].cidrs[0]") in found


def test_a_secret_written_in_place_of_its_hash_is_not_repeated() -> None:
    """A key in the log would be a leaked key."""
    secret = "egw_live_0123456789abcdefghijklmnopqr"
    (fault, *_) = faults(key_document("- id: a", f"  sha256: {secret}"))
    assert secret not in str(fault)


@pytest.mark.parametrize("instant", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+23:59"])
def test_any_instant_is_one(instant: str) -> None:
    """Some write the year 9999 for never, and may go on doing so."""
    text = FULL.replace("2027-01-01T09:00:00+09:00", instant)

    (entry,) = parse_document(text, "keys.yaml").values()

    assert entry.expires_at_micro is not None
    assert abs(entry.expires_at_micro) > 60_000_000_000_000_000


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["- id: a", f"  sha256: {ONE}", "- id: a", f"  sha256: {TWO}"], "a is given twice"),
        (["- id: a", f"  sha256: {ONE}", "- id: b", f"  sha256: {ONE}"], "key is given twice"),
        (["- id: a", f"  sha256: {ONE}", "  id: b"], "given twice"),
        (["- id: a"], "sha256 is missing in the entry"),
        (["- id: a", f"  sha256: {ONE}", "  expires_at: 2027-01-01T00:00:00"], "not an instant"),
        (["- id: a", f"  sha256: {ONE}", "  features: replay"], "a text can't stand here (a list)"),
        (["- id: ~", f"  sha256: {ONE}"], "is empty"),
        ([f"- &anchor {{id: a, sha256: {ONE}}}"], "anchors"),
        ([f"- {{id: !!str a, sha256: {ONE}}}"], "tags"),
    ],
)
def test_a_mistake_is_named(lines: list[str], told: str) -> None:
    assert told in "\n".join(str(fault) for fault in faults(key_document(*lines)))


def test_a_wrong_member_is_not_called_missing_as_well() -> None:
    text = "version: 1\nworkspaces:\n- id: a b\n  plan: P\n  keys: [{id: k, sha256: x}]\n"

    assert [(fault.path, fault.message) for fault in faults(text)] == [
        ("workspaces[0].id", "not an id: it holds a space"),
        ("workspaces[0].keys[0].sha256", "not a SHA-256"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("workspaces: []\n", "version is missing"),
        ("version: 1\nworkspaces: [\n", "not YAML"),
        ("version: 1\nworkspaces: []\n---\nversion: 1\n", "second document"),
        ("- 1\n", "a list can't stand here (a mapping)"),
        ("version: 1\nworkspaces:\n", "workspaces: given, but empty (a list)"),
        ("version: 1\nworkspaces:\n- {id: a, plan: P, keys: [], status: gone}\n", "status"),
        ("version: 1\nworkspaces:\n- &w {id: a, plan: P}\n- *w\n", "aliases"),
        ("version: 1\nworkspaces: [\x00]\n", "not YAML"),
    ],
)
def test_a_document_of_the_wrong_shape_is_refused(text: str, told: str) -> None:
    assert told in "\n".join(str(fault) for fault in faults(text))
