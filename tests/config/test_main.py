"""What another process is answered: a configuration, or all that is wrong with it."""

from pathlib import Path

import orjson
import pytest

from gateway.config.__main__ import answer
from gateway.config.transfer import restore

NOW_MICRO = 1_796_000_000_000_000
ROOT = Path(__file__).parents[2]


def asked(path: Path, **overrides: str) -> bytes:
    return orjson.dumps(
        {"path": str(path), "overrides": overrides, "version": 3, "now_micro": NOW_MICRO}
    )


def test_a_configuration_comes_with_version_and_overrides() -> None:
    text = answer(asked(ROOT / "policies" / "gateway.yaml", listen="127.0.0.1:1234"))

    loaded = restore(text)
    assert loaded.snapshot.version == 3
    assert [address.port for address in loaded.settings.listen] == [1234]


def test_the_environment_is_this_process_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "policies" / "gateway.yaml").read_text()
    text = text.replace("../fixtures", str(ROOT / "fixtures"))
    text = text.replace("counters: memory", "counters: ${STORE_OF_A_TEST}")
    (tmp_path / "gateway.yaml").write_text(text)
    monkeypatch.setenv("STORE_OF_A_TEST", "redis://store:6379/0")

    assert restore(answer(asked(tmp_path / "gateway.yaml"))).settings.counters.startswith("redis:")


def test_every_fault_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("version: 1\nroutes: []\nnobody: 1\n")

    told = orjson.loads(answer(asked(tmp_path / "gateway.yaml")))

    assert set(told) == {"faults"}
    assert "nobody" in str(told["faults"])
    assert all(fault["file"].endswith("gateway.yaml") for fault in told["faults"])


def test_a_file_that_is_not_there_is_an_error_and_no_fault(tmp_path: Path) -> None:
    told = orjson.loads(answer(asked(tmp_path / "gone.yaml")))

    assert set(told) == {"error"}
    code, message, hint = told["error"]
    assert "gone.yaml" in message
    assert code
    assert hint


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "/tmp/x"),
         "No space left on device (ENOSPC, errno 28): /tmp/x, at "),
        (ValueError("postgresql://u:hunter2@h"), "could not be read: ValueError, at "),
        (MemoryError(), "could not be read: MemoryError, at "),
    ],
)  # fmt: skip
def test_what_nobody_expects_is_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, told: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("gateway.config.__main__.load", fails)

    code, message, hint = orjson.loads(answer(asked(tmp_path / "g.yaml")))["error"]

    assert code == "config.child_failed"
    assert told in message
    assert "hunter2" not in message
    assert hint
