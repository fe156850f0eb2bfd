"""A keys file whose plans nobody sells is refused, where it stands, until somebody does."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import ConfigError
from gateway.keys.environment import EnvKeyDirectory
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.telemetry.metrics import DirectoryStats

ONE, TWO = (hashlib.sha256(name).digest() for name in (b"one", b"two"))


def document(key_hash: bytes, plan: str) -> str:
    key = f"{{id: k, sha256: {key_hash.hex()}}}"
    return f"version: 1\nworkspaces:\n  - id: acme\n    plan: {plan}\n    keys: [{key}]\n"


class Shop:
    """Plans that change while the gateway runs."""

    def __init__(self) -> None:
        self.plans: frozenset[str] | None = frozenset({"STARTER", "FREE"})

    def __call__(self) -> frozenset[str] | None:
        return self.plans


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def directory(tmp_path: Path, shop: Shop) -> AsyncIterator[YamlKeyDirectory]:
    (tmp_path / "keys.yaml").write_text(document(ONE, "STARTER"))
    found = YamlKeyDirectory(tmp_path / "keys.yaml", stats=DirectoryStats(), plans=shop)
    await found.start()
    yield found
    await found.close()


async def look(directory: YamlKeyDirectory, times: int) -> list[str]:
    """Look at the file some times; return what was told."""
    with capture_logs() as lines:
        for _ in range(times):
            await directory.reload_if_changed()
    return [line.get("faults", line["event"]) for line in lines]


async def test_a_start_is_refused(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "keys.yaml").write_text(document(ONE, "NOPE"))
    directory = YamlKeyDirectory(tmp_path / "keys.yaml", stats=DirectoryStats(), plans=shop)

    with pytest.raises(ConfigError, match=r"keys\.yaml:4:11: workspaces\[0\]\.plan: no plan is c"):
        await directory.start()


async def test_a_reload_is_refused_until_the_plan_is_there(
    directory: YamlKeyDirectory, tmp_path: Path, shop: Shop
) -> None:
    (tmp_path / "keys.yaml").write_text(document(TWO, "GOLD"))

    (told,) = await look(directory, 4)

    assert ":4:11: workspaces[0].plan: no plan is called GOLD (one of FREE, STARTER)" in told
    assert directory.known(ONE) is not None

    shop.plans = frozenset({"GOLD"})
    assert await look(directory, 4) == ["keys.file_loaded"]
    assert directory.known(ONE) is None
    assert directory.known(TWO) is not None


async def test_keys_in_force_outlive_their_plan(
    directory: YamlKeyDirectory, tmp_path: Path, shop: Shop
) -> None:
    """Their callers are told `plan_unknown`; the file is looked at when it changes."""
    shop.plans = frozenset({"GOLD"})
    assert await look(directory, 4) == []
    assert directory.known(ONE) is not None

    shop.plans = None
    (tmp_path / "keys.yaml").write_text(document(TWO, "ANY"))
    assert await look(directory, 2) == ["keys.file_loaded"], "no prices are in force"


@pytest.mark.parametrize(
    ("text", "column"), [(f"a:FREE:{'1' * 64},b:NOPE:{'2' * 64}", 73), (document(ONE, "NOPE"), 11)]
)
def test_a_variable_is_refused_as_well(text: str, column: int) -> None:
    with pytest.raises(ConfigError, match="no plan is called NOPE") as caught:
        EnvKeyDirectory.parse(text, variable="K", stats=DirectoryStats(), plans=Shop()())

    assert caught.value.faults[0].column == column
