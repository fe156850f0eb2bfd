"""A YAML text as a stream of events, read by a schema: one pass, every fault with its place.

Nothing is built but what the schema keeps: a file of 100,000 keys would otherwise become a million
nodes first. Scalars are taken as they are written, so that an id ``no`` or ``0123`` stays text.
"""

from collections.abc import Callable, Iterator
from typing import Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from gateway.errors import ConfigError, Fault
from gateway.keys.yaml_words import place_and_words
from gateway.rules.identifiers import suggestion

FAULTS_MAX: Final = 100
"""More are not read by anybody; a file of the wrong kind would have one per line."""

WHOLE: Final = "(file)"
"""The path of a fault of the whole file."""
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


class YamlEvents:
    """Reads one document. Every reading method consumes exactly one node, right or wrong.

    Args:
        text: The YAML text; JSON is read as well.
        file: Its name in faults.
    """

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._text = text
        self._events: Iterator[Event] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._last: Event | None = None
        self._ahead: Event | None = None

    def read(self, document: Callable[[str], None]) -> None:
        """Let ``document`` (called with the root's path) read the document.

        Raises:
            ConfigError: with every fault.
        """
        try:
            self._expect(StreamStartEvent)
            if not isinstance(self._peek(), DocumentStartEvent):
                self.fault(WHOLE, "the file is empty")
                raise ConfigError(self._faults)
            self._expect(DocumentStartEvent)
            document(WHOLE)
            self._expect(DocumentEndEvent)
            if not isinstance(self._next(), StreamEndEvent):
                self.fault(WHOLE, "a second document begins here", "one document in a file")
        except yaml.YAMLError as error:
            self._syntax_fault(error)
        if self._faults:
            raise ConfigError(self._faults)

    def fault(self, path: str, message: str, expected: str = "") -> None:
        """Note a mistake at the place of the event that was read last.

        Raises:
            ConfigError: there are too many already.
        """
        self._faults.append(self._placed(path, message, expected))
        if len(self._faults) >= FAULTS_MAX:
            raise ConfigError(self._faults)

    def warn(self, path: str, message: str, expected: str = "") -> None:
        """Note what is allowed, but not for long, at the place of the event that was read last."""
        if len(self.warnings) < FAULTS_MAX:
            self.warnings.append(self._placed(path, message, expected))

    def _placed(self, path: str, message: str, expected: str) -> Fault:
        mark = self._last.start_mark if self._last is not None else None
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        return Fault(self._file, line, column, path, message, expected)

    def members(self, path: str, allowed: frozenset[str]) -> Iterator[str]:
        """Yield a mapping's keys; the caller reads each value before it asks for the next key."""
        if not self._begins(MappingStartEvent, path, "a mapping"):
            return
        seen: set[str] = set()
        while not isinstance(self._peek(), MappingEndEvent):
            name = self.text(path, "a name")
            below = "" if path == WHOLE else f"{path}."
            if name is None:
                self.skip()
            elif name not in allowed:
                self._unknown(f"{below}{name[:80]}", name, allowed)
                self.skip()
            elif name in seen:
                self.fault(f"{below}{name}", "given twice")
                self.skip()
            else:
                seen.add(name)
                yield name
        self._next()

    def items(self, path: str) -> Iterator[str]:
        """Yield the path of each item of a sequence; the caller reads the item."""
        if not self._begins(SequenceStartEvent, path, "a list"):
            return
        index = 0
        while not isinstance(self._peek(), SequenceEndEvent):
            yield f"{path}[{index}]"
            index += 1
        self._next()

    def text(self, path: str, expected: str) -> str | None:
        """Return a scalar as it is written; None, and a fault, if it is none or null."""
        value = self.optional_text(path, expected)
        if value is None and isinstance(self._last, ScalarEvent):
            self.fault(path, "is empty", expected)
        return value

    def optional_text(self, path: str, expected: str) -> str | None:
        """Return a scalar as it is written, None for null; anything else is a fault."""
        if not self._begins(ScalarEvent, path, expected):
            return None
        event = self._last
        assert isinstance(event, ScalarEvent)
        is_plain = event.implicit[0]
        return None if is_plain and event.value in _NULLS else str(event.value)

    def skip(self) -> None:
        """Pass over a whole node."""
        depth = 0
        while True:
            event = self._next()
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                depth += 1
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                depth -= 1
            if depth == 0:
                return

    def _unknown(self, path: str, name: str, allowed: frozenset[str]) -> None:
        if name == "<<":
            self.fault(path, "merge keys (<<) are not supported", "the keys themselves")
        else:
            self.fault(path, "this key is not known here", suggestion(name, allowed))

    def _begins(self, kind: type[Event], path: str, expected: str) -> bool:
        """Step into a node of this kind; report and skip any other."""
        event = self._peek()
        if isinstance(event, kind) and not isinstance(event, AliasEvent):
            self._next()
            if getattr(event, "tag", None) is not None or getattr(event, "anchor", None):
                self.fault(path, "tags and anchors are not used here", expected)
            return True
        self._last = event
        self.fault(path, _found_instead(event), expected)
        self.skip()
        return False

    def _peek(self) -> Event:
        if self._ahead is None:
            self._ahead = next(self._events)
        return self._ahead

    def _next(self) -> Event:
        self._last = self._peek()
        self._ahead = None
        return self._last

    def _expect(self, kind: type[Event]) -> None:
        event = self._next()
        assert isinstance(event, kind), event

    def _syntax_fault(self, error: yaml.YAMLError) -> None:
        line, column, problem = place_and_words(self._text, error)
        self._faults.append(Fault(self._file, line, column, WHOLE, f"not YAML: {problem}"))


def _found_instead(event: Event) -> str:
    match event:
        case AliasEvent():
            return "aliases are not used here"
        case MappingStartEvent():
            return "a mapping can't stand here"
        case SequenceStartEvent():
            return "a list can't stand here"
        case ScalarEvent(value=value) if event.implicit[0] and value in _NULLS:
            return "given, but empty"
        case _:
            return "a text can't stand here"
