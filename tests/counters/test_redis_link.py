"""One link: commands of a tick in one write, replies in order, deadlines without false alarms."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import coroutine
from typing import Any

import pytest
import uvloop
from hiredis import ReplyError

from gateway.counters.redis_commands import pack
from gateway.counters.redis_link import SWEEPS_PER_DEADLINE, RedisLink, Reply, Unanswered
from gateway.story import FailureCall, Story, current
from tests.support.fake_clock import RunningClock
from tests.support.redis_server import RedisServer

PING = pack("PING")
DEADLINE_SECONDS = 0.1

Loops = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


@dataclass
class Heard:
    """What a link told its owner."""

    late: list[tuple[object, Reply]] = field(default_factory=list)
    timeouts: int = 0
    losses: int = 0

    def on_late(self, owner: object, reply: Reply) -> None:
        self.late.append((owner, reply))

    def on_timeout(self) -> None:
        self.timeouts += 1

    def on_lost(self) -> None:
        self.losses += 1


@asynccontextmanager
async def linked(path: Path, heard: Heard) -> AsyncIterator[RedisLink]:
    """Connect a link to whatever listens on a Unix socket."""
    _, link = await asyncio.get_running_loop().create_unix_connection(
        lambda: RedisLink(
            deadline_seconds=DEADLINE_SECONDS,
            clock=RunningClock(),
            on_late=heard.on_late,
            on_timeout=heard.on_timeout,
            on_lost=heard.on_lost,
        ),
        str(path),
    )
    try:
        yield link
    finally:
        link.abort()
        await link.closed


@asynccontextmanager
async def scripted(
    path: Path, answer: Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]
) -> AsyncIterator[None]:
    """Listen as a server that reads one chunk, does as told, and reads on until the end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        await answer(writer)
        while await reader.read(65_536):
            pass
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        # One turn, in which the served side sees the end.
        await asyncio.sleep(0.01)


@LOOPS
def test_commands_of_a_tick_leave_in_one_write_and_are_answered_in_order(
    redis_server: RedisServer, new_loop: Loops
) -> None:
    async def talk() -> None:
        async with linked(redis_server.socket_path, Heard()) as link:
            replies = await asyncio.gather(*[link.send(pack("ECHO", str(n))) for n in range(500)])
            assert replies == [str(n).encode() for n in range(500)]
            assert link.writes == 1
            await link.send(PING)
            assert link.writes == 2

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(talk())


async def test_an_error_reply_is_a_value(redis_server: RedisServer) -> None:
    async with linked(redis_server.socket_path, Heard()) as link:
        reply = await link.send(pack("NOSUCHCOMMAND"))
        assert isinstance(reply, ReplyError)
        assert await link.send(PING) == b"PONG"


