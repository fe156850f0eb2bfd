"""A story goes on when it is resumed, and never while it runs."""

import asyncio

import pytest

from gateway.story import FailureCall, Story, pause

pytestmark = pytest.mark.sources  # a compiled pause can be awaited by compiled stories only


def test_story_goes_from_pause_to_pause() -> None:
    seen: list[int] = []

    async def told() -> None:
        for step in range(3):
            seen.append(step)
            await pause()

    story = Story(told(), FailureCall(print))
    for expected in ([0], [0, 1], [0, 1, 2]):
        story.resume()
        assert seen == expected
    assert not story.is_over
    story.resume()
    assert story.is_over
    story.resume()


def test_story_that_resumes_itself_is_not_entered_twice() -> None:
    stories: list[Story] = []

    async def told() -> None:
        stories[0].resume()
        await pause()

    stories.append(Story(told(), FailureCall(print)))
    stories[0].resume()

    assert not stories[0].is_over


def test_failure_is_handed_over() -> None:
    failures: list[BaseException] = []

    async def told() -> None:
        await pause()
        raise ValueError("broken")

    story = Story(told(), FailureCall(failures.append))
    story.resume()
    story.resume()

    assert [str(error) for error in failures] == ["broken"]
    assert story.is_over


async def test_futures_of_asyncio_can_be_awaited_and_early_wakes_are_ignored() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    got: list[int] = []

    async def told() -> None:
        got.append(await future)

    story = Story(told(), FailureCall(print))
    story.resume()
    story.resume()
    assert got == []
    future.set_result(7)
    await asyncio.sleep(0)

    assert got == [7]
    assert story.is_over
