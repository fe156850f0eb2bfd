"""Drives one request's coroutine without a task: what it waits for resumes it by a plain call.

A task, a future and a turn of the loop for each wait would cost more than all decisions together
(docs/decisions). Inside a story, ``await pause()`` gives way until ``resume`` is called; whoever
pauses looks again at what it waits for, since a story may be resumed early. Awaiting a future of
asyncio works as well and is what rare, slow paths do.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType, coroutine
from typing import Any, Final


@coroutine
def pause() -> Generator[None, None, None]:
    """Give way until the story is resumed. Only inside a story."""
    yield


_END: Final = object()
_step_of: Final = next  # compiled, a builtin is looked up each time


class _Stage:
    """Where stories are told: one thread tells all of them, one step at a time."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running: Story | None = None


_STAGE: Final = _Stage()
"""An attribute of an object: compiled, a module's global costs a look-up for each access."""


def current() -> "Story | None":
    """Return the story that is being told now; None in a task, or outside of both."""
    return _STAGE.running


class Teller(asyncio.Protocol):
    """Who begins stories, and is told of those that fail.

    A class and no function: to bind one to its object anew for each story would cost a look-up. A
    protocol of asyncio, because connections are, and a compiled class has one base.
    """

    __slots__ = ()

    @abstractmethod
    def story_failed(self, error: BaseException) -> None:
        """Learn that a story of this one ended with an error that it did not handle."""
        raise NotImplementedError


class FailureCall(Teller):
    """A function that is told in the place of whoever began a story."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed

    def story_failed(self, error: BaseException) -> None:
        """Call it."""
        self._failed(error)


class Story:
    """One coroutine on its way; never resumed while it runs, never cancelled from outside."""

    __slots__ = ("_is_running", "_steps", "_teller", "_waits_for_future", "is_over")

    def __init__(self, told: Coroutine[Any, Any, None], teller: Teller) -> None:
        # One that is compiled takes its steps itself.
        self._steps: Any = told.__await__() if isinstance(told, CoroutineType) else told
        self._teller = teller
        self._is_running = False
        self._waits_for_future = False
        self.is_over = False

    def resume(self) -> None:
        """Go on, if the story has paused; ignored while it runs or waits for a future."""
        if not (self._is_running or self._waits_for_future or self.is_over):
            self._step()

    def _step(self) -> None:
        stage = _STAGE
        before, stage.running = stage.running, self
        self._is_running = True
        try:
            # An end that is no exception: raising and catching one costs as much as a step.
            waits_for: Any = _step_of(self._steps, _END)
        except BaseException as error:  # noqa: BLE001 - handed to whoever began the story
            self._is_running = False
            self.is_over = True
            self._teller.story_failed(error)
            return
        finally:
            stage.running = before
        self._is_running = False
        if waits_for is _END:
            self.is_over = True
        elif waits_for is not None:
            self._wait_for(waits_for)

    def _wait_for(self, future: "asyncio.Future[Any]") -> None:
        future._asyncio_future_blocking = False  # noqa: SLF001 - asyncio's protocol with its driver
        self._waits_for_future = True
        future.add_done_callback(self._future_done)

    def _future_done(self, _future: "asyncio.Future[Any]") -> None:
        self._waits_for_future = False
        self._step()
