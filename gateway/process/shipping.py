"""A process of its own for shipping: what it reads, writes and waits for costs no request anything.

In a thread of the worker it cost each request a quarter more CPU time and up to 5 ms of waiting for
the interpreter's lock. The worker asks over a socket; the answer says how far the ledger is. If one
dies in between nothing is lost: the batch is carried again (docs/decisions/0012). The question and
its answer cross the worker's event loop: a thread that waits for them, and notes how far the ledger
is, asks for the interpreter's lock a dozen times a batch.

The process is forked before there are threads or an event loop, and before the worker loads what
only it needs; it ends when the worker's end of the socket closes, however that comes. One that dies
or hangs is killed and replaced by a new program (docs/decisions/0024).
"""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

import orjson
import structlog

from gateway.database.engine import ANSWER_SECONDS
from gateway.errors import LedgerUnavailable
from gateway.metering.carrier import Carried, Carrier, Load
from gateway.process.shipping_child import ignore_signals, serve
from gateway.process.shipping_wire import (
    BEAT,
    LENGTH,
    carried_of,
    framed,
    load_told,
    missing_bytes,
)

_READ_BYTES: Final = 4096
"""Most of an answer that is read at once; it has some hundred."""
SILENCE_SECONDS: Final = 10.0
"""A process with a batch that takes longer than a second gives a sign each second: one that gives
none for so long is stopped, or hangs in a way that no bound of the ledger's ends."""
STEP_SECONDS: Final = ANSWER_SECONDS + 15.0
"""How long one question to the ledger may take, signs or not: its own bounds (5 s more where the
server is silent) end it before."""
END_SECONDS: Final = 2.0
"""How long the process may take to notice that it is not needed any more, or to die."""
_POLL_SECONDS: Final = 0.02

Spawn = Callable[[socket.socket], int]
"""Starts another shipping process on its end of a socket; returns its id. Raises ``OSError``."""

_log = structlog.get_logger("shipper")


class ProcessCourier:
    """Implements ``Courier`` by asking the shipping process.

    Args:
        channel: This end of the socket.
        process: The shipping process.
        spawn: Starts another one once that one is gone.

    Attributes:
        replaced: How many were.
    """

    def __init__(self, channel: socket.socket, process: int, spawn: Spawn) -> None:
        channel.settimeout(0)
        self._channel: socket.socket | None = channel
        self._process = process
        self._spawn = spawn
        self._dying: list[int] = []
        self.replaced = 0

    async def carry(self, load: Load) -> Carried:
        """See ``Courier``."""
        channel = self._channel or self._replace()
        try:
            answer = await _ask(channel, load)
        except TimeoutError as hung:
            why = str(hung) or f"it gave no sign for {SILENCE_SECONDS:g} s"
            raise await self._lost(why, is_hung=True) from None
        if answer is None:
            raise await self._lost("it died", is_hung=False)
        return carried_of(answer)

    async def close(self) -> None:
        """End the process, which finishes a batch that is under way if that takes no time."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process and not await _ended(self._process):
            os.kill(self._process, signal.SIGKILL)
            await _ended(self._process)
        self._process = 0

    async def _lost(self, why: str, *, is_hung: bool) -> LedgerUnavailable:
        """Kill what is left of the process; return what becomes of its batch."""
        process, self._process = self._process, 0
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if is_hung:
            os.kill(process, signal.SIGKILL)
        status = await _ended(process)
        if status is None:
            os.kill(process, signal.SIGKILL)
            self._dying.append(process)  # in the middle of a disk's answer it can't even die
        _log.error(
            "shipper.process_lost",
            process=process,
            is_hung=is_hung,
            why=why,
            status=status and os.waitstatus_to_exitcode(status[0]),
            hint="another one is started; nothing is lost: its batch is carried again",
        )
        return LedgerUnavailable(
            "shipper.process_lost",
            f"the shipping process is lost: {why}",
            "another one is started; the records wait in the journal",
        )

    def _replace(self) -> socket.socket:
        """Start another process, without a pause of its own: failures are followed by one."""
        self._dying = [one for one in self._dying if _reap(one) is None]
        ours, theirs = socket.socketpair()
        try:
            self._process = self._spawn(theirs)
        except OSError as error:
            ours.close()
            raise LedgerUnavailable(
                "shipper.not_started",
                f"no shipping process can be started: {error.strerror}",
                "memory and process limits are the usual cause; the records wait in the journal",
            ) from error
        finally:
            theirs.close()
        ours.settimeout(0)
        self._channel = ours
        self.replaced += 1
        _log.warning("shipper.process_replaced", process=self._process, replaced=self.replaced)
        return ours


async def _ask(channel: socket.socket, load: Load) -> dict[str, Any] | None:
    """Return the answer to a question, None if no answer will ever come.

    Raises:
        TimeoutError: without words for a silence.
    """
    loop = asyncio.get_running_loop()
    stepped_at, steps = loop.time(), None
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            await loop.sock_sendall(channel, framed(load_told(load)))
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await _receive(channel)
            if message is None or BEAT not in message:
                return message
            if message[BEAT] != steps:
                stepped_at, steps = loop.time(), message[BEAT]
            elif loop.time() - stepped_at > STEP_SECONDS:
                raise TimeoutError(f"the ledger kept it waiting for {STEP_SECONDS:g} s")
    except ConnectionError:
        return None


async def _receive(channel: socket.socket) -> dict[str, Any] | None:
    loop = asyncio.get_running_loop()
    answer = bytearray()
    while missing := missing_bytes(answer):
        part = await loop.sock_recv(channel, min(missing, _READ_BYTES))
        if not part:
            return None
        answer += part
    told: dict[str, Any] = orjson.loads(answer[LENGTH.size :])
    return told


async def _ended(process: int) -> tuple[int] | None:
    """Return how a process ended, None if it lives on; wait a while for it."""
    ends = time.monotonic() + END_SECONDS
    while (status := _reap(process)) is None and time.monotonic() < ends:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
    return status


def _reap(process: int) -> tuple[int] | None:
    try:
        reaped, status = os.waitpid(process, os.WNOHANG)
    except ChildProcessError:
        return (0,)  # another waiter did
    return (status,) if reaped else None


def start(open_carrier: Callable[[], Carrier], spawn: Spawn) -> ProcessCourier:
    """Fork the shipping process. To be called before there are threads.

    Args:
        open_carrier: Called in the shipping process when the first batch is asked for.
        spawn: Starts another one if that one is lost.
    """
    ours, theirs = socket.socketpair()
    # What is frozen no collection touches: both processes go on sharing its memory.
    gc.collect()
    gc.freeze()
    process = os.fork()
    if process == 0:
        ours.close()
        ignore_signals()
        _end_after(lambda: serve(theirs, open_carrier))
    theirs.close()
    return ProcessCourier(ours, process, spawn)


def _end_after(work: Callable[[], None]) -> NoReturn:
    """Run the rest of a forked process, which must never return into its parent's program."""
    try:
        work()
    except BaseException:  # noqa: BLE001 - the last frame of this process
        _log.exception("shipper.failed")
        os._exit(1)
    os._exit(0)
