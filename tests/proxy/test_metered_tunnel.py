"""Nothing passes unreserved, nothing reserved is lost: counters, records and what passed agree."""

import asyncio
import random
from pathlib import Path

import pytest

from gateway.counters.memory import MemoryCounterStore
from gateway.rules.units import MICRO
from tests.proxy.tunnels import (
    Ends,
    close,
    closed,
    counted_micro,
    dc_of,
    limited,
    meter,
    metered,
    opened,
    ping,
    rest,
    text,
    told,
    used,
)
from tests.support.data_plane import DataPlane
from tests.support.wire import Wire

DECEMBER_MICRO = 1_764_547_201 * MICRO


# Messages


async def test_each_slice_of_messages_is_a_charge_and_a_record(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "messages", 2, 1)
    assert await plane.counted() == (1, 0)  # the handshake is a request; its 101 costs nothing
    for number in range(5):
        await (ends.up(text(b"up %d" % number)) if number % 2 else ends.down(text(b"down")))

    whole = await plane.records(2)
    await ends.leave()
    (last,) = await plane.records(1)

    assert dc_of(whole) == [1, 1]
    assert dc_of([last]) == [0.5]
    assert last.reason == "tunnel"
    assert last.billable
    assert await counted_micro(plane) == 5 * MICRO // 2
    assert (await plane.counted())[0] == 4
    records = [*whole, last]
    assert len({record.event_id for record in records}) == 3
    assert len({record.request_id for record in records}) == 1
    assert {record.workspace_id for record in records} == {"acme"}
    assert {record.route for record in records} == {"ws"}
    assert plane.ports.stats.worker.tunnel_slices == 3


async def test_control_frames_and_fragments_are_no_messages(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 10)
    await ends.up(ping(b"a"))
    assert await plane.counted() == (1, 0)
    await ends.up(text(b"be", fin=False) + ping() + rest(b"gin", fin=False) + rest(b"ning"))
    await ends.up(text(b"second")[:5])
    await ends.down(close(1000, masked=False))

    await ends.leave()

    assert dc_of(await plane.records(1)) == [2]
    assert await counted_micro(plane) == 2 * MICRO


async def test_a_conversation_without_messages_costs_nothing(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "messages")
    await ends.up(ping())
    await ends.leave()

    await plane.records(0)
    assert await plane.counted() == (1, 0)


