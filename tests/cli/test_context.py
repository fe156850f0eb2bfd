"""What a command works on is opened when it is asked for."""

from pathlib import Path

import pytest
import structlog

from gateway.cli.context import given, open_desk
from gateway.control.written_registry import WrittenRegistry
from gateway.errors import ConfigError, GatewayError
from tests.support.operator_desk import OperatorDesk, this_month


def test_only_options_that_were_given_win_over_the_environment() -> None:
    assert given(listen=None, counters="memory") == {"counters": "memory"}


def test_a_desk_knows_prices_and_period(desk: OperatorDesk) -> None:
    opened = open_desk(desk.config)

    assert "SANDBOX" in opened.pricing.tiers
    assert opened.period == this_month()
    assert opened.written_keys is None
    assert not (desk.folder / "data").exists(), "no database was opened yet"


def test_keys_in_a_file_are_read_from_it(desk: OperatorDesk) -> None:
    (desk.folder / "keys.yaml").write_text("version: 1\nworkspaces: []\n")

    opened = open_desk(desk.config, keys="file:keys.yaml")

    assert isinstance(opened.registry, WrittenRegistry)
    assert opened.written_keys is not None


def test_keys_in_a_variable_are_read_like_a_file(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_desk(desk.config, keys="env:KEYS")
    monkeypatch.delenv("KEYS", raising=False)
    with pytest.raises(GatewayError, match="environment variable KEYS is not set"):
        _ = opened.registry
    monkeypatch.setenv("KEYS", f"acme:STARTER:{'1' * 64}")

    assert opened.registry.workspace("acme") is not None


def test_a_wrong_file_is_not_opened(desk: OperatorDesk, tmp_path: Path) -> None:
    desk.config.write_text("version: 2\n")

    with pytest.raises(ConfigError):
        open_desk(desk.config)


def test_what_the_floors_log_never_mixes_with_an_answer(desk: OperatorDesk) -> None:
    """An answer in JSON is parsed by programs."""
    open_desk(desk.config)
    structlog.get_logger("x").info("x.happened")
    structlog.get_logger("x").warning("x.went_wrong")

    captured = desk.captured()
    assert captured.out == ""
    assert "x.went_wrong" in captured.err
    assert "x.happened" not in captured.err


@pytest.mark.parametrize(
    "command",
    [
        ["usage"],
        ["usage", "--export", "csv"],
        ["statement", "acme"],
        ["explain", "POST", "/v1/runs", "-w", "acme"],
        ["keys", "list"],
        ["keys", "create", "acme"],
        ["keys", "revoke", "key_a"],
        ["workspaces", "list"],
        ["workspaces", "set", "acme", "--plan", "STARTER"],
    ],
)
def test_a_command_in_the_wrong_folder_makes_no_empty_books(
    desk: OperatorDesk, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    monkeypatch.setenv("GATEWAY_DATA_DIR", "data")

    assert desk.run(*command, expect=3) == ""
    assert "[database.file_missing]" in desk.told
    assert str(desk.folder / "data" / "ledger.db") in desk.told
    assert "--data-dir" in desk.told
    assert not (desk.folder / "data").exists()


def test_the_first_workspace_makes_the_database(desk: OperatorDesk) -> None:
    """The order of the quick start: a workspace, a key, and the rest."""
    desk.run("workspaces", "create", "acme", "--plan", "STARTER")

    assert desk.json("keys", "create", "acme")["workspace_id"] == "acme"
    desk.run("usage")
    assert "Nothing was used" in desk.told
    desk.run("explain", "POST", "/v1/runs", "-w", "acme")
    desk.run("statement", "acme")


def test_commands_take_the_databases_that_serve_was_given(
    desk: OperatorDesk, tmp_path: Path
) -> None:
    """``serve --ledger X --keys Y`` and no setting in the file."""
    books = f"--ledger=sqlite:///{tmp_path}/books.db"
    keys = f"--keys=sqlite:///{tmp_path}/keys.db"
    desk.run("workspaces", "create", "acme", "--plan", "STARTER", books, keys)
    desk.run("workspaces", "create", "other", "--plan", "STARTER", books)

    listed = desk.json("workspaces", "list", books, keys)
    assert [workspace["workspace_id"] for workspace in listed] == ["acme"]
    assert desk.json("keys", "create", "acme", books, keys)["workspace_id"] == "acme"
    assert desk.json("keys", "list", keys)[0]["workspace_id"] == "acme"
    desk.run("usage", books)
    assert desk.json("statement", "acme", books, keys)["workspace_id"] == "acme"
    desk.run("explain", "POST", "/v1/runs", "-w", "acme", books, keys, "--counters", "memory")
    assert not (desk.folder / "data" / "ledger.db").exists()
