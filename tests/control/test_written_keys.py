"""Keys written by hand are read, judged against the plans, and printed to be pasted (B3)."""

from pathlib import Path

import pytest

from gateway.control.keys import KeyRequest, prepare_key
from gateway.control.written_keys import (
    entry_text,
    foreign_warnings,
    read_variable,
    read_written,
)
from gateway.errors import ConfigError, GatewayError
from gateway.keys.document import parse_document
from gateway.keys.port import KeyEntry
from tests.support.control_fakes import pricing
from tests.support.fake_clock import FakeClock
from tests.support.written_keys import write_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_keys(tmp_path)


def test_a_variable_that_is_not_set_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYS", raising=False)

    with pytest.raises(GatewayError, match="not set"):
        read_variable("KEYS")


@pytest.mark.parametrize("content", [None, b"\xff", b"version: 2\n"])
def test_a_file_that_can_not_be_used_is_a_fault_of_the_configuration(
    path: Path, content: bytes | None
) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    with pytest.raises(ConfigError):
        read_written(path)


def test_a_printed_entry_can_be_pasted_into_the_file() -> None:
    request = KeyRequest("acme", name="ci: nightly", features=("sso",), networks=("10.0.0.0/8",))
    created = prepare_key(pricing(), FakeClock(), request)

    lines = entry_text(created.key, "2027-01-01T00:00:00Z").splitlines()
    pasted = "version: 1\nworkspaces:\n- id: acme\n  plan: STARTER\n  keys:"
    pasted += "".join(f"\n  {line}" for line in lines) + "\n"

    (entry,) = parse_document(pasted, "keys.yaml").values()
    assert entry.key_id == created.key.key_id
    assert entry.key_hash == created.key.key_hash
    assert entry.features == frozenset({"sso"})
    assert created.secret not in pasted


OFF = "key 'k' was made elsewhere, as its prefix shows: it is refused unless"
ON = "1 key was made elsewhere; one is refused unless it has 16 to 512 bytes"


@pytest.mark.parametrize(
    ("prefix", "accepts_foreign", "told"),
    [
        ("egw_live_aaaa", False, None),
        ("egw_live_aaaa", True, None),
        ("", False, None),
        ("", True, None),
        ("sk-", False, OFF),
        ("sk-", True, ON),
    ],
)
def test_keys_made_elsewhere_are_told_by_their_prefix(
    prefix: str, accepts_foreign: bool, told: str | None
) -> None:
    entry = KeyEntry("k", b"h", prefix, "acme", "STARTER")

    found = foreign_warnings({b"h": entry}, accepts_foreign=accepts_foreign)

    assert [text.startswith(told or "?") for text in found] == [True] * (told is not None)
