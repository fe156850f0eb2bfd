"""A background task has a name, lives until it is done, and never dies in silence."""

import asyncio
import gc
from typing import Any

import pytest

from gateway import tasks
from gateway.tasks import spawn


class MortalError(Exception):
    """What a task dies of."""


async def die() -> None:
    raise MortalError


async def test_a_task_has_its_name_and_its_result() -> None:
    async def work() -> int:
        return 7

    task = spawn(work(), name="work")

    assert task.get_name() == "work"
    assert await task == 7


async def test_nobody_else_need_keep_a_task() -> None:
    went_on = asyncio.Event()
    may_go_on: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await may_go_on
        went_on.set()

    spawn(work(), name="work")
    await asyncio.sleep(0)
    gc.collect()
    may_go_on.set_result(None)
    async with asyncio.timeout(5):
        await went_on.wait()

    await asyncio.sleep(0)
    assert not [task for task in tasks._running if task.get_name() == "work"]


async def test_a_death_is_told_to_who_asked() -> None:
    told: list[tuple[str, BaseException]] = []

    task = spawn(die(), name="mortal", on_error=lambda name, error: told.append((name, error)))
    await asyncio.wait([task])
    await asyncio.sleep(0)

    assert [(name, type(error)) for name, error in told] == [("mortal", MortalError)]


async def test_a_death_that_nobody_asked_for_reaches_the_loop() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, facts: told.append(facts))

    task = spawn(die(), name="mortal")
    await asyncio.wait([task])
    await asyncio.sleep(0)

    assert [facts["message"] for facts in told] == ["task mortal died"]
    assert isinstance(told[0]["exception"], MortalError)


@pytest.mark.parametrize("asked", [True, False])
async def test_a_cancelled_task_is_no_death(asked: bool) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, facts: told.append(facts))

    task = spawn(
        asyncio.sleep(3600),
        name="idle",
        on_error=(lambda _name, error: told.append(error)) if asked else None,
    )
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)

    assert told == []
