"""Keys at the command line: the secret is shown once (B2), rotation overlaps (1.7)."""

import re
import subprocess
import sys

import pytest
import yaml

from gateway.cli.keys import _ends_at_micro, _state
from gateway.keys.format import has_valid_form, hash_secret
from gateway.keys.port import KeyDescription
from tests.support.operator_desk import OperatorDesk


@pytest.fixture
def acme(desk: OperatorDesk) -> OperatorDesk:
    desk.run("workspaces", "create", "acme", "--plan", "STARTER")
    return desk


def test_a_secret_is_shown_once_and_never_again(acme: OperatorDesk) -> None:
    created = acme.json("keys", "create", "acme", "--name", "ci", "--environment", "test")

    assert has_valid_form(created["secret"].encode())
    assert created["prefix"].startswith("egw_test_")
    listed = acme.run("keys", "list", "--json") + acme.run("keys", "list")
    assert created["key_id"] in listed
    assert created["secret"] not in listed
    assert created["secret"] not in acme.told


def test_a_key_carries_what_was_asked_for(acme: OperatorDesk) -> None:
    created = acme.json(
        "keys", "create", "acme", "--expires", "90d", "--feature", "replay", "--network",
        "10.0.0.0/8", "--network", "2001:db8::/32",
    )  # fmt: skip

    assert created["features"] == ["replay"]
    assert created["networks"] == ["10.0.0.0/8", "2001:db8::/32"]
    assert created["expires_at"] is not None


def test_a_revoked_key_is_listed_as_revoked(acme: OperatorDesk) -> None:
    key_id = acme.json("keys", "create", "acme")["key_id"]

    assert acme.json("keys", "revoke", key_id)["state"] == "revoked"
    (listed,) = acme.json("keys", "list", "--workspace", "acme")
    assert listed["state"] == "revoked"


def test_a_rotated_key_ends_after_the_overlap(acme: OperatorDesk) -> None:
    old = acme.json("keys", "create", "acme", "--name", "ci")

    new = acme.json("keys", "rotate", old["key_id"], "--overlap", "1h")

    assert new["secret"] != old["secret"]
    assert f"The old key {old['key_id']} is refused from" in acme.told
    states = {key["key_id"]: key["state"] for key in acme.json("keys", "list")}
    assert states == {old["key_id"]: "ending", new["key_id"]: "active"}
    ends = next(key for key in acme.json("keys", "list") if key["key_id"] == old["key_id"])
    assert ends["ends_at"] == ends["revoked_at"]
    assert ends["ends_at"] in acme.told_of("keys", "list", old["key_id"])


def test_a_list_says_when_it_is_cut(acme: OperatorDesk) -> None:
    for _ in range(3):
        acme.run("keys", "create", "acme")

    assert len(acme.json("keys", "list", "--limit", "2")) == 2
    assert "There are more than these 2" in acme.told
    assert len(acme.json("keys", "list", "--limit", "3")) == 3
    assert "There are more" not in acme.told


@pytest.mark.parametrize(
    ("expires", "revoked", "ends"),
    [(None, None, None), (9, None, 9), (None, 9, 9), (5, 9, 5), (9, 5, 5)],
)
def test_a_key_ends_at_the_first_of_its_ends(
    expires: int | None, revoked: int | None, ends: int | None
) -> None:
    key = KeyDescription("key", "egw", "acme", "", 0, expires, revoked, None, None, ())

    assert _ends_at_micro(key) == ends


@pytest.mark.parametrize(
    ("expires", "revoked", "state"),
    [
        (None, None, "active"),
        (9, 9, "ending"),
        (5, 9, "expired"),
        (9, 5, "revoked"),
        (5, 5, "revoked"),
    ],
)
def test_a_state_is_that_of_the_first_end(
    expires: int | None, revoked: int | None, state: str
) -> None:
    key = KeyDescription("key", "egw", "acme", "", 0, expires, revoked, None, None, ())

    assert _state(key, 7) == state


