"""The child tells what it read, or what is wrong; it never tells a secret to the process list."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from gateway.errors import ConfigError, GatewayError
from gateway.process.loading import _heeding_signals, handed_file, load_in_child

ROOT = Path(__file__).parents[2]


def test_configuration_comes_from_the_child() -> None:
    loaded = load_in_child(
        ROOT / "policies" / "gateway.yaml", {"counters": "redis://u:secret@h:1/0"}, version=7
    )

    assert loaded.snapshot.version == 7
    assert loaded.settings.counters == "redis://u:secret@h:1/0"
    assert len(loaded.snapshot.routes) == 7


def test_faults_come_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("version: 1\nnonsense: 2\n")

    with pytest.raises(ConfigError) as caught:
        load_in_child(tmp_path / "g.yaml", {})

    assert "2:11: nonsense" in caught.value.message
    with pytest.raises(GatewayError, match="can't be read"):
        load_in_child(tmp_path / "gone.yaml", {})


def test_signals_are_heeded_while_the_configuration_is_read() -> None:
    """B11: the first process of a container has no handlers by default: they would be lost."""
    former = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with _heeding_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)

    assert ended.value.code == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == former


def no_folder(*_: object) -> None:
    raise FileNotFoundError(2, "No usable temporary directory found")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux alone has files in memory")
def test_a_read_only_root_without_tmp_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", no_folder)

    with handed_file(b"{}") as file:
        assert file.read() == b"{}"
        assert os.get_inheritable(file.fileno())


def test_where_there_is_nothing_in_memory_a_temporary_file_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)

    with handed_file(b"{}") as file:
        assert file.read() == b"{}"
    monkeypatch.setattr(tempfile, "TemporaryFile", no_folder)
    with pytest.raises(GatewayError, match="No usable temporary directory") as caught:
        handed_file(b"{}")
    assert caught.value.code == "config.not_handed"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(12, "Cannot allocate memory"), "Cannot allocate memory (ENOMEM, errno 12)"),
        (FileNotFoundError(2, "No such file or directory", "/gone/python"),
         "No such file or directory (ENOENT, errno 2): /gone/python"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "(EAGAIN, errno 11)"),
        (subprocess.CalledProcessError(-9, ["x", "secret"]), "ended by signal 9 (SIGKILL)"),
        (subprocess.CalledProcessError(7, ["x", "secret"]), "it ended with exit code 7"),
        (subprocess.TimeoutExpired(["x", "secret"], 120), "no answer within 120 s"),
    ],
)  # fmt: skip
def test_a_child_that_can_not_run_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, told: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(GatewayError) as caught:
        load_in_child(tmp_path / "g.yaml", {"ledger": "postgresql://u:secret@h/d"})

    assert caught.value.code == "config.child_failed"
    assert told in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("answer", [b"", b'{"faults": ', b"Traceback"])
def test_half_an_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes
) -> None:
    done = subprocess.CompletedProcess([], 0, stdout=answer)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    with pytest.raises(GatewayError, match="gave no whole answer"):
        load_in_child(tmp_path / "g.yaml", {})
