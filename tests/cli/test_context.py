"""What a command works on is opened when it is asked for."""

from pathlib import Path

import pytest
import structlog

from gateway.cli.context import given, open_desk
from gateway.control.written_keys import WrittenRegistry
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
