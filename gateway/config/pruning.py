"""A route file without its faulty parts: the others are compared with each other all the same.

One run is to tell a mistyped key and an upstream that there is not. What is left out is a fault
already; what would follow from leaving it out is none, and is sifted.
"""

import copy
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from gateway.config.routes import RouteFile
from gateway.config.yaml_positions import Document, Path
from gateway.errors import Fault

_ROUNDS_MAX: Final = 8
"""A part that goes may take what holds it along, level by level."""
_STAND_INS: Final[dict[str, Any]] = {"version": 1, "pricing": "pricing.json"}
"""Of members that a file must have and that nothing else is compared with."""
_NUMBERED: Final = ("routes", "policies")
_TRUE_ANYWAY: Final = (
    "no upstream is called",
    "no limit is called",
    "no meter is called",
    "no plan has the feature",
)
"""Faults of a single name: they don't follow from what else is missing."""


@dataclass(slots=True)
class PrunedFile:
    """What is left.

    Attributes:
        file: The models of the sound parts.
        document: Tells places as they are in the whole file.
    """

    file: RouteFile
    document: Document
    _touched: set[str] = field(default_factory=set)
    _named: set[str] = field(default_factory=set)

    def sifted(self, faults: list[Fault]) -> list[Fault]:
        """Return the faults that don't follow from what was left out."""
        return [fault for fault in faults if self._is_true(fault)]

    def _is_true(self, fault: Fault) -> bool:
        if fault.message in self._named:
            return False
        if fault.message.startswith(_TRUE_ANYWAY):
            return True
        if fault.message.endswith("so it limits nothing"):
            return not any(item.startswith("routes") for item in self._touched)
        return not any(fault.path.startswith(item) for item in self._touched)


def prune(document: Document, error: ValidationError) -> PrunedFile | None:
    """Return what is sound in a file that the models refuse; None if too little is."""
    data: Any = copy.deepcopy(document.data)
    numbers = {
        name: list(range(len(data[name]))) for name in _NUMBERED if isinstance(data.get(name), list)
    }
    touched: set[str] = set()
    for _ in range(_ROUNDS_MAX):
        doomed = {_path(data, problem["loc"]) for problem in error.errors(include_url=False)}
        if () in doomed and _STAND_INS.keys() <= data.keys():
            return None
        for path in sorted(doomed - {()}, key=_last_first, reverse=True):
            touched.add(_item(path, numbers))
            _remove(data, path, numbers)
        data = _STAND_INS | data
        try:
            file = RouteFile.model_validate(data)
        except ValidationError as next_error:
            error = next_error
            continue
        written = replace(document, numbers=numbers)
        return PrunedFile(file, written, touched, _named(document.data))
    return None


def _path(data: Any, location: tuple[int | str, ...]) -> Path:  # noqa: ANN401 - YAML of any shape
    """Return the deepest path of a problem that there is: names of choices are left out."""
    path: Path = ()
    for step in location:
        name = "json" if step == "json_pointer" else step
        in_list = isinstance(data, list) and isinstance(name, int) and name < len(data)
        if in_list or (isinstance(data, dict) and name in data):
            data, path = data[name], (*path, name)
    return path


def _last_first(path: Path) -> tuple[tuple[str, int], ...]:
    return tuple(("", step) if isinstance(step, int) else (step, 0) for step in path)


def _item(path: Path, numbers: dict[str, list[int]]) -> str:
    """Return the part of the file that is no longer whole, as faults write it."""
    if len(path) == 1:
        return str(path[0])
    if isinstance(path[1], int):
        known = numbers.get(str(path[0]))
        return f"{path[0]}[{path[1] if known is None else known[path[1]]}]"
    return f"{path[0]}.{path[1]}"


def _remove(data: Any, path: Path, numbers: dict[str, list[int]]) -> None:  # noqa: ANN401
    for step in path[:-1]:
        data = data[step]
    del data[path[-1]]
    if len(path) == 2 and isinstance(path[1], int) and path[0] in numbers:
        del numbers[str(path[0])][path[1]]


def _named(data: Any) -> set[str]:  # noqa: ANN401
    """Return what would be said of names that stand in parts that were left out."""
    upstreams, policies = data.get("upstreams"), data.get("policies")
    found = {
        f"no upstream is called {name}"
        for name in (upstreams if isinstance(upstreams, dict) else ())
    }
    for policy in policies if isinstance(policies, list) else ():
        if isinstance(policy, dict):
            found.add(f"no limit is called {policy.get('name')}")
    return found
