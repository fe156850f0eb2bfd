"""B3: what the value of a variable means; the directory made of it is in test_environment."""

import pytest

from gateway.errors import ConfigError, GatewayError
from gateway.keys.port import Workspace, WorkspaceStatus
from gateway.keys.variable import parse_variable, value_of

ONE, TWO = "1" * 64, "2" * 64


def test_a_list_names_keys_and_their_workspaces() -> None:
    keys, workspaces = parse_variable(f"acme:STARTER:{ONE}, acme:STARTER:{TWO}", "KEYS")

    assert set(keys) == {bytes.fromhex(ONE), bytes.fromhex(TWO)}
    assert workspaces == [Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, 0)]


def test_a_plan_that_there_is_not_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="no plan is called GOLD"):
        parse_variable(f"acme:GOLD:{ONE}", "KEYS", plans={"STARTER"})


def test_a_variable_has_a_value_or_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEYS", "x")
    assert value_of("SOME_KEYS") == "x"

    monkeypatch.delenv("SOME_KEYS")
    with pytest.raises(GatewayError) as caught:
        value_of("SOME_KEYS")
    assert caught.value.code == "keys.variable_missing"
