"""What a worker writes: its events to stderr, the access log to stdout; nothing secret in either.

Events are structlog's: a constant dotted name and facts as keys, one JSON line each. Redaction here
is the second line of defence; the first is that nobody logs a secret.
Source: design section 3 (step 3); requirements B2, B11, C14.
"""

import logging
import os
import queue
import re
import select
import sys
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Final, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.clock import stopwatch_ns
from gateway.telemetry.metrics import WorkerStats
from gateway.telemetry.printable import one_line, printable
from gateway.telemetry.state_log import StateLog

REDACTED: Final = "[redacted]"
SECRET_FIELDS: Final = frozenset(
    {
        "api_key", "authorization", "cookie", "dsn_password", "key_hash", "password",
        "proxy_authorization", "secret", "set_cookie", "token", "x_api_key",
    }
)  # fmt: skip
_KEY_MATERIAL: Final = re.compile(r"(egw_[a-z]+_)[A-Za-z0-9_-]{5,}")
"""Four characters after the prefix are what lists show of a key; more would be its secret."""
_KEY_MARK: Final = b"egw_"
_URL_PASSWORD: Final = re.compile(r"(://[^/\s:]*:)(?:(?!://)[^\s\"])+(@)")
"""To the last @ of a word: who forgets to write one as %40 has it in the password. Not over another
URL: a path full of them would be searched for each, and not out of a JSON string."""
_CREDENTIALS: Final = re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}")
_NESTING_MAX: Final = 6
_KIND_CHARACTERS: Final = 100
_JSON_INTEGERS: Final = range(-(2**63), 2**64)
"""What orjson writes; others become text."""

QUEUE_BYTES_MAX: Final = 4 * 1024 * 1024
"""About 10,000 access lines: a reader may stall for a moment, not for good."""
FLUSH_SECONDS: Final = 0.02
"""How long lines gather before the writer thread is woken; waking it every tick costs more than
writing."""
CLOSE_SECONDS: Final = 2.0


def configure(
    level: str = "info",
    *,
    console: bool = False,
    stream: BinaryIO | None = None,
    now_micro: Callable[[], int] = lambda: stopwatch_ns() // 1000,
) -> None:
    """Send structlog's events, and the standard library's logging, to stderr.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        console: Lines for people instead of JSON.
        stream: Where to write; stderr if None.
        now_micro: Monotonic; of libraries' lines that repeat, few are written.

    Raises:
        ValueError: no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"not a log level: {level}")
    target = cast("BinaryIO", Unfailing(sys.stderr.buffer if stream is None else stream))
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    render = _total([*shared, _console if console else _json])
    structlog.configure(
        processors=[render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=max(number, logging.WARNING),
        handlers=[_StandardLogging(target, render, now_micro)],
        force=True,
    )


class Unfailing:
    """A stream that loses lines rather than raise: a full disk must not take the worker with it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> int:
        """Write a line if it can be written."""
        with suppress(OSError, ValueError):
            self._stream.write(line)
        return len(line)

    def flush(self) -> None:
        """Flush if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class _StandardLogging(logging.Handler):
    """Turn what libraries log by ``logging`` into the same lines, what they repeat into few."""

    def __init__(
        self, stream: BinaryIO, render: Callable[..., bytes], now_micro: Callable[[], int]
    ) -> None:
        super().__init__()
        self._stream = stream
        self._render = render
        self._faults = StateLog(self, "library.logged", now_micro, level="write")

    def emit(self, record: logging.LogRecord) -> None:
        """Render and write one record, or count it if it repeats one."""
        facts: dict[str, Any] = {"logger": record.name}
        try:
            facts["message"] = record.getMessage()
        except Exception:  # noqa: BLE001 - the library's arguments don't fit its own text
            facts["message"] = record.msg
        if record.exc_info:
            facts["exc_info"] = record.exc_info
        told = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        kind = f"{record.name}: {told[:_KIND_CHARACTERS]}"
        self._faults.note(kind, method=record.levelname.lower(), **facts)

    def write(self, event: str, *, method: str = "warning", **facts: Any) -> None:  # noqa: ANN401
        """Write a line (called by the state log)."""
        self._stream.write(self._render(None, method, {"event": event, **facts}) + b"\n")
        self._stream.flush()

    def warning(self, event: str, **facts: Any) -> None:  # noqa: ANN401
        """Write that something is over (called by the state log)."""
        self.write(event, **facts)


def _total(processors: list[Processor]) -> Callable[..., bytes]:
    """Return the processors as one that loses facts rather than raise into whoever logs."""

    def render(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        name = event["event"]
        try:
            line: Any = event
            for processor in processors:
                line = processor(logger, method, line)
        except Exception as error:  # noqa: BLE001 - a fact may be of any type and fail in any way
            reason = type(error).__name__
            line = orjson.dumps({"event": str(name), "level": method, "unrendered": reason})
        return cast("bytes", line)

    return render


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS)


def _console(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    facts = dict(event)
    head = f"{facts.pop('timestamp')[11:19]} {facts.pop('level'):<7} {facts.pop('event')}"
    trace = facts.pop("exception", None)
    told = "".join(f"  {name}={value}" for name, value in facts.items())
    shown = one_line(head + told) + (f"\n{printable(trace)}" if trace else "")
    return shown.encode(getattr(sys.stderr, "encoding", None) or "utf-8", "backslashreplace")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what looks like a secret, by the fact's name or by its text."""
    return {name: _clean(name, value, _NESTING_MAX) for name, value in event.items()}


