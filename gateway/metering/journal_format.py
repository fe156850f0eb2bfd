"""How the journal's lines are written and read: one kind letter, a CRC-32, a JSON array.

``R`` is a record that owes the counter store nothing, ``C`` a record that owes it a correction,
``A`` a list of hold ids whose corrections the store has acknowledged. The CRC starts from the kind,
so a flipped kind is found too. Line feeds inside JSON are escaped: a line feed always ends a line.

Does not own: files, order, durability.
Source: design section 8; requirement X6.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import orjson

from gateway.rules.record import Record

try:
    from isal.isal_zlib import crc32  # the same, at a quarter of the time
except ImportError:  # not built for this kind of machine
    from zlib import crc32

checksum: Final = crc32
"""CRC-32 of what belongs to the journal."""

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
_SETTLED_FIELDS: Final = (
    "event_id", "request_id", "occurred_at_micro", "workspace_id", "key_id", "plan", "route",
    "method", "run_id", "status", "outcome", "code", "billable", "reason", "repeat",
    "quantities_micro", "charged_micro", "pricing_version", "period", "flags", "violated",
    "bytes_in", "bytes_out", "latency_micro", "upstream_micro", "v",
)  # fmt: skip
"""What every line says, in this order, which is the format: new fields go to the end of
``_FIELDS``, anything else is a new ``FORMAT_VERSION``."""
_CLAIM_FIELDS: Final = ("claimed_reason", "claimed_until_seconds")
_FIELDS: Final = (*_SETTLED_FIELDS, "deltas", "run_key", *_CLAIM_FIELDS, "count")

_HEX_DIGITS: Final = b"0123456789abcdef"

_dumps: Final = orjson.dumps
_crc32: Final = crc32
# Compiled, names of our own are spared a look-up.
_HEX: Final = [b"%02x" % byte for byte in range(256)]


class Position(NamedTuple):
    """A place in the journal: all lines before it are done with."""

    segment: int
    offset: int


class Line(NamedTuple):
    """One line of a segment; ``kind`` is None if its checksum or shape is wrong.

    ``is_whole`` is False if it is right but for its line feed.
    """

    start: int
    end: int
    kind: bytes | None
    payload: bytes
    is_whole: bool = True

    @property
    def is_torn(self) -> bool:
        """Whether its write never came to the line's end, if it is the last of its file."""
        if self.kind is None:
            return not self.payload.endswith(b"\n")
        return self.end - self.start == _PAYLOAD_AT + len(self.payload)


def owes_correction(record: Record) -> bool:
    """Return whether the counter store must still be told something of this record's charge."""
    return bool(record.deltas or record.run_key)


def encode_record(record: Record) -> bytes:
    """Return a record's line: its values in the order of ``_FIELDS``.

    An array takes half the time and half the bytes of an object that repeats its names.

    Raises:
        TypeError: a value is no JSON: a lone surrogate, an integer beyond 64 bits.
    """
    settled = _settled_values(record)
    if record.deltas or record.run_key or record.count != 1:
        payload = _dumps((*settled, *_further_values(record)))
        if owes_correction(record):
            return _line(CORRECTED, _crc32(payload, _CORRECTED_SEED), payload)
        return _line(RECORD, _crc32(payload, _RECORD_SEED), payload)
    payload = _dumps(settled)
    return _line(RECORD, _crc32(payload, _RECORD_SEED), payload)


def _further_values(record: Record) -> tuple[object, ...]:
    """Return the values behind ``_SETTLED_FIELDS``, up to the last that is no default."""
    owed = (record.deltas, record.run_key)
    claim = (record.claimed_reason, record.claimed_until_seconds)
    if record.count != 1:
        return (*owed, *claim, record.count)
    return (*owed, *claim) if record.claimed_reason else owed


