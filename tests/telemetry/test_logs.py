"""The worker's events: JSON lines, nothing secret (B2, B11, C14); the access log never blocks."""

import asyncio
import fcntl
import io
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, cast

import orjson
import pytest
import structlog

from gateway.telemetry import logs
from gateway.telemetry.metrics import WorkerStats

SECRET = "egw_live_4fGh2kLmN8pQrStUvWxYz012345_Zz9"


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.BytesIO()
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_level_and_time(stream: io.BytesIO) -> None:
    logs.configure("info", stream=stream)

    structlog.get_logger("journal").warning("journal.torn_line", segment=3, offset_bytes=120)

    (line,) = lines(stream)
    assert line["event"] == "journal.torn_line"
    assert line["level"] == "warning"
    assert line["segment"] == 3
    assert line["timestamp"].endswith("Z")


def test_events_below_the_level_are_not_written(stream: io.BytesIO) -> None:
    logs.configure("warning", stream=stream)

    structlog.get_logger("x").info("x.happened")

    assert stream.getvalue() == b""


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="not a log level: loud"):
        logs.configure("loud")


@pytest.mark.parametrize(
    "facts",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"X-API-Key": SECRET},
        {"password": "4fGh2kLmN8pQrStUvWxYz012345"},
        {"message": f"key {SECRET} was refused"},
        {"headers": [["x-note", SECRET.encode()]]},
        {"nested": {"deep": {"deeper": SECRET}}},
        {"error": ValueError(SECRET)},
        {"dsn": "postgresql://gateway:4fGh2kLmN8pQrStUvWxYz012345@db/ledger"},
        {"sent": "Bearer 4fGh2kLmN8pQrStUvWxYz012345"},
        {"tuples": (SECRET, {SECRET})},
    ],
)
def test_nothing_that_looks_like_a_secret_is_written(
    stream: io.BytesIO, facts: dict[str, Any]
) -> None:
    """C14, B2: seeded secrets never reach the log, wherever they hide."""
    logs.configure("info", stream=stream)

    structlog.get_logger("x").info("x.happened", **facts)

    assert b"4fGh2kLmN8pQrStUvWxYz012345" not in stream.getvalue()
    assert b"[redacted]" in stream.getvalue()


def test_a_traceback_shows_no_key(stream: io.BytesIO) -> None:
    logs.configure("info", stream=stream)

    try:
        int(f"bad key {SECRET}")
    except ValueError:
        structlog.get_logger("x").exception("x.failed")

    (line,) = lines(stream)
    assert "Traceback" in line["exception"]
    assert SECRET not in line["exception"]


def test_the_prefix_of_a_key_stays_readable() -> None:
    """An operator must still see which environment a key was for."""
    assert logs.clean_text(f"x {SECRET}") == "x egw_live_[redacted]"
    assert logs.clean_text("x egw_live_4fGh") == "x egw_live_4fGh"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgresql://u:p@ss@host/db", "postgresql://u:[redacted]@host/db"),
        ("postgresql://u:p/a@s/s@host/db", "postgresql://u:[redacted]@host/db"),
        ("postgresql://u@server:p@ss@host/db", "postgresql://u@server:[redacted]@host/db"),
        ("redis://:p@ss@host and a@b", "redis://:[redacted]@host and a@b"),
        ("http://a:80/x,redis://:p@host", "http://a:80/x,redis://:[redacted]@host"),
        ('{"a":"http://a:80/x","b":"c@d"}', '{"a":"http://a:80/x","b":"c@d"}'),
        ("http://host:80/x", "http://host:80/x"),
    ],
)
def test_a_password_in_a_url_is_redacted_to_its_end(text: str, told: str) -> None:
    assert logs.clean_text(text) == told


def test_libraries_that_log_by_the_standard_library_give_the_same_lines(
    stream: io.BytesIO,
) -> None:
    logs.configure("info", stream=stream)

    logging.getLogger("aiohttp.server").error("failed with %s", SECRET)

    (line,) = lines(stream)
    assert line["event"] == "library.logged"
    assert line["logger"] == "aiohttp.server"
    assert line["message"] == "failed with egw_live_[redacted]"


def test_what_a_library_repeats_is_counted(stream: io.BytesIO) -> None:
    logs.configure("info", stream=stream, now_micro=lambda: 0)
    for number in range(1000):
        logging.getLogger("asyncio").error("socket.accept() failed %d", number)
    logging.getLogger("asyncio").warning("another")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logs._StandardLogging)

    handler._faults.over()

    first, other, over = lines(stream)
    assert (first["level"], first["message"]) == ("error", "socket.accept() failed 0")
    assert (other["level"], other["message"]) == ("warning", "another")
    assert (over["event"], over["count"]) == ("library.logged_over", 1001)
    assert over["kinds"]["asyncio: socket.accept() failed %d"] == 1000


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ("/etc/k\udcff.yaml", "/etc/k\\udcff.yaml"),
        ({"k\udcff": "\ud800"}, {"k\\udcff": "\\ud800"}),
        (ValueError("\udcff"), "\\udcff"),
        (2**70, str(2**70)),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_what_json_can_not_hold_is_told_as_text(
    stream: io.BytesIO, fact: object, told: object
) -> None:
    logs.configure("info", stream=stream)

    structlog.get_logger("x").info("x.happened", fact=fact)

    (line,) = lines(stream)
    assert line["fact"] == told


