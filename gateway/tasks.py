"""Background tasks: named, referenced until done, and never dying in silence."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

_running: set[asyncio.Task[Any]] = set()


def spawn(
    work: Coroutine[Any, Any, Any],
    *,
    name: str,
    on_error: Callable[[str, BaseException], None] | None = None,
) -> asyncio.Task[Any]:
    """Start ``work`` as a task of this loop.

    Args:
        work: The coroutine to run.
        name: Shown in debuggers and given to ``on_error``.
        on_error: Called with the name and the exception if the task dies of one; without it the
            event loop's exception handler is called.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)

    def finished(done: asyncio.Task[Any]) -> None:
        _running.discard(done)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            return
        if on_error is not None:
            on_error(name, error)
        else:
            done.get_loop().call_exception_handler(
                {"message": f"task {name} died", "exception": error, "task": done}
            )

    task.add_done_callback(finished)
    return task
