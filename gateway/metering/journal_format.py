"""How the journal's lines are written and read: one kind letter, a CRC-32, JSON, a line feed.

``R`` is a record that owes the counter store nothing, ``C`` a record that owes it a correction,
``A`` a list of hold ids whose corrections the store has acknowledged. The CRC starts from the kind,
so a flipped kind is found too. Line feeds inside JSON are escaped: a line feed always ends a line.

Does not own: files, order, durability.
Source: design section 8; requirement X6.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

import orjson

from gateway.rules.record import Record

FORMAT_VERSION: Final = 1
"""Stands in every segment's name; a journal of a later format is refused, not guessed at."""

RECORD: Final = b"R"
CORRECTED: Final = b"C"
ACKNOWLEDGED: Final = b"A"

_RECORD_SEED: Final = crc32(RECORD)
_CORRECTED_SEED: Final = crc32(CORRECTED)
_ACKNOWLEDGED_SEED: Final = crc32(ACKNOWLEDGED)
_SEEDS: Final = {
    RECORD: _RECORD_SEED,
    CORRECTED: _CORRECTED_SEED,
    ACKNOWLEDGED: _ACKNOWLEDGED_SEED,
}
_PAYLOAD_AT: Final = 10
"""One kind letter, eight hexadecimal digits, one space."""
_RECORD_FIELDS: Final = frozenset(field.name for field in fields(Record))


class Position(NamedTuple):
    """A place in the journal: all lines before it are done with."""

    segment: int
    offset: int


class Line(NamedTuple):
    """One line of a segment; ``kind`` is None if its checksum or shape is wrong."""

    start: int
    end: int
    kind: bytes | None
    payload: bytes

    @property
    def is_torn(self) -> bool:
        """Whether its write never came to the line's end."""
        return self.kind is None and not self.payload.endswith(b"\n")


def owes_correction(record: Record) -> bool:
    """Return whether the counter store must still be told something of this record's charge."""
    return bool(record.deltas or record.run_key)


def encode_record(record: Record) -> bytes:
    """Return a record's line. Fields that are rarely filled are left out when empty.

    A dict literal of the common fields is twice as fast as ``orjson`` walking the dataclass.

    Raises:
        TypeError: a value is no JSON: a lone surrogate, an integer beyond 64 bits.
    """
    values: dict[str, object] = {
        "event_id": record.event_id,
        "request_id": record.request_id,
        "occurred_at_micro": record.occurred_at_micro,
        "workspace_id": record.workspace_id,
        "key_id": record.key_id,
        "plan": record.plan,
        "route": record.route,
        "method": record.method,
        "run_id": record.run_id,
        "status": record.status,
        "outcome": record.outcome,
        "code": record.code,
        "billable": record.billable,
        "reason": record.reason,
        "repeat": record.repeat,
        "quantities_micro": record.quantities_micro,
        "charged_micro": record.charged_micro,
        "pricing_version": record.pricing_version,
        "period": record.period,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "latency_micro": record.latency_micro,
        "upstream_micro": record.upstream_micro,
        "v": record.v,
    }
    if record.flags:
        values["flags"] = record.flags
    if record.violated:
        values["violated"] = record.violated
    if not (record.deltas or record.run_key):
        payload = orjson.dumps(values)
        return b"R%08x %b\n" % (crc32(payload, _RECORD_SEED), payload)
    values["deltas"] = record.deltas
    values["run_key"] = record.run_key
    payload = orjson.dumps(values)
    return b"C%08x %b\n" % (crc32(payload, _CORRECTED_SEED), payload)


def encode_acknowledgement(hold_ids: Iterable[str]) -> bytes:
    """Return the line that says that these corrections need no replay."""
    payload = orjson.dumps(list(hold_ids))
    return b"A%08x %b\n" % (crc32(payload, _ACKNOWLEDGED_SEED), payload)


def decode_record(payload: bytes) -> Record:
    """Return the record of a line whose checksum is right; fields of later versions are ignored.

    Raises:
        ValueError: it is not a record.
    """
    values = orjson.loads(payload)
    try:
        return Record(**{name: value for name, value in values.items() if name in _RECORD_FIELDS})
    except (TypeError, AttributeError) as error:
        raise ValueError("not a record") from error


def hold_id_of(payload: bytes) -> str:
    """Return the hold id of a record's line whose checksum is right."""
    return str(orjson.loads(payload)["event_id"])


def decode_acknowledgement(payload: bytes) -> list[str]:
    """Return the hold ids of an acknowledgement line whose checksum is right."""
    return [str(hold_id) for hold_id in orjson.loads(payload)]


def parse_line(line: bytes) -> tuple[bytes | None, bytes]:
    """Return kind and payload of a whole line, or None and the line if it is damaged."""
    seed = _SEEDS.get(line[:1])
    payload = line[_PAYLOAD_AT:-1]
    if seed is None or line[-1:] != b"\n" or line[1:_PAYLOAD_AT] != b"%08x " % crc32(payload, seed):
        return None, line
    return line[:1], payload


def read_lines(path: Path, start: int, end: int) -> Iterator[Line]:
    """Yield the lines between two offsets; a file that is gone has none.

    Args:
        path: A segment.
        start: Where a line begins.
        end: Where to stop: nothing behind it is looked at.
    """
    if start >= end:
        return
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # the ledger has all of it: it was deleted since the caller looked
    with file:
        file.seek(start)
        while start < end:
            line = file.readline(end - start)
            if not line:
                return
            kind, payload = parse_line(line)
            yield Line(start, start + len(line), kind, payload)
            start += len(line)
