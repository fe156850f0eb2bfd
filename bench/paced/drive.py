"""Sends on time, whatever the answers do, and counts from when a request was due.

A request that is due while its connection still waits for an answer is sent late, and its latency
counts from when it was due: a server that stalls is charged with all who would have asked
meanwhile, not with one request only (which is known as coordinated omission).
"""

import gc
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.paced.answers import Answers
from bench.paced.timer import Alarm

LEAD_NS = 20_000_000
PATIENCE_NS = 10_000_000_000
_SECOND = 1_000_000_000
_CHUNK_BYTES = 65_536


@dataclass(slots=True)
class Line:
    """One connection: what is under way on it, and what waits for that."""

    link: socket.socket
    answers: Answers
    due_ns: int = 0
    late_ns: deque[int] = field(default_factory=deque)


@dataclass(slots=True)
class Seen:
    """What came of it.

    Attributes:
        latencies_ns: From when each was due until its answer was complete; sorted.
        lags_ns: By how much the generator itself was late where the connection was free; sorted.
        unanswered: Due, but not answered when patience was over; in the latencies as well.
    """

    latencies_ns: list[int] = field(default_factory=list)
    lags_ns: list[int] = field(default_factory=list)
    wrong: int = 0
    unanswered: int = 0
    read_bytes: int = 0


def drive(lines: Sequence[Line], message: bytes, rate: float, seconds: float) -> Seen:
    """Send so many messages a second over the lines in turn; return when all are answered.

    Raises:
        ConnectionError: the server closed a connection.
    """
    seen = Seen()
    by_descriptor = {line.link.fileno(): line for line in lines}
    start_ns = time.monotonic_ns() + LEAD_NS
    total = int(rate * seconds)
    interval_ns = _SECOND / rate
    sent = done = 0
    give_up_ns = start_ns + int(seconds * _SECOND) + PATIENCE_NS
    gc.disable()
    with Alarm() as alarm, select.epoll() as poll:
        poll.register(alarm.descriptor, select.EPOLLIN)
        for descriptor in by_descriptor:
            poll.register(descriptor, select.EPOLLIN)
        alarm.ring_at(start_ns)
        while done < total and time.monotonic_ns() < give_up_ns:
            for descriptor, _ in poll.poll(1.0):
                if descriptor == alarm.descriptor:
                    os.read(descriptor, 8)
                else:
                    done += _take(by_descriptor[descriptor], message, seen)
            now_ns = time.monotonic_ns()
            before = sent
            while sent < total and (due_ns := start_ns + int(sent * interval_ns)) <= now_ns:
                _send_or_queue(lines[sent % len(lines)], message, due_ns, seen)
                sent += 1
            if sent < total and sent != before:
                alarm.ring_at(start_ns + int(sent * interval_ns))
    _count_unanswered(lines, seen)
    seen.latencies_ns.sort()
    seen.lags_ns.sort()
    return seen


def _send_or_queue(line: Line, message: bytes, due_ns: int, seen: Seen) -> None:
    if line.due_ns:
        line.late_ns.append(due_ns)
        return
    line.due_ns = due_ns
    line.link.send(message)
    seen.lags_ns.append(time.monotonic_ns() - due_ns)


def _take(line: Line, message: bytes, seen: Seen) -> int:
    """Read what has come; return 1 if that completes an answer, and send what waited for it."""
    data = line.link.recv(_CHUNK_BYTES)
    if not data:
        raise ConnectionError("the server closed a connection")
    seen.read_bytes += len(data)
    if not line.answers.is_complete(data):
        return 0
    seen.latencies_ns.append(time.monotonic_ns() - line.due_ns)
    seen.wrong += not line.answers.is_right
    line.due_ns = 0
    if line.late_ns:
        line.due_ns = line.late_ns.popleft()
        line.link.send(message)
    return 1


def _count_unanswered(lines: Sequence[Line], seen: Seen) -> None:
    now_ns = time.monotonic_ns()
    for line in lines:
        waiting = [line.due_ns, *line.late_ns] if line.due_ns else []
        seen.latencies_ns += [now_ns - due_ns for due_ns in waiting]
        seen.unanswered += len(waiting)
