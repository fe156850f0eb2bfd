"""An independent judge of answers: RFC 9457 by a schema of its own, the fields by ``http_sf``.

Knows nothing of the gateway's code; ``GatewayProcess.call`` shows it every answer of every story.
Source: RFC 9457 3, RFC 9110 10.2.3, 11.6.1 and 15.5.6, draft-ietf-httpapi-ratelimit-headers.
"""

import json
from typing import Any

import http_sf
import httpx
from jsonschema import Draft202012Validator, FormatChecker

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
PROBLEM_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "description": "RFC 9457 3.1, narrowed: all standard members and a stable code are there.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_-]{2,}$"},
    "properties": {
        "type": {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*:[^\\s]+$"},
        "title": {"type": "string", "minLength": 1},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "minLength": 1},
        "instance": {"type": "string", "pattern": "^[^\\s]+$"},
        "code": {"type": "string", "pattern": "^[a-z]+(_[a-z]+)*$"},
        "next_plan": {"type": "string"},
        "upgrade_url": {"type": "string", "pattern": "^https://"},
        "renews_at": {"type": "string", "pattern": "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$"},
        "missing_features": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "violated-policies": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {
                "oneOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "required": ["policy_name", "limit", "current", "window_seconds"],
                        "additionalProperties": False,
                        "properties": {
                            "policy_name": {"type": "string", "minLength": 1},
                            "limit": {"type": "number", "minimum": 0},
                            "current": {"type": "number", "exclusiveMinimum": 0},
                            "window_seconds": {"type": ["integer", "null"], "minimum": 1},
                        },
                    },
                ]
            },
        },
    },
    "allOf": [
        {
            "if": {"properties": {"status": {"const": 429}}},
            "then": {
                "required": ["violated-policies"],
                "properties": {"type": {"const": QUOTA_EXCEEDED}},
            },
        },
        {
            "if": {"properties": {"code": {"pattern": "_unavailable$"}, "status": {"const": 503}}},
            "then": {"properties": {"type": {"const": REDUCED_CAPACITY}}},
        },
    ],
}
_VALIDATOR = Draft202012Validator(PROBLEM_SCHEMA, format_checker=FormatChecker())
Item = dict[str, Any]


def items_of(text: str) -> dict[str, Item]:
    """Return the parameters of each member of a ``RateLimit`` or ``RateLimit-Policy`` field."""
    members: Any = http_sf.parse(text.encode(), tltype="list")
    assert all(isinstance(name, str) for name, _ in members), text
    assert len(dict(members)) == len(members), f"a policy is named twice: {text}"
    return dict(members)


def judge(answer: httpx.Response) -> None:
    """Fail if an answer breaks a rule that every answer keeps."""
    _judge_limits(answer)
    if answer.headers.get("Content-Type") == "application/problem+json":
        _judge_problem(answer)


def _judge_limits(answer: httpx.Response) -> None:
    fields = answer.headers
    assert ("RateLimit" in fields) == ("RateLimit-Policy" in fields)
    if "RateLimit" in fields:
        policies, state = items_of(fields["RateLimit-Policy"]), items_of(fields["RateLimit"])
        assert state.keys() == policies.keys()
        for name, item in policies.items():
            assert item.keys() <= {"q", "w", "qu", "pk"}
            assert type(item["q"]) is int
            assert item["q"] >= 0
            assert item.get("w", 1) >= 1
            assert state[name].keys() <= {"r", "t", "pk"}
            assert 0 <= state[name]["r"] <= item["q"]
            assert 0 <= state[name].get("t", 0) <= item.get("w", 2**62)
    if "Retry-After" in fields:
        assert int(fields["Retry-After"]) >= 1


def _judge_problem(answer: httpx.Response) -> None:
    fields = answer.headers
    if answer.status_code == 401:
        assert fields["WWW-Authenticate"].startswith("Bearer ")
    if answer.status_code == 405:
        assert fields["Allow"]
    assert fields["Cache-Control"] == "no-store"
    if answer.request.method == "HEAD":
        assert answer.content == b""
        return
    body = json.loads(answer.content)
    faults = [fault.message for fault in _VALIDATOR.iter_errors(body)]
    assert not faults, f"{faults}: {body}"
    assert body["status"] == answer.status_code
    assert body["instance"] == fields["X-Request-Id"]
