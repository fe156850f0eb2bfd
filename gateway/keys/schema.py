"""The JSON Schema of the keys file, for editors: ``gateway schema keys``.

The loader keeps scalars as they are written, so a name may look like a number to an editor.
What it alone knows: that ids and keys are not repeated, that days exist, that plans are for sale,
what a network is, and a digest or a name whose digits look like a number of another spelling.
Source: JSON Schema 2020-12; ``gateway.keys.document``.
"""

from typing import Any

from gateway.keys.document import HASH_PATTERN, INSTANT_PATTERN
from gateway.keys.port import WorkspaceStatus
from gateway.rules.identifiers import ID_PATTERN, ID_WORDS, NAME_PATTERN, NAME_WORDS

_Schema = dict[str, Any]


def schema() -> _Schema:
    """Return the schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Enforcement Gateway keys file",
        **_object(
            {
                "version": {"enum": [1, "1", "1.0"], "description": "Version of this format."},
                "workspaces": {"type": "array", "items": _workspace()},
            },
            required=["version"],
        ),
    }


def _workspace() -> _Schema:
    statuses = [status.value for status in WorkspaceStatus]
    return _object(
        {
            "id": _written(ID_PATTERN, ID_WORDS, "The workspace's id, in records and counters."),
            "plan": _written(NAME_PATTERN, NAME_WORDS, "A tier of the pricing file."),
            "status": {"enum": statuses, "description": "Only an active one may call."},
            "keys": {"type": "array", "items": _key()},
        },
        required=["id", "plan"],
    )


def _key() -> _Schema:
    return _object(
        {
            "id": _written(ID_PATTERN, ID_WORDS, "The key's id, in records and logs."),
            "sha256": {
                "type": "string",
                "pattern": HASH_PATTERN,
                "description": "The SHA-256 of the whole key, never the key itself.",
            },
            "prefix": {"type": _SCALARS, "description": "The key's first characters, for people."},
            "name": {"type": _SCALARS, "description": "For people."},
            "expires_at": _instant("From then on the key is refused."),
            "revoked_at": _instant("From then on the key is refused."),
            "features": {
                "type": "array",
                "items": _written(NAME_PATTERN, NAME_WORDS, "A feature of the plan."),
                "description": "Which of the plan's features it has; absent: all.",
            },
            "cidrs": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Networks that may use it; absent: all.",
            },
        },
        required=["id", "sha256"],
    )


_SCALARS = ["string", "number", "boolean", "null"]


def _object(properties: _Schema, *, required: list[str]) -> _Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _written(pattern: str, words: str, description: str) -> _Schema:
    return {
        "anyOf": [
            {"type": "string", "pattern": pattern, "patternErrorMessage": words},
            {"type": "number", "minimum": 0},
            {"type": "boolean"},
        ],
        "description": description,
    }


def _instant(description: str) -> _Schema:
    return {
        "type": ["string", "null"],
        "format": "date-time",
        "pattern": INSTANT_PATTERN,
        "description": description,
    }