async def test_a_flood_passes_slice_by_slice(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "messages", 3, 1)
    frames = b"".join(text(b"%d" % number) for number in range(200))
    await asyncio.gather(ends.up(frames), ends.down(frames))
    await ends.leave()

    records = await plane.records(134)

    assert sum(record.charged_micro["dc"] for record in records) == -(-400 * MICRO // 3)
    assert await counted_micro(plane) == -(-400 * MICRO // 3)
    assert sum(record.bytes_in for record in records) == len(frames)
    assert sum(record.bytes_out for record in records) == len(frames)


async def test_the_message_beyond_the_limit_does_not_pass(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 1)
    used(plane, 3028)
    await ends.up(text(b"last"))
    await ends.down(text(b"but one", masked=False))
    await ends.client.send(text(b"too many") + text(b"far too many"))

    await closed(ends, 1008, "quota_exceeded")

    *passed, refused = await plane.records(3)
    assert dc_of(passed) == [1, 1]
    assert (refused.outcome, refused.code, refused.status) == ("refused", "quota_exceeded", 429)
    assert refused.violated == ["hard_overage_cap"]
    assert refused.flags == ["slice"]
    assert not refused.billable
    assert await counted_micro(plane) == 3030 * MICRO
    assert plane.ports.stats.worker.tunnels_ended == {"quota_exceeded": 1}


async def test_a_refusal_that_is_remembered_is_told_like_the_first(
    plane: DataPlane, tmp_path: Path
) -> None:
    """The next tunnel's slice is refused without the store; it names the same limit."""
    limited(plane, tmp_path, meter("messages"))
    ends = [await opened(plane) for _ in range(3)]
    used(plane, 3030)
    for each in ends:
        await each.client.send(text(b"too many"))
        assert await told(each.client) == (1008, "quota_exceeded", False)
        each.client.close()
        each.upstream.close()

    records = await plane.records(3)

    assert [record.violated for record in records] == [["hard_overage_cap"]] * 3
    assert plane.ports.stats.store.refused_locally == 2
    await ends[0].over()


async def test_two_tunnels_never_pass_a_limit_together(plane: DataPlane, tmp_path: Path) -> None:
    first = await metered(plane, tmp_path, "messages", 1, 1)
    second = await opened(plane)
    used(plane, 3025)

    async def talk(ends: Ends) -> None:
        for _ in range(20):
            await ends.client.send(text(b"x"))
            await plane.turns()

    await asyncio.gather(talk(first), talk(second))

    passed = 0
    for ends in (first, second):
        while (await ends.upstream.exactly(len(text(b"x"))))[0] == 0x81:
            passed += 1
        ends.upstream.close()
        ends.client.close()
    await second.over()
    records = await plane.records(7)
    assert passed == sum(record.billable for record in records) == 5
    assert await counted_micro(plane) == 3030 * MICRO


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("by", ["messages", "bytes"])
async def test_any_talk_in_any_pieces_is_counted_to_the_last(
    plane: DataPlane, tmp_path: Path, by: str, seed: int
) -> None:
    chance = random.Random(seed)
    per_unit = chance.choice((1, 2, 5)) * (1 if by == "messages" else 97)
    ends = await metered(plane, tmp_path, by, per_unit, chance.choice((1, 2, 7)))
    messages, ways = 0, list[bytes]()
    for _ in range(2):
        data = b""
        for _ in range(chance.randrange(30)):
            messages += 1
            payload = b"x" * chance.choice((0, 1, 125, 126, 700))
            if chance.random() < 0.3:
                data += text(payload, fin=False) + ping(b"p") + rest(payload, fin=False) + rest(b"")
            else:
                data += text(payload) + (ping() if chance.random() < 0.2 else b"")
        ways.append(data)

    async def pass_in_pieces(sender: Wire, receiver: Wire, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = chance.choice((1, 3, 50, 2000))
            await sender.send(data[at : at + size])
            at += size
            if chance.random() < 0.2:
                await plane.turns(2)
        assert await receiver.exactly(len(data)) == data

    await asyncio.gather(
        pass_in_pieces(ends.client, ends.upstream, ways[0]),
        pass_in_pieces(ends.upstream, ends.client, ways[1]),
    )
    await ends.leave()

    used = messages if by == "messages" else len(ways[0]) + len(ways[1])
    await plane.counted()
    records = plane.journal.reader.read_unshipped(10_000).records[1:]
    expected_micro = -(-used * MICRO // per_unit)
    assert sum(record.charged_micro["dc"] for record in records) == expected_micro
    assert await counted_micro(plane) == expected_micro


# Bytes


async def test_bytes_are_counted_with_their_framing(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "bytes", 1000, 2)
    await ends.up(text(b"x" * 1492))  # 1500 with its head and mask
    await ends.down(text(b"x" * 996, masked=False))
    assert dc_of(await plane.records(1)) == [2]
    await ends.leave()

    (last,) = await plane.records(1)

    assert dc_of([last]) == [0.5]
    assert (last.bytes_in, last.bytes_out) == (0, 500)
    assert await counted_micro(plane) == 2_500_000


async def test_bytes_beyond_the_limit_do_not_pass(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "bytes", 100, 1)
    used(plane, 3028)
    await ends.client.send(text(b"x" * 1000))

    assert await ends.upstream.rest() == ends.upstream.received[-200:]
    assert await told(ends.client) == (1008, "quota_exceeded", False)
    await ends.client.send(close())  # it answers, within its frame or behind it
    ends.client.close()
    await ends.over()
    *passed, _ = await plane.records(3)
    assert dc_of(passed) == [1, 1]
    assert [record.bytes_in for record in passed] == [100, 100]
    assert await counted_micro(plane) == 3030 * MICRO


async def test_large_messages_pass_whole(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "bytes", 4096, 3)
    data = text(b"x" * 3_000_000)
    await asyncio.gather(ends.client.send(data), ends.upstream.send(data))
    assert (await ends.upstream.exactly(len(data))) == data
    assert (await ends.client.exactly(len(data))) == data
    await ends.leave()

    records = await plane.records(-(-2 * len(data) // (3 * 4096)))

    assert sum(record.charged_micro["dc"] for record in records) == -(
        -2 * len(data) * MICRO // 4096
    )
    assert sum(record.bytes_in for record in records) == len(data)


# Seconds


async def test_seconds_are_reserved_before_they_pass(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "seconds", 1, 10)
    assert await plane.counted() == (2, 10)
    await plane.advance(9.5)
    await ends.up(text(b"still"))
    await plane.records(0)
    await plane.advance(0.6)
    assert await plane.counted() == (3, 20)
    assert dc_of(await plane.records(1)) == [10]
    await plane.advance(4)
    await ends.leave()

    (last,) = await plane.records(1)

    (seconds,) = dc_of([last])
    assert 4.1 <= seconds < 10  # the clock runs on as well
    assert await counted_micro(plane) == 10 * MICRO + last.charged_micro["dc"]


async def test_time_goes_on_where_the_slice_before_it_ended(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "seconds", 60, 1, ", duration: 5m")
    await plane.advance(130)  # nobody looked meanwhile: two slices are over, a third has begun
    for _ in range(3):
        await plane.advance(0)
    assert dc_of(await plane.records(2)) == [1, 1]
    assert (await plane.counted())[1] == 3

    await plane.advance(171)
    for _ in range(3):
        await plane.advance(0)

    await closed(ends, 1001, "duration")
    records = await plane.records(1)
    assert sum(dc_of(records)) == 1


async def test_without_the_next_slice_time_stands_still(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "seconds", 1, 10)
    used(plane, 3030)

    await plane.advance(10.1)

    await closed(ends, 1008, "quota_exceeded")
    passed, refused = await plane.records(2)
    assert dc_of([passed]) == [10]
    assert refused.code == "quota_exceeded"


async def test_data_after_the_time_waits_for_the_next_slice(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "seconds", 1, 10)
    used(plane, 3030)
    plane._loop.ahead_seconds += 10.1  # type: ignore[attr-defined]  # the sweep is late

    await ends.client.send(text(b"too late"))

    await closed(ends, 1008, "quota_exceeded")
    await plane.records(2)


# What ends a slice


@pytest.mark.parametrize("how", ["half_close", "reset"])
@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_whoever_ends_it_gets_the_rest_back(
    plane: DataPlane, tmp_path: Path, side: str, how: str
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 100)
    await ends.up(text(b"one"))
    await ends.down(text(b"two"))
    assert await plane.counted() == (2, 100)
    mine, other = (ends.client, ends.upstream)[:: 1 if side == "client" else -1]

    getattr(mine, how)()

    await other.rest()
    other.close()
    await ends.over()
    assert dc_of(await plane.records(1)) == [2]
    assert await plane.counted() == (2, 2)


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_the_direction_that_is_kept_is_charged_as_before(
    plane: DataPlane, tmp_path: Path, side: str
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 1)
    await ends.up(text(b"one"))
    await plane.records(1)
    mine, other = (ends.client, ends.upstream)[:: 1 if side == "client" else -1]
    mine.half_close()
    assert await other.rest() == b""
    both = text(b"two") + text(b"three")
    await other.send(both)

    assert await mine.exactly(len(both)) == both

    other.half_close()
    assert await mine.rest() == b""
    await ends.over()
    assert dc_of(await plane.records(2)) == [1, 1]
    assert (await plane.counted())[1] == 3


async def test_the_idle_time_ends_the_slice_too(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 100, ", idle: 30s")
    await ends.up(text(b"one"))

    await plane.advance(31)

    await closed(ends, 1001, "idle")
    assert dc_of(await plane.records(1)) == [1]
    assert await plane.counted() == (2, 1)


async def test_the_stop_ends_the_slice_at_once(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 100)
    await ends.up(text(b"one"))

    for connection in tuple(plane.ports.connections):
        connection.cut()  # type: ignore[attr-defined]
    await plane.journal.flush()

    assert dc_of(await plane.records(1)) == [1]
    await ends.client.rest()
    await ends.upstream.rest()
    await ends.over()
    assert await plane.counted() == (2, 1)


async def test_a_slice_ends_with_the_billing_period(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 100)
    await ends.up(text(b"november"))
    plane.ports.clock.set(DECEMBER_MICRO)  # type: ignore[attr-defined]
    await plane.advance(86_400 * 11)
    (first,) = await plane.records(1)
    await ends.up(text(b"december"))
    await ends.leave()

    (second,) = await plane.records(1)

    assert dc_of([first, second]) == [1, 1]
    assert (first.period, second.period) == ("2025-11", "2025-12")
    assert {delta[0] for delta in first.deltas} == {"usage:{acme}:2025-11"}


async def windowed(
    plane: DataPlane, folder: Path, rules: str, kind: str, window: str, cap: int
) -> Ends:
    """Return a tunnel under a limit of its own, at the beginning of its window."""
    policy = f"policies: [{{name: own, kind: {kind}, meter: dc, window: {window}, cap: {cap}}}]\n"
    limited(
        plane,
        folder,
        rules,
        more="limits: [rpm, own], cost: {dc: 0},",
        change=lambda whole: policy + whole,
    )
    return await opened(plane)


async def test_a_slice_ends_with_the_window_it_was_charged_in(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await windowed(plane, tmp_path, meter("messages", 1, 10), "rate", "5s", 10)
    await ends.up(text(b"a first one"))

    await plane.advance(5)
    assert dc_of(await plane.records(1)) == [1]
    await plane.advance(60)  # nothing is said: nothing is reserved
    await plane.records(0)

    for number in range(10):
        await ends.up(text(b"%d" % number))
    assert dc_of(await plane.records(1)) == [10]
    await ends.client.send(text(b"one more"))
    await closed(ends, 1008, "quota_exceeded")
    await plane.records(1)


@pytest.mark.parametrize("by", ["messages", "bytes"])
async def test_what_was_reserved_in_one_window_does_not_pass_in_the_next(
    plane: DataPlane, tmp_path: Path, by: str
) -> None:
    message = text(b"x")
    units = 4 if by == "messages" else 4 * len(message)
    ends = await windowed(plane, tmp_path, meter(by, 1, units), "rate", "5s", units)
    await ends.up(message)
    plane._loop.ahead_seconds += 5  # type: ignore[attr-defined]  # the sweep is late
    plane.ports.clock.advance(5)  # type: ignore[attr-defined]

    await ends.client.send(message * 5)

    assert await ends.upstream.exactly(4 * len(message)) == message * 4
    await closed(ends, 1008, "quota_exceeded")
    first, second, refused = await plane.records(3)
    assert dc_of([first, second]) == [units // 4, units]
    assert refused.code == "quota_exceeded"


async def test_time_is_counted_in_the_window_in_which_it_passes(
    plane: DataPlane, tmp_path: Path
) -> None:
    rules = meter("seconds", 1, 40)
    ends = await windowed(plane, tmp_path, rules, "quota", "60s", 80)
    await plane.advance(45)
    await plane.advance(15)
    await plane.advance(30)
    await ends.leave()

    records = await plane.records(3)

    whole, short, last = dc_of(records)
    assert whole == 40
    assert 20 <= short < 21  # real time passes, too
    assert 29 < last < 31
    counters = plane.ports.counters
    await plane.counted()
    assert isinstance(counters, MemoryCounterStore)
    own = [known for key, known in counters._counters.items() if key.startswith("policy-own")]
    assert [known.value_micro for known in own] == [records[2].charged_micro["dc"]]


async def test_a_window_of_calls_ends_no_slice(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 10)  # under rpm as well
    await ends.up(text(b"a"))
    await plane.advance(61)
    await ends.up(text(b"b"))
    await plane.records(0)

    await ends.leave()

    assert dc_of(await plane.records(1)) == [2]
