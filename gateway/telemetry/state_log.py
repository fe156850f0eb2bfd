"""Events that a fault repeats with each call: told once a state, counted, and told when it is over.

The first one of each kind is logged at once and whole. Those that follow are counted; while they
last, a line each minute says how many came (``repeated``). When none has come for a while, the
event's name with ``_over`` says how many there were of each kind.
Source: docs/operations.md, "What is logged of a fault that lasts".
"""

import threading
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

EVERY_SECONDS: Final = 60
"""How often a fault that lasts is told of."""
QUIET_SECONDS: Final = 10
"""A fault of which nothing has come for so long is over."""
KINDS_MAX: Final = 16
"""So many kinds of a fault are told apart; a server chooses the words of its errors."""
OTHERS: Final = "other"

_MICRO: Final = 1_000_000

_all: "WeakSet[StateLog]" = WeakSet()
_guard: Final = threading.Lock()


class StateLog:
    """One event of one component, from any thread.

    Args:
        log: A structlog logger.
        event: The event's name.
        now_micro: Monotonic.
        level: The method of ``log`` by which it is told.
    """

    def __init__(
        self,
        log: Any,  # noqa: ANN401 - structlog types its loggers so
        event: str,
        now_micro: Callable[[], int],
        *,
        level: str = "error",
    ) -> None:
        self._log = log
        self._event = event
        self._now_micro = now_micro
        self._level = level
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._untold = 0
        self._facts: dict[str, object] = {}
        self._since_micro = self._last_micro = self._told_micro = 0
        with _guard:
            _all.add(self)

    def note(self, kind: str = "", **facts: object) -> bool:
        """Take one occurrence; return whether it is told now rather than counted.

        Args:
            kind: What tells one fault from another; of few values.
            facts: What the line says.
        """
        now_micro = self._now_micro()
        with self._lock:
            ended = self._ended(now_micro)
            if not self._counts:
                self._since_micro = self._told_micro = now_micro
            if kind not in self._counts and len(self._counts) >= KINDS_MAX:
                kind = OTHERS
            is_new = kind not in self._counts
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._last_micro = now_micro
            self._untold += not is_new
            # A traceback would keep alive all that its frames refer to.
            self._facts = {name: fact for name, fact in facts.items() if name != "exc_info"}
            lasting = self._lasting(now_micro)
        self._tell(ended)
        if is_new:
            getattr(self._log, self._level)(self._event, **facts)
        self._tell(lasting)
        return is_new or bool(lasting)

    def look(self) -> None:
        """Tell of what time alone has brought: a minute of it, or its end."""
        now_micro = self._now_micro()
        with self._lock:
            told = self._ended(now_micro) or self._lasting(now_micro)
        self._tell(told)

    def over(self) -> None:
        """Take it for over, as far as anything came: the process stops, or is known to be well."""
        with self._lock:
            told = self._end()
        self._tell(told)

    def _tell(self, told: tuple[str, str, dict[str, object]] | None) -> None:
        if told is not None:
            level, event, facts = told
            getattr(self._log, level)(event, **facts)

    def _lasting(self, now_micro: int) -> tuple[str, str, dict[str, object]] | None:
        if not self._untold or now_micro - self._told_micro < EVERY_SECONDS * _MICRO:
            return None
        facts = {**self._facts, **self._span(), "repeated": self._untold}
        self._untold = 0
        self._told_micro = now_micro
        return self._level, self._event, facts

    def _ended(self, now_micro: int) -> tuple[str, str, dict[str, object]] | None:
        is_quiet = now_micro - self._last_micro >= QUIET_SECONDS * _MICRO
        return self._end() if self._counts and is_quiet else None

    def _end(self) -> tuple[str, str, dict[str, object]] | None:
        if not self._counts:
            return None
        facts = self._span()
        self._counts, self._facts, self._untold = {}, {}, 0
        return "warning", f"{self._event}_over", facts

    def _span(self) -> dict[str, object]:
        return {
            "count": sum(self._counts.values()),
            "kinds": {kind: count for kind, count in self._counts.items() if kind},
            "seconds": (self._last_micro - self._since_micro) // _MICRO,
        }


def look_at_all() -> None:
    """Have every log of this process tell of what time has brought; called about once a second."""
    for log in _logs():
        log.look()


def end_all() -> None:
    """Tell of everything that is counted and not told: the process stops."""
    for log in _logs():
        log.over()


def kind_of(error: BaseException) -> str:
    """Return what tells a bug from others: its type and the line that raised it."""
    trace = error.__traceback__
    if trace is None:
        return type(error).__name__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{type(error).__name__} {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"


def _logs() -> list[StateLog]:
    with _guard:
        return list(_all)
