"""A process of its own for shipping: what it reads, writes and waits for costs no request anything.

In a thread of the worker it cost each request a quarter more CPU time and up to 5 ms of waiting for
the interpreter's lock. The worker asks over a socket; the answer says how far the ledger is. If one
dies in between nothing is lost: the batch is carried again (docs/decisions/0012). The question and
its answer cross the worker's event loop: a thread that waits for them, and notes how far the ledger
is, asks for the interpreter's lock a dozen times a batch.

The process is forked before there are threads or an event loop, and before the worker loads what
only it needs; it ends when the worker's end of the socket closes, however that comes. If it dies
itself, the worker ships in a thread.
"""

import asyncio
import gc
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson
import structlog

from gateway.errors import GatewayError, LedgerUnavailable
from gateway.metering.carrier import Carried, Carrier, LedgerRefusesAll, Load
from gateway.metering.courier import Courier, ThreadCourier
from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment
from gateway.telemetry.state_log import look_at_all

_LENGTH: Final = struct.Struct(">I")
_READ_BYTES: Final = 4096
"""Most of an answer that is read at once; it has some hundred."""
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Meant for the worker, but sent to the whole group by terminals and supervisors."""
ANSWER_SECONDS: Final = 120.0
"""More than a batch takes whose every statement is at its bound: what takes longer hangs."""
END_SECONDS: Final = 2.0
"""How long the process may take to notice that it is not needed any more."""
_BATCHES_PER_COLLECTION: Final = 64
"""What goes well leaves next to no circles behind."""
_log = structlog.get_logger("shipper")


class ProcessCourier:
    """Implements ``Courier`` by asking the shipping process.

    Args:
        channel: This end of the socket.
        process: The shipping process.
        open_carrier: Opens what is used once that process is gone.
    """

    def __init__(
        self, channel: socket.socket, process: int, open_carrier: Callable[[], Carrier]
    ) -> None:
        channel.settimeout(0)
        self._channel = channel
        self._process = process
        self._open_carrier = open_carrier
        self._own: Courier | None = None

    async def carry(self, load: Load) -> Carried:
        """See ``Courier``."""
        if self._own is None:
            answer = await self._answer_in_time(load)
            if answer is not None:
                return _carried(answer)
            self._own = await asyncio.to_thread(self._take_over)
        return await self._own.carry(load)

    async def _answer_in_time(self, load: Load) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(load)
        except TimeoutError:
            self._kill()
            raise LedgerUnavailable(
                "ledger.unavailable",
                f"the shipping process did not answer within {ANSWER_SECONDS:g} s: killed",
                "see whether the ledger answers; the records wait in the journal",
            ) from None

    async def _ask(self, load: Load) -> dict[str, Any] | None:
        """Return the answer to a question, None if nobody will ever answer."""
        loop = asyncio.get_running_loop()
        answer = bytearray()
        try:
            await loop.sock_sendall(self._channel, framed(_told(load)))
            while _missing_bytes(answer):
                part = await loop.sock_recv(self._channel, _READ_BYTES)
                if not part:
                    return None
                answer += part
        except ConnectionError:
            return None
        told: dict[str, Any] = orjson.loads(answer[_LENGTH.size :])
        return told

    async def close(self) -> None:
        """End the process, which finishes a batch that is under way if that takes no time."""
        self._channel.close()
        if self._process:
            ended = asyncio.ensure_future(asyncio.to_thread(os.waitpid, self._process, 0))
            await asyncio.wait({ended}, timeout=END_SECONDS)
            if not ended.done():
                self._kill()
            await ended
            self._process = 0
        if self._own is not None:
            await self._own.close()

    def _kill(self) -> None:
        if self._process:
            os.kill(self._process, signal.SIGKILL)

    def _take_over(self) -> Courier:
        """Ship in this process from now on. Blocking; called again if the ledger is away."""
        process, self._process = self._process, 0  # first: it can be waited for only once
        if process:
            _, status = os.waitpid(process, 0)
            _log.error(
                "shipper.process_lost",
                status=os.waitstatus_to_exitcode(status),
                hint="the worker ships its records itself, at the cost of its requests, until it "
                "is started again",
            )
        return ThreadCourier(self._open_carrier())


def _carried(answer: dict[str, Any]) -> Carried:
    error = answer.get("error")
    if error is not None:
        raise _error_of(error)
    segment, offset = answer["position"]
    return Carried(Position(segment, offset), answer["count"], answer["set_aside"])


def _missing_bytes(message: bytearray) -> int:
    """Return how many bytes at least a message lacks whose beginning this is."""
    if len(message) < _LENGTH.size:
        return _LENGTH.size - len(message)
    (size,) = _LENGTH.unpack_from(message)
    return max(_LENGTH.size + int(size) - len(message), 0)


def start(open_carrier: Callable[[], Carrier]) -> ProcessCourier:
    """Fork the shipping process. To be called before there are threads.

    Args:
        open_carrier: Called in the shipping process when the first batch is asked for; in this
            one only if that process is lost.
    """
    ours, theirs = socket.socketpair()
    # What is frozen no collection touches: both processes go on sharing its memory.
    gc.collect()
    gc.freeze()
    process = os.fork()
    if process == 0:
        ours.close()
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        _end_after(lambda: serve(theirs, open_carrier))
    theirs.close()
    return ProcessCourier(ours, process, open_carrier)


def _end_after(work: Callable[[], None]) -> NoReturn:
    """Run the rest of a forked process, which must never return into its parent's program."""
    try:
        work()
    except BaseException:  # noqa: BLE001 - the last frame of this process
        _log.exception("shipper.failed")
        os._exit(1)
    os._exit(0)