def test_a_key_can_be_given_an_end(acme: OperatorDesk) -> None:
    key_id = acme.json("keys", "create", "acme")["key_id"]

    ending = acme.json("keys", "expire", key_id, "2098-01-31")
    assert ending["state"] == "ending"
    assert ending["ends_at"] == "2098-01-31T00:00:00Z"
    assert "2098-01-31T00:00:00Z" in acme.told_of("keys", "list", key_id)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["create", "nobody"], 1, "[workspace.unknown]"),
        (["revoke", "key_x"], 1, "[key.unknown]"),
        (["create", "acme", "--expires", "soon"], 2, "neither a duration"),
        (["create", "acme", "--network", "here"], 1, "[key.network_invalid]"),
    ],
)
def test_what_can_not_be_done_is_said(
    acme: OperatorDesk, arguments: list[str], code: int, told: str
) -> None:
    acme.run("keys", *arguments, expect=code)

    assert told in acme.told


@pytest.mark.parametrize("lost_to", [">/dev/full", "| true"])
def test_a_key_whose_secret_is_lost_is_named(acme: OperatorDesk, lost_to: str) -> None:
    """It exists and nobody has it: its owner must know which one to revoke."""
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gateway keys create acme {lost_to}"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    (key,) = acme.json("keys", "list")
    assert "[key.secret_lost]" in ended.stderr
    assert f"keys revoke {key['key_id']}" in " ".join(ended.stderr.split())
    assert "report this" not in ended.stderr


def test_a_key_for_a_file_is_printed_not_stored(desk: OperatorDesk) -> None:
    """B3: the entry to paste, the secret beside it, the file untouched."""
    path = desk.folder / "keys.yaml"
    path.write_text("version: 1\nworkspaces: []\n")

    out = desk.run("keys", "create", "acme", "--keys", "file:keys.yaml", "--name", "ci")
    found = desk.json("keys", "create", "acme", "--keys", "file:keys.yaml")

    assert "sha256: " in out
    assert "# the secret, for its owner: egw_live_" in out
    assert len(found["sha256"]) == 64
    assert path.read_text() == "version: 1\nworkspaces: []\n"
    assert desk.json("keys", "list", "--keys", "file:keys.yaml") == []


def test_keys_in_a_variable_are_listed_and_not_changed(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEYS", f"acme:STARTER:{'1' * 64}")
    (key,) = desk.json("keys", "list", "--keys", "env:SOME_KEYS")

    desk.run("keys", "revoke", key["key_id"], "--keys", "env:SOME_KEYS", expect=1)

    assert "[keys.read_only]" in desk.told


def test_a_written_key_is_rotated_on_paper(desk: OperatorDesk) -> None:
    """The new entry, the old one's end, the secret: nothing is stored and nothing is lost."""
    path = desk.folder / "keys.yaml"
    text = (
        "version: 1\nworkspaces:\n  - id: acme\n    plan: STARTER\n    keys:\n"
        f"      - {{id: old, sha256: {'1' * 64}, prefix: egw_test_aaaa, cidrs: [10.0.0.0/8]}}\n"
    )
    path.write_text(text)
    rotate = ("keys", "rotate", "old", "--keys", "file:keys.yaml")

    out = desk.run(*rotate)
    found = desk.json(*rotate, "--overlap", "0s")

    entries = yaml.safe_load(out)
    assert entries[0]["cidrs"] == ["10.0.0.0/8"]
    secret = re.search(r"# the secret, for its owner: (egw_test_\S+)", out)
    assert secret is not None
    assert hash_secret(secret[1].encode()).hex() == entries[0]["sha256"]
    assert "old key old" in out
    assert re.search(r"#   revoked_at: 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", out)
    assert found["replaces"] == "old"
    assert found["secret"] != secret[1]
    assert path.read_text() == text
    desk.run("keys", "rotate", "none", "--keys", "file:keys.yaml", expect=1)
    assert "[key.unknown]" in desk.told


def test_another_word_may_name_the_environment(acme: OperatorDesk) -> None:
    made = acme.json("keys", "create", "acme", "--environment", "staging")

    assert made["secret"].startswith("egw_staging_")
    acme.run("keys", "create", "acme", "--environment", "PROD", expect=1)
    assert "[key.environment_invalid]" in acme.told