def _clean(name: object, value: object, depth: int) -> object:
    """Return a value that JSON can hold and that shows no secret."""
    if isinstance(name, str) and name.lower().replace("-", "_") in SECRET_FIELDS:
        return REDACTED
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value in _JSON_INTEGERS else str(value)
    if isinstance(value, str):
        # A file's name may hold bytes that are no UTF-8: Python keeps them as lone surrogates.
        return clean_text(value.encode("utf-8", "backslashreplace").decode())
    if isinstance(value, bytes):
        return clean_text(value.decode("utf-8", "replace"))
    if depth and isinstance(value, Mapping):
        return {
            str(_clean(None, key, 0)): _clean(key, item, depth - 1) for key, item in value.items()
        }
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_clean(None, item, depth - 1) for item in value]
    return _clean(None, str(value), 0)


def clean_text(text: str) -> str:
    """Return a text without key material, credentials and passwords in URLs."""
    text = _KEY_MATERIAL.sub(rf"\1{REDACTED}", text)
    text = _URL_PASSWORD.sub(rf"\1{REDACTED}\2", text)
    return _CREDENTIALS.sub(rf"\1{REDACTED}", text)


class AccessLog:
    """One line per request, written by a thread: a reader that stalls never stalls the loop.

    Lines gather for ``FLUSH_SECONDS`` and go to the thread as one write. When more than
    ``queue_bytes_max`` wait to be written, further lines are dropped and counted.
    """

    def __init__(
        self,
        stats: WorkerStats,
        *,
        descriptor: int = 1,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        self._stats = stats
        self._descriptor = descriptor
        self._queue_bytes_max = queue_bytes_max
        self._buffer = bytearray()
        """Lines of this moment, grown in place: 2,000 lines kept apart cost ten times as much."""
        self._lines = 0
        self._batches: queue.SimpleQueue[tuple[bytearray, int] | None] = queue.SimpleQueue()
        self._handed_bytes = 0
        """Written by the loop alone; ``_written_bytes`` by the thread alone: no lock on the way."""
        self._written_bytes = 0
        self._dropping = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: AbstractEventLoop | None = None

    def start(self, loop: AbstractEventLoop) -> None:
        """Start the writer thread; lines are taken on this loop only."""
        self._loop = loop
        self._thread = threading.Thread(target=self._write_batches, name="access-log", daemon=True)
        self._thread.start()

    def write(self, line: bytes | dict[str, Any]) -> None:
        """Take one line, a document or JSON without its line end; nothing before ``start``."""
        if self._loop is None:
            return
        waiting_bytes = self._handed_bytes - self._written_bytes + len(self._buffer)
        if waiting_bytes > self._queue_bytes_max:
            self._drop(1)
            return
        if not self._lines:
            self._loop.call_later(FLUSH_SECONDS, self._hand_over)
        self._lines += 1
        if isinstance(line, bytes):
            self._buffer += line + b"\n"
        else:
            self._buffer += orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Hand over what is left and wait for the thread, but not for ever."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._hand_over()
        self._loop = None
        self._batches.put(None)
        thread.join(timeout_seconds)

    def _hand_over(self) -> None:
        batch, self._buffer = self._buffer, bytearray()
        lines, self._lines = self._lines, 0
        if not lines:
            return
        if _KEY_MARK in batch:  # a caller wrote a key where none belongs, such as in the path
            batch = bytearray(clean_text(batch.decode("utf-8", "replace")).encode())
        self._handed_bytes += len(batch)
        self._batches.put((batch, lines))

    def _drop(self, lines: int) -> None:
        with self._dropping:
            self._stats.access_log_dropped += lines

    def _write_batches(self) -> None:
        while (entry := self._batches.get()) is not None:
            batch, lines = entry
            try:
                self._write_whole(batch)
            except OSError:  # the reader is gone: the lines are lost, the gateway is not
                self._drop(lines)
            self._written_bytes += len(batch)

    def _write_whole(self, batch: bytearray) -> None:
        rest = memoryview(batch)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody made our stdout non-blocking: wait here, not there
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll()