@pytest.mark.parametrize("console", [False, True])
def test_a_line_that_can_not_be_rendered_does_not_end_whoever_logs(
    stream: io.BytesIO, console: bool
) -> None:
    logs.configure("info", console=console, stream=stream)

    structlog.get_logger("x").info("x.happened", fact=Broken())
    structlog.get_logger("x").info("x.happened", fact="k\udcff")
    logging.getLogger("library").error("%s", Broken())
    logging.getLogger("library").error("k\udcff")

    first, *others = stream.getvalue().splitlines()
    assert orjson.loads(first) == {
        "event": "x.happened", "level": "info", "unrendered": "RuntimeError",
    }  # fmt: skip
    assert len(others) == 3


def test_a_library_whose_arguments_do_not_fit_its_text_is_still_told(stream: io.BytesIO) -> None:
    logs.configure("info", stream=stream)

    logging.getLogger("library").error("failed %d times", "many")

    (line,) = lines(stream)
    assert line["message"] == "failed %d times"


def test_the_console_form_is_for_people(stream: io.BytesIO) -> None:
    logs.configure("info", console=True, stream=stream)

    structlog.get_logger("x").info("worker.listening", address="127.0.0.1:8080")

    assert stream.getvalue()[8:] == b" info    worker.listening  address=127.0.0.1:8080\n"


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("utf-8", "caf\u00e9 \u20a9".encode()), ("ascii", rb"caf\xe9 \u20a9")],
)
def test_the_console_form_can_be_written_to_every_terminal_and_commands_none(
    stream: io.BytesIO, monkeypatch: pytest.MonkeyPatch, encoding: str, told: bytes
) -> None:
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    logs.configure("info", console=True, stream=stream)

    structlog.get_logger("x").info("file.read", path="caf\u00e9 \u20a9 \x1b[2J\n\udce9")

    assert (
        stream.getvalue()[8:] == b" info    file.read  path=" + told + rb" \x1b[2J\n\udce9" + b"\n"
    )


async def test_access_lines_of_one_moment_arrive_as_one_write_in_order() -> None:
    reader, writer = os.pipe()
    log = logs.AccessLog(WorkerStats(), descriptor=writer)
    log.start(asyncio.get_running_loop())

    log.write({"status": 200})
    log.write(b'{"status":429}')
    received = await asyncio.to_thread(os.read, reader, 65536)
    log.close()
    os.close(reader)
    os.close(writer)

    assert received == b'{"status":200}\n{"status":429}\n'


async def test_a_key_in_a_path_does_not_reach_the_access_log() -> None:
    """C14: callers paste keys into URLs."""
    reader, writer = os.pipe()
    log = logs.AccessLog(WorkerStats(), descriptor=writer)
    log.start(asyncio.get_running_loop())

    log.write({"path": f"/v1/{SECRET}"})
    log.close()
    received = os.read(reader, 65536)
    os.close(reader)
    os.close(writer)

    assert received == b'{"path":"/v1/egw_live_[redacted]"}\n'


async def test_a_reader_that_stalls_costs_lines_and_never_time() -> None:
    """The pipe is full and nobody reads: the loop goes on, what does not fit is counted."""
    reader, writer = os.pipe()
    stats = WorkerStats()
    log = logs.AccessLog(stats, descriptor=writer, queue_bytes_max=100_000)
    log.start(asyncio.get_running_loop())
    line = b"x" * 999

    for _ in range(500):
        log.write(line)
        log._hand_over()
    dropped = stats.access_log_dropped
    thread = log._thread
    log.close(timeout_seconds=0)
    received = bytearray()
    os.set_blocking(reader, False)
    while thread is not None and thread.is_alive():
        with suppress(BlockingIOError):  # it has written all and is about to end
            received += os.read(reader, 65536)
    os.close(reader)
    os.close(writer)

    assert 300 < dropped < 500
    assert len(received) <= (500 - dropped) * 1000
    assert received.replace(line + b"\n", b"") in (b"", received[-(len(received) % 1000) :])


async def test_a_stdout_that_somebody_made_non_blocking_loses_nothing() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    log = logs.AccessLog(WorkerStats(), descriptor=writer)
    log.start(asyncio.get_running_loop())
    received = bytearray()
    expected = 300 * 1001

    def drain() -> None:
        while len(received) < expected:
            received.extend(os.read(reader, 4096))

    draining = threading.Thread(target=drain)
    for _ in range(300):
        log.write(b"y" * 1000)
    draining.start()
    log.close()
    draining.join()
    os.close(reader)
    os.close(writer)

    assert len(received) == expected


async def test_a_reader_that_is_gone_costs_lines_only() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stats = WorkerStats()
    log = logs.AccessLog(stats, descriptor=writer)
    log.start(asyncio.get_running_loop())

    log.write(b"{}")
    log.close()
    os.close(writer)

    assert stats.access_log_dropped == 1


def test_a_log_that_was_never_started_keeps_nothing() -> None:
    log = logs.AccessLog(WorkerStats())

    log.write(b"{}")
    log.close()

    assert log._lines == 0
    assert not log._buffer


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    class Full(io.RawIOBase):
        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    stream = logs.Unfailing(cast("BinaryIO", Full()))

    assert stream.write(b"line\n") == 5
    stream.flush()
