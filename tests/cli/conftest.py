"""The operator's desk, for all command tests."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.operator_desk import OperatorDesk


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[OperatorDesk]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "gateway.yaml"))
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "data"))
    for name in ("LISTEN", "ADMIN_LISTEN", "COUNTERS", "LEDGER", "KEYS", "LOG_LEVEL"):
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)
    yield OperatorDesk(tmp_path, capsys)
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
