"""What the worker and its shipping process say to each other: messages over a socket.

Source: docs/decisions/0012-shipping-in-a-process-of-its-own.md.
"""

import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.errors import GatewayError, LedgerUnavailable
from gateway.metering.carrier import Carried, LedgerRefusesAll, Load
from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment
from gateway.metering.ledger_watch import WentBack

LENGTH: Final = struct.Struct(">I")
BEAT: Final = "beat"
"""The member of a message that only says that a batch is under way, and how far it is."""


def carried_of(answer: dict[str, Any]) -> Carried:
    """Return what was carried. Raises what went wrong there."""
    error = answer.get("error")
    if error is not None:
        raise error_of(error)
    segment, offset = answer["position"]
    went_back = answer["went_back"]
    return Carried(
        Position(segment, offset),
        answer["count"],
        answer["set_aside"],
        None if went_back is None else WentBack(**went_back),
        answer["is_reconnected"],
    )


def missing_bytes(message: bytearray) -> int:
    """Return how many bytes at least a message lacks whose beginning this is."""
    if len(message) < LENGTH.size:
        return LENGTH.size - len(message)
    (size,) = LENGTH.unpack_from(message)
    return max(LENGTH.size + int(size) - len(message), 0)


def carried_told(carried: Carried) -> dict[str, Any]:
    """Return the answer that says what was carried."""
    return {
        "position": tuple(carried.position),
        "count": carried.count,
        "set_aside": carried.set_aside,
        "went_back": carried.went_back and asdict(carried.went_back),
        "is_reconnected": carried.is_reconnected,
    }


def framed(message: dict[str, Any]) -> bytes:
    """Return a message as it goes over the socket."""
    payload = orjson.dumps(message)
    return LENGTH.pack(len(payload)) + payload


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """Return the next message, None when the other end is closed. Blocking."""
    parts = bytearray()
    while missing := missing_bytes(parts):
        try:
            part = channel.recv(missing)
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    message: dict[str, Any] = orjson.loads(parts[LENGTH.size :])
    return message


def load_told(load: Load) -> dict[str, Any]:
    """Return the question that has a load carried."""
    return {
        "folder": str(load.folder),
        "segments": _segments_told(load.segments),
        "position": tuple(load.position),
        "limit": load.limit,
        "journal": load.journal_id,
        "kept": _segments_told(load.kept),
        "compare_at": load.compare_at and tuple(load.compare_at),
    }


def _segments_told(segments: Sequence[Segment]) -> list[tuple[int, str, bool, int]]:
    return [(one.number, str(one.path), one.is_complete, one.end) for one in segments]


def load_of(asked: dict[str, Any]) -> Load:
    """Return the load that is asked for."""
    return Load(
        Path(asked["folder"]),
        _segments_of(asked["segments"]),
        Position(*asked["position"]),
        asked["limit"],
        asked["journal"],
        _segments_of(asked["kept"]),
        asked["compare_at"] and Position(*asked["compare_at"]),
    )


def _segments_of(told: list[list[Any]]) -> list[Segment]:
    return [
        Segment(number, Path(path), written=end, end=end, is_sealed=is_complete)
        for number, path, is_complete, end in told
    ]


def error_told(error: Exception) -> dict[str, object]:
    """Return what is said of an error."""
    if isinstance(error, GatewayError):
        return {
            "kind": "refuses_all" if isinstance(error, LedgerRefusesAll) else "ledger",
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
        }
    if isinstance(error, OSError):
        return {"kind": "os", "errno": error.errno, "message": error.strerror or str(error)}
    return {
        "kind": "ledger",
        "code": "shipper.failed",
        "message": f"shipping failed: {type(error).__name__}: {error}",
        "hint": "please report it; the records wait in the journal",
    }


def error_of(told: dict[str, Any]) -> Exception:
    """Return the error of which something was said."""
    if told["kind"] == "os":
        return OSError(told["errno"], told["message"])
    kind = LedgerRefusesAll if told["kind"] == "refuses_all" else LedgerUnavailable
    return kind(told["code"], told["message"], told["hint"])
