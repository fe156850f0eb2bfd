"""The route file read as far as possible: its faults hide none of the files that it names.

A file that is no YAML, or that the models refuse, still tells in its sound lines which pricing
files, keys and certificates belong to it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.pruning import PrunedFile, prune
from gateway.config.route_schema import schema
from gateway.config.routes import FORMS, RouteFile
from gateway.config.wording import both, in_words, is_of_a_scalar, keys_at, or_a_mapping
from gateway.config.yaml_positions import Document, parse, read_document
from gateway.errors import ConfigError, Fault

_TOP_LEVEL: Final = re.compile(
    r"^([a-z_]+):(?:[ \t].*)?\n?((?:(?:[ \t]|-[ \t]).*\n?|\n)*)", re.MULTILINE
)
_OF_MAPPINGS: Final = frozenset({"extra_forbidden", "missing", "value_error", "model_type"})
_SALVAGED: Final = frozenset({"pricing", "keys", "tls_certificate", "tls_key", "tls_client_ca"})


@dataclass(slots=True)
class RouteDocument:
    """What is known of a route file.

    Attributes:
        document: Data and positions; without data where the text is no YAML.
        file: The models; None where they refuse it.
        faults: What is wrong with it so far.
        pruned: What is sound of a file that the models refuse.
    """

    document: Document
    file: RouteFile | None = None
    faults: list[Fault] = field(default_factory=list)
    _members: Mapping[str, object] = field(default_factory=dict)
    pruned: PrunedFile | None = None

    def text(self, name: str) -> str | None:
        """Return a member that is a text."""
        found = self._members.get(name)
        return found if isinstance(found, str) else None

    @property
    def pricing_names(self) -> tuple[str, ...]:
        """The pricing files as they are written."""
        found = self._members.get("pricing")
        names = found if isinstance(found, list) else [found]
        return tuple(name for name in names if isinstance(name, str) and name)


def read_route_document(content: bytes, path: Path, environ: Mapping[str, str]) -> RouteDocument:
    """Return what a route file says, with its faults."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        fault = Fault(str(path), line, 1, "(file)", "not UTF-8", "save the file as UTF-8")
        text = content.decode("utf-8-sig", errors="replace")
        return RouteDocument(Document(str(path)), None, [fault], _salvaged(text, environ))
    try:
        document = read_document(text, str(path), environ)
    except ConfigError as error:
        return RouteDocument(Document(str(path)), None, error.faults, _salvaged(text, environ))
    if not isinstance(document.data, dict):
        fault = document.fault((), "this is not a route file", "it begins with version: 1")
        return RouteDocument(document, None, [*document.faults, fault])
    found = RouteDocument(document, None, list(document.faults), document.data)
    try:
        found.file = RouteFile.model_validate(document.data)
    except ValidationError as error:
        known = {fault.path for fault in found.faults}
        found.pruned = prune(document, error)
        found.faults += [
            fault for fault in _model_faults(document, error) if fault.path not in known
        ]
    return found


def _salvaged(text: str, environ: Mapping[str, str]) -> dict[str, object]:
    """Return the members that name other files, each read by itself."""
    found: dict[str, object] = {}
    for block in _TOP_LEVEL.finditer(text):
        if block[1] not in _SALVAGED:
            continue
        try:
            data: Any = parse(block[0], "", environ).data
        except ConfigError:
            continue
        found |= data if isinstance(data, dict) else {}
    return found


def _model_faults(document: Document, error: ValidationError) -> list[Fault]:
    """Return one fault a place: a value that fits no branch of a choice is told once."""
    found: dict[tuple[int | str, ...], tuple[str, str]] = {}
    problems = error.errors(include_url=False)
    known_keys: dict[str, Any] = {}
    # "expected a mapping" is the least telling of what a choice may be.
    for problem in sorted(problems, key=lambda each: each["type"] == "model_type"):
        if _is_of_another_branch(problem, problems):
            continue
        path = _known_path(document, problem["loc"])
        keys: set[str] = set()
        if problem["type"] == "extra_forbidden":
            known_keys = known_keys or schema()
            keys = keys_at(known_keys, path[:-1])
        words = in_words(problem, FORMS, keys, is_hidden=path in document.filled)
        if path not in found:
            found[path] = words
        elif problem["type"] == "model_type" and found[path][1]:
            known_keys = known_keys or schema()
            found[path] = or_a_mapping(found[path], keys_at(known_keys, path))
        elif words != found[path]:
            found[path] = both(found[path], words)
    return [document.fault(path, *words) for path, words in found.items()]


def _is_of_another_branch(problem: ErrorDetails, problems: list[ErrorDetails]) -> bool:
    """Return whether a mapping was compared with a choice's word, while its members are told."""
    if not isinstance(problem["input"], dict):
        return False
    if problem["type"] in _OF_MAPPINGS and not is_of_a_scalar(problem):
        return False
    place = problem["loc"][:-1]
    return any(
        other["loc"][: len(place)] == place and other["input"] is not problem["input"]
        for other in problems
    )


def _known_path(document: Document, location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the path in the file that a model's location means: names of choices left out."""
    path: tuple[int | str, ...] = ()
    for step in location:
        name = "json" if step == "json_pointer" else step
        if (*path, name) in document.positions:
            path = (*path, name)
    return path
