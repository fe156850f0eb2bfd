"""B3: keys in a variable, for gateways without files or a database."""

import hashlib

import pytest

from gateway.errors import ConfigError
from gateway.keys.environment import EnvKeyDirectory
from gateway.telemetry.metrics import DirectoryStats

ONE = hashlib.sha256(b"legacy-token-0123456789").digest()
TWO = hashlib.sha256(b"two").digest()


def parse(text: str) -> EnvKeyDirectory:
    return EnvKeyDirectory.parse(text, variable="GATEWAY_KEYS", stats=DirectoryStats())


async def test_a_list_of_keys_is_read() -> None:
    directory = parse(f"acme:STARTER:{ONE.hex()}, beta:FREE:{TWO.hex().upper()}")
    await directory.start()
    first, second = await directory.find(ONE), await directory.find(TWO)
    await directory.close()
    assert first is not None
    assert second is not None
    assert (first.workspace_id, first.plan, first.key_id) == (
        "acme",
        "STARTER",
        f"key_{ONE.hex()[:12]}",
    )
    assert (second.workspace_id, second.plan) == ("beta", "FREE")


async def test_hits_and_unknown_keys_are_counted() -> None:
    stats = DirectoryStats()
    text = f"acme:STARTER:{ONE.hex()}"
    directory = EnvKeyDirectory.parse(text, variable="GATEWAY_KEYS", stats=stats)
    assert await directory.find(TWO) is None
    assert await directory.find(ONE) is not None
    assert (stats.hits, stats.unknown, stats.cached) == (1, 1, 1)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("", "three parts"),
        ("acme:STARTER", "three parts"),
        ("acme:STARTER:egw_live_secretsecretsecret", "not a SHA-256"),
        ("acme:STARTER:abcd", "not a SHA-256"),
        (f"a{{b}}:STARTER:{TWO.hex()}", "the workspace's id is not"),
        (f"acme:STARTER:{ONE.hex()}", "given twice"),
        (f"acme:GROWTH:{TWO.hex()}", "another plan"),
    ],
)
def test_a_wrong_item_is_told_by_place_and_not_repeated(item: str, told: str) -> None:
    good = f"acme:STARTER:{ONE.hex()}"
    with pytest.raises(ConfigError) as caught:
        parse(f"{good},{item}")
    (fault,) = caught.value.faults
    assert (fault.file, fault.column, fault.path) == ("$GATEWAY_KEYS", len(good) + 2, "[1]")
    assert told in fault.message
    assert "secretsecret" not in str(fault)


@pytest.mark.parametrize("name", ["version", "version-2", "workspaces", "workspaces.eu"])
async def test_a_list_may_begin_with_any_workspace(name: str) -> None:
    entry = await parse(f"{name}:STARTER:{ONE.hex()},acme:FREE:{TWO.hex()}").find(ONE)

    assert entry is not None
    assert entry.workspace_id == name


@pytest.mark.parametrize(
    "document",
    [
        "version: 1\nworkspaces: []",
        "workspaces: []\nversion: 1",
        "version : 1\nworkspaces: []",
        "\n# keys\nversion: 1\nworkspaces: []",
        "---\nversion: 1\nworkspaces: []",
        '{"version": 1, "workspaces": []}',
    ],
)
async def test_a_document_is_known_by_its_beginning(document: str) -> None:
    assert await parse(document).find(ONE) is None