def _settled_values(record: Record) -> tuple[object, ...]:
    """Return the values of ``_SETTLED_FIELDS``; written out, for every request passes here."""
    return (
        record.event_id,
        record.request_id,
        record.occurred_at_micro,
        record.workspace_id,
        record.key_id,
        record.plan,
        record.route,
        record.method,
        record.run_id,
        record.status,
        record.outcome,
        record.code,
        record.billable,
        record.reason,
        record.repeat,
        record.quantities_micro,
        record.charged_micro,
        record.pricing_version,
        record.period,
        record.flags,
        record.violated,
        record.bytes_in,
        record.bytes_out,
        record.latency_micro,
        record.upstream_micro,
        record.v,
    )


def _line(kind: bytes, crc: int, payload: bytes) -> bytes:
    return b"%b%b%b%b%b %b\n" % (
        kind,
        _HEX[crc >> 24],
        _HEX[crc >> 16 & 255],
        _HEX[crc >> 8 & 255],
        _HEX[crc & 255],
        payload,
    )


def encode_acknowledgement(hold_ids: Iterable[str]) -> bytes:
    """Return the line that says that these corrections need no replay."""
    payload = orjson.dumps(list(hold_ids))
    return _line(ACKNOWLEDGED, crc32(payload, _ACKNOWLEDGED_SEED), payload)


def decode_record(payload: bytes) -> Record:
    """Return the record of a line whose checksum is right; values of later versions are ignored.

    Raises:
        ValueError: it is not a record.
    """
    values = orjson.loads(payload)
    if not isinstance(values, list) or len(values) < len(_SETTLED_FIELDS):
        raise ValueError("not a record")
    try:
        return _record_of(values)
    except TypeError as error:
        raise ValueError("not a record") from error


def _record_of(values: list[Any]) -> Record:
    """Return a record from its values; written out, for a ledger is filled through here."""
    return Record(
        event_id=values[0],
        request_id=values[1],
        occurred_at_micro=values[2],
        workspace_id=values[3],
        key_id=values[4],
        plan=values[5],
        route=values[6],
        method=values[7],
        run_id=values[8],
        status=values[9],
        outcome=values[10],
        code=values[11],
        billable=values[12],
        reason=values[13],
        repeat=values[14],
        quantities_micro=values[15],
        charged_micro=values[16],
        pricing_version=values[17],
        period=values[18],
        flags=values[19],
        violated=values[20],
        bytes_in=values[21],
        bytes_out=values[22],
        latency_micro=values[23],
        upstream_micro=values[24],
        v=values[25],
        deltas=values[26] if len(values) > 26 else None,
        run_key=values[27] if len(values) > 27 else None,
        claimed_reason=values[28] if len(values) > 29 else "",
        claimed_until_seconds=values[29] if len(values) > 29 else 0,
        count=values[30] if len(values) > 30 else 1,
    )


def hold_id_of(payload: bytes) -> str:
    """Return the hold id of a record's line whose checksum is right."""
    return str(orjson.loads(payload)[0])


def decode_acknowledgement(payload: bytes) -> list[str]:
    """Return the hold ids of an acknowledgement line whose checksum is right."""
    return [str(hold_id) for hold_id in orjson.loads(payload)]


def may_be_record(damaged: bytes) -> bool:
    """Return whether a damaged line was a record, as far as its beginning can be believed.

    The rear part of a record into which a flipped bit brought a line feed is none.
    """
    if len(damaged) <= _PAYLOAD_AT or damaged.startswith(ACKNOWLEDGED):
        return False
    right = sum(byte in _HEX_DIGITS for byte in damaged[1 : _PAYLOAD_AT - 1])
    right += damaged[:1] in _SEEDS
    right += damaged[_PAYLOAD_AT - 1 : _PAYLOAD_AT] == b" "
    return right >= _PAYLOAD_AT - 2


def parse_line(line: bytes) -> tuple[bytes | None, bytes]:
    """Return kind and payload of a whole line, or None and the line if it is damaged."""
    if len(line) <= _PAYLOAD_AT:
        return None, line
    seed = _SEEDS.get(line[:1])
    payload = line[_PAYLOAD_AT:-1]
    if seed is None or line[-1:] != b"\n" or line[1:_PAYLOAD_AT] != b"%08x " % crc32(payload, seed):
        return None, line
    return line[:1], payload
