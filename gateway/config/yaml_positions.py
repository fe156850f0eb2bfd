"""YAML as plain data, with the place of every value: faults can say line and column.

Only safe scalars, string keys, no duplicates; depth and aliases are bounded, so that a small file
can't become a large one. Scalars mean what YAML 1.2 says (``off`` is a word, not a boolean), since
that is what editors show. ``${NAME}`` in a string is replaced from the environment: secrets, never
structure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import yaml

from gateway.config.quantities import plain_number
from gateway.errors import ConfigError, Fault
from gateway.keys.yaml_words import place_and_words

Path = tuple[str | int, ...]
NODES_MAX: Final = 500_000
"""A route file of 5,000 routes has about 100,000 nodes."""
DEPTH_MAX: Final = 32
NOT_UTF8: Final = re.compile("[\ud800-\udfff]")
"""What variables and arguments hold in place of bytes that are no UTF-8."""
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TAG: Final = "tag:yaml.org,2002:"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_FRACTION: Final = re.compile(r"[-+]?[0-9]{0,19}\.[0-9]{0,19}(?:[eE][-+]?[0-9]{1,3})?")
_SIXTIES: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
"""YAML 1.1 reads ``1:30`` as ninety; YAML 1.2 and people read a text."""


@dataclass(slots=True)
class Document:
    """A parsed file: data, and line and column (from 1) of each value by its path.

    Attributes:
        numbers: Of lists that items were left out of: which ones are left.
        filled: What a variable of the environment stands in: it may be a secret.
    """

    file: str
    data: object = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    filled: set[Path] = field(default_factory=set)
    numbers: dict[str, list[int]] = field(default_factory=dict)

    def fault(self, path: Path, message: str, expected: str = "") -> Fault:
        """Return a fault at the place of a path, or of the nearest value above it."""
        if len(path) > 1 and isinstance(path[1], int) and path[0] in self.numbers:
            path = (path[0], self.numbers[str(path[0])][path[1]], *path[2:])
        known = path
        while known and known not in self.positions:
            known = known[:-1]
        line, column = self.positions.get(known, (1, 1))
        return Fault(self.file, line, column, dotted(path), message, expected)


def dotted(path: Path) -> str:
    """Return a path as people write it: ``routes[0].match.path``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "(file)"


def parse(text: str, file: str, environ: Mapping[str, str]) -> Document:
    """Return the document of a text.

    Raises:
        ConfigError: it is not YAML, or holds what a configuration must not.
    """
    document = read_document(text, file, environ)
    if document.faults:
        raise ConfigError(document.faults)
    return document


def read_document(text: str, file: str, environ: Mapping[str, str]) -> Document:
    """Return the document of a text, with the faults of what a configuration must not hold.

    Raises:
        ConfigError: it is not YAML, or too large to look further.
    """
    document = Document(file)
    try:
        _check_depth(text, document)
        node = yaml.compose(text, _LOADER)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_fault(text, file, error)]) from error
    if node is not None:
        document.data = _Builder(document, environ).build(node, ())
    return document


def _check_depth(text: str, document: Document) -> None:
    """Refuse deep nesting before composing, which recurses in C and would end the process."""
    depth = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                mark = event.start_mark
                place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
                message = f"nested deeper than {DEPTH_MAX} levels"
                raise ConfigError([Fault(document.file, *place, "(file)", message)])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _syntax_fault(text: str, file: str, error: yaml.YAMLError) -> Fault:
    line, column, problem = place_and_words(text, error)
    return Fault(file, line, column, "(file)", f"not valid YAML: {problem}")


def _tag_text(tag: str) -> str:
    return tag if tag.startswith("!") else f"!!{tag}"


class _Builder:
    """Turns nodes into data."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._nodes = 0

    def build(self, node: yaml.Node, path: Path) -> object:
        """Return the data of a node, and note where it and everything below it stand."""
        self._nodes += 1
        mark = node.start_mark
        self._document.positions[path] = (mark.line + 1, mark.column + 1)
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            raise ConfigError(
                [self._document.fault(path, "too large or too deep, aliases counted")]
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        built: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key_node.tag == _TAG + "merge":
                self._note(
                    path, key_node, "merge keys (<<) are not supported", "the keys themselves"
                )
                continue
            if key is None:
                self._note(path, key_node, "a key has to be a plain string")
                continue
            if key in built:
                self._note((*path, key), key_node, "this key is given twice")
                continue
            built[key] = self.build(value_node, (*path, key))
        return built

    def _note(self, path: Path, node: yaml.Node, message: str, expected: str = "") -> None:
        mark = node.start_mark
        place = (self._document.file, mark.line + 1, mark.column + 1, dotted(path))
        self._document.faults.append(Fault(*place, message, expected))

    def _scalar(self, node: yaml.Node, path: Path) -> object:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return self._boolean(text)
            case "int" | "float":
                return self._number(text, node, path)
            case "str" | "timestamp":
                return self._string(text, node, path)
            case other:
                self._note(path, node, f"the tag {_tag_text(other)} can't be used here", "no tag")
                return None

    @staticmethod
    def _boolean(text: str) -> bool | str:
        return text.lower() == "true" if text.lower() in {"true", "false"} else text

    def _number(self, text: str, node: yaml.Node, path: Path) -> int | Decimal | str | None:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FRACTION.fullmatch(text) and text.strip("+-.")[:1].isdigit():
            return plain_number(Decimal(text))
        if _SIXTIES.fullmatch(text):
            return text
        self._note(path, node, f"{text[:40]} is not a plain decimal number")
        return None

    def _string(self, text: str, node: yaml.Node, path: Path) -> str:
        # What is left of ${ was meant to be filled. Never repeat it: it may be half a password.
        if "${" in _VARIABLE.sub(" ", text):
            self._note(path, node, "${ begins no variable here: ${NAME} is one")
        if "${" in text:
            self._document.filled.add(path)
        return _VARIABLE.sub(lambda found: self._variable(found[1], node, path), text)

    def _variable(self, name: str, node: yaml.Node, path: Path) -> str:
        value = self._environ.get(name)
        if value is None:
            self._note(path, node, f"the environment variable {name} is not set")
            return ""
        if NOT_UTF8.search(value):
            self._note(path, node, f"the environment variable {name} is not UTF-8")
            return ""
        return value