def serve(channel: socket.socket, open_carrier: Callable[[], Carrier]) -> None:
    """Carry batch after batch as asked, until the other end closes. For a process of its own."""
    gc.disable()
    carrier: Carrier | None = None
    batches = 0
    while (asked := receive(channel)) is not None:
        answer: dict[str, Any] = {}
        try:
            if carrier is None:
                carrier = open_carrier()
                gc.freeze()
            carried = carrier.carry(_load_of(asked))
            answer |= {
                "position": tuple(carried.position),
                "count": carried.count,
                "set_aside": carried.set_aside,
            }
        except Exception as error:  # noqa: BLE001 - the worker logs it and asks again later
            answer["error"] = _error_told(error)
        try:
            channel.sendall(framed(answer))
        except OSError:
            return
        batches += 1
        look_at_all()
        # An error's traceback holds on to the batch that it came from.
        if "error" in answer or answer["set_aside"] or batches % _BATCHES_PER_COLLECTION == 0:
            gc.collect()


def framed(message: dict[str, Any]) -> bytes:
    """Return a message as it goes over the socket."""
    payload = orjson.dumps(message)
    return _LENGTH.pack(len(payload)) + payload


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """Return the next message, None when the other end is closed. Blocking."""
    parts = bytearray()
    while missing := _missing_bytes(parts):
        try:
            part = channel.recv(missing)
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    message: dict[str, Any] = orjson.loads(parts[_LENGTH.size :])
    return message


def _told(load: Load) -> dict[str, Any]:
    segments = [(one.number, str(one.path), one.is_complete, one.end) for one in load.segments]
    return {
        "folder": str(load.folder),
        "segments": segments,
        "position": tuple(load.position),
        "limit": load.limit,
    }


def _load_of(asked: dict[str, Any]) -> Load:
    segments = [
        Segment(number, Path(path), written=end, end=end, is_sealed=is_complete)
        for number, path, is_complete, end in asked["segments"]
    ]
    return Load(Path(asked["folder"]), segments, Position(*asked["position"]), asked["limit"])


def _error_told(error: Exception) -> dict[str, object]:
    if isinstance(error, GatewayError):
        return {
            "kind": "refuses_all" if isinstance(error, LedgerRefusesAll) else "ledger",
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
        }
    if isinstance(error, OSError):
        return {"kind": "os", "errno": error.errno, "message": error.strerror or str(error)}
    return {
        "kind": "ledger",
        "code": "shipper.failed",
        "message": f"shipping failed: {type(error).__name__}: {error}",
        "hint": "please report it; the records wait in the journal",
    }


def _error_of(told: dict[str, Any]) -> Exception:
    if told["kind"] == "os":
        return OSError(told["errno"], told["message"])
    kind = LedgerRefusesAll if told["kind"] == "refuses_all" else LedgerUnavailable
    return kind(told["code"], told["message"], told["hint"])
