"""YAML as plain data, with the place of every value: faults can say line and column.

Only safe scalars, string keys, no duplicates; aliases are bounded, so that a small file can't
become a large one. ``${NAME}`` in a string is replaced from the environment: secrets, never
structure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import yaml

from gateway.errors import ConfigError, Fault

Path = tuple[str | int, ...]
NODES_MAX: Final = 500_000
"""A route file of 5,000 routes has about 100,000 nodes."""
DEPTH_MAX: Final = 32
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TAG: Final = "tag:yaml.org,2002:"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Document:
    """A parsed file: data, and line and column (from 1) of each value by its path."""

    file: str
    data: object = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: Path, message: str, expected: str = "") -> Fault:
        """Return a fault at the place of a path, or of the nearest value above it."""
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
    document = Document(file)
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            document.data = _Builder(document, loader, environ).build(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = str(error.problem or "not valid YAML")
        raise ConfigError(
            [Fault(file, line, column, "(file)", f"not valid YAML: {problem}")]
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError([Fault(file, 1, 1, "(file)", f"not valid YAML: {error}")]) from error
    finally:
        loader.dispose()
    if document.faults:
        raise ConfigError(document.faults)
    return document


class _Builder:
    """Turns nodes into data."""

    def __init__(
        self, document: Document, loader: yaml.SafeLoader, environ: Mapping[str, str]
    ) -> None:
        self._document = document
        self._loader = loader
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
            if key is None or key_node.tag == _TAG + "merge":
                self._note(path, key_node, "a key has to be a plain string")
                continue
            if key in built:
                self._note((*path, key), key_node, "this key is given twice")
                continue
            built[key] = self.build(value_node, (*path, key))
        return built

    def _note(self, path: Path, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        self._document.faults.append(
            Fault(self._document.file, mark.line + 1, mark.column + 1, dotted(path), message)
        )

    def _scalar(self, node: yaml.Node, path: Path) -> object:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool" | "int":
                value: object = self._loader.construct_object(node)
                return value
            case "float":
                return self._decimal(text, node, path)
            case "str" | "timestamp":
                return _VARIABLE.sub(lambda found: self._variable(found[1], node, path), text)
            case other:
                self._note(path, node, f"values of the type {other} have no place here")
                return None

    def _decimal(self, text: str, node: yaml.Node, path: Path) -> Decimal | None:
        try:
            return Decimal(text)
        except ArithmeticError:
            self._note(path, node, "not a plain number")
            return None

    def _variable(self, name: str, node: yaml.Node, path: Path) -> str:
        value = self._environ.get(name)
        if value is None:
            self._note(path, node, f"the environment variable {name} is not set")
            return ""
        return value