@LOOPS
def test_a_silent_server_is_given_up_within_the_deadline(tmp_path: Path, new_loop: Loops) -> None:
    async def silent(_: asyncio.StreamWriter) -> None:
        """Say nothing."""

    async def talk() -> None:
        heard, path = Heard(), tmp_path / "sock"
        async with scripted(path, silent), linked(path, heard) as link:
            began = time.monotonic()
            replies = await asyncio.gather(*[link.send(PING) for _ in range(7)])
            waited_seconds = time.monotonic() - began

            assert replies == [Unanswered.TIMED_OUT] * 7
            assert 0.7 * DEADLINE_SECONDS <= waited_seconds < 3 * DEADLINE_SECONDS
            assert (link.consecutive_timeouts, heard.timeouts, heard.losses) == (7, 1, 0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(talk())


async def test_a_late_reply_goes_to_its_owner_and_shifts_no_other(tmp_path: Path) -> None:
    """Replies have no names: a late one must still take the place of its command."""
    go_on = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(b"+first\r\n")
        await go_on.wait()
        writer.write(b"+second\r\n+third\r\n+fourth\r\n")

    heard, path = Heard(), tmp_path / "sock"
    async with scripted(path, slow), linked(path, heard) as link:
        sent = [link.send(PING, owner) for owner in ("one", "two", None)]
        assert await sent[0] == b"first"
        assert await asyncio.gather(*sent[1:]) == [Unanswered.TIMED_OUT] * 2
        assert link.consecutive_timeouts == 2
        fourth = link.send(PING, "four")
        go_on.set()

        assert await fourth == b"fourth"
        assert heard.late == [("two", b"second")]
        assert link.consecutive_timeouts == 0


async def test_a_reply_to_a_caller_that_was_cancelled_counts_as_late(
    redis_server: RedisServer,
) -> None:
    heard = Heard()
    async with linked(redis_server.socket_path, heard) as link:
        link.send(PING, "gone").cancel()
        assert await link.send(PING) == b"PONG"

    assert heard.late == [("gone", b"PONG")]


@LOOPS
def test_a_stalled_loop_makes_no_false_timeouts(redis_server: RedisServer, new_loop: Loops) -> None:
    """The replies are there, only unread: timers that run before the poll must not give them up."""

    async def talk() -> None:
        loop, heard = asyncio.get_running_loop(), Heard()
        here, there = socket.socketpair()

        def stall() -> None:
            # uvloop runs what is due before it polls again, so the sweep comes before the replies.
            here.recv(1)
            redis_server.resume()
            time.sleep(2 * DEADLINE_SECONDS)

        loop.add_reader(here, stall)
        async with linked(redis_server.socket_path, heard) as link:
            for turns in range(3):
                redis_server.stall()
                sent = [link.send(PING) for _ in range(20)]
                await asyncio.sleep(turns * DEADLINE_SECONDS / SWEEPS_PER_DEADLINE)
                there.send(b".")
                assert await asyncio.gather(*sent) == [b"PONG"] * 20
            assert heard.timeouts == 0
        loop.remove_reader(here)
        here.close()
        there.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(talk())


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400\r\n\r\n", b"+a\r\n+nobody asked\r\n"])
async def test_what_is_not_the_protocol_breaks_the_link(tmp_path: Path, nonsense: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(nonsense)

    heard, path = Heard(), tmp_path / "sock"
    async with scripted(path, answer), linked(path, heard) as link:
        await link.send(PING)
        await link.closed

        assert (link.is_lost, heard.losses) == (True, 1)
        assert link.error is not None


async def test_commands_in_flight_and_after_a_loss_are_told(tmp_path: Path) -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    heard, path = Heard(), tmp_path / "sock"
    async with scripted(path, hang_up), linked(path, heard) as link:
        assert await link.send(PING) is Unanswered.LOST
        assert await link.send(PING) is Unanswered.LOST


async def test_an_idle_link_runs_no_timer(redis_server: RedisServer) -> None:
    async with linked(redis_server.socket_path, Heard()) as link:
        await link.send(PING)
        async with asyncio.timeout(5):
            while link._sweeper is not None:
                await asyncio.sleep(DEADLINE_SECONDS / 10)
        assert await link.send(PING) == b"PONG"


# Stories are answered without a turn of the loop


@coroutine
def paused() -> Generator[None, None, None]:
    """Pause as a story does; the compiled ``pause`` is awaited by compiled code only."""
    yield


async def asked(link: RedisLink, command: bytes, owner: object = None) -> object:
    """Wait for a reply as a store does within a story."""
    story = current()
    assert story is not None
    waits = link.ask(command, owner, story)
    while not waits.is_done:
        await paused()
    return waits.reply


def ask_in_a_story(link: RedisLink, command: bytes, owner: object = None) -> list[object]:
    """Ask as a request does; what comes of it appears in the list."""
    told: list[object] = []

    async def tell() -> None:
        told.append(await asked(link, command, owner))

    Story(tell(), FailureCall(told.append)).resume()
    return told


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_stories_are_answered_in_order_between_tasks(redis_server: RedisServer) -> None:
    async with linked(redis_server.socket_path, Heard()) as link:
        told = [ask_in_a_story(link, pack("ECHO", str(n))) for n in range(50)]
        sent = link.send(pack("ECHO", "task"))
        more = [ask_in_a_story(link, pack("ECHO", str(n))) for n in range(50, 100)]

        assert await sent == b"task"
        await until(lambda: more[-1])
        assert [reply for (reply,) in (*told, *more)] == [str(n).encode() for n in range(100)]
        assert link.writes == 1


async def test_where_commands_come_singly_none_waits_for_another(
    redis_server: RedisServer,
) -> None:
    async with linked(redis_server.socket_path, Heard()) as link:
        assert await link.send(PING) == b"PONG"
        written = link.writes
        told = ask_in_a_story(link, PING)
        assert link.writes == written + 1, "at once"
        more = ask_in_a_story(link, PING)
        assert link.writes == written + 1, "the next one waits for the tick's end"
        await until(lambda: more)
        assert told == more == [b"PONG"]


async def test_a_story_is_given_up_and_told_of_a_loss_as_a_task_is(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(b"+late\r\n")
        await writer.drain()
        writer.transport.abort()

    heard, path = Heard(), tmp_path / "sock"
    async with scripted(path, slow), linked(path, heard) as link:
        told = ask_in_a_story(link, PING, "owner")
        await until(lambda: told)
        assert (told, heard.timeouts) == ([Unanswered.TIMED_OUT], 1)
        go_on.set()
        await link.closed
        assert heard.late == [("owner", b"late")]
        lost = ask_in_a_story(link, PING)
        await until(lambda: lost)
        assert lost == [Unanswered.LOST]


@pytest.mark.parametrize("error", [ValueError, IndexError, ReplyError])
async def test_a_story_that_fails_keeps_nobody_from_its_answer(
    redis_server: RedisServer, error: type[Exception]
) -> None:
    failed: list[BaseException] = []

    async with linked(redis_server.socket_path, Heard()) as link:

        async def fail() -> None:
            await asked(link, PING)
            raise error

        Story(fail(), FailureCall(failed.append)).resume()
        told = ask_in_a_story(link, PING)
        await until(lambda: told)

        assert told == [b"PONG"]
        assert [type(each) for each in failed] == [error]
        assert not link.is_lost


async def test_what_a_story_asks_next_is_numbered_behind_what_was_answered(
    redis_server: RedisServer,
) -> None:
    """Deadlines count commands: one that is asked while others are answered has its own."""
    async with linked(redis_server.socket_path, Heard()) as link:
        replies: list[object] = []

        async def tell() -> None:
            for number in range(20):
                replies.append(await asked(link, pack("ECHO", str(number))))

        for _ in range(5):
            Story(tell(), FailureCall(replies.append)).resume()
        await until(lambda: len(replies) == 100)

        assert sorted(replies) == sorted([str(n).encode() for n in range(20)] * 5)
        await until(lambda: link._sweeper is None)
        assert link._answered == 100
