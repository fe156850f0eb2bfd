"""A bug that a caller can hit again and again cuts its requests and does not fill the log."""

from gateway.keys.port import KeyDirectory, KeyEntry
from tests.proxy.test_repetition import GET
from tests.support.data_plane import DataPlane

TIMES = 30


class Buggy(KeyDirectory):
    """A directory that fails in an unforeseen way."""

    def known(self, _key_hash: bytes) -> KeyEntry | None:
        raise ZeroDivisionError("a bug")


async def test_a_bug_is_told_once_and_counted(plane: DataPlane) -> None:
    sound, plane.ports.keys = plane.ports.keys, Buggy()
    for _ in range(TIMES):
        client = await plane.client(GET)
        assert await client.rest() == b""
    plane.ports.keys = sound
    (told,) = plane.failed_stories
    assert isinstance(told, dict)
    assert isinstance(told["exc_info"], ZeroDivisionError)

    plane.ports.bugs.over()

    over = plane.log[-1]
    assert (over["event"], over["count"]) == ("proxy.story_failed_over", TIMES)
    await plane.records(TIMES)
    plane.log.clear()
