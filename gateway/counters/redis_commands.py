"""What is said to Redis, as bytes: the scripts, and charges and corrections packed for them.

The packed command of a charge is kept on its template: most requests of a caller cost the same, and
packing costs more than everything else that a charge does.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from hiredis import pack_command

from gateway.rules.charge import Charge, Correction, Counts
from gateway.rules.units import UNLIMITED
from gateway.rules.windows import NEVER_MICRO

STALE: Final = -1
REFUSED: Final = 0
ADMITTED: Final = 1
REPEAT_REFUSED: Final = 2
REPEAT_ADMITTED: Final = 3
"""Verdicts of ``charge.lua``."""

CORRECTION_REMEMBERED_SECONDS: Final = 7 * 86_400
"""How long a repeated correction is recognised: longer than a journal waits to be replayed."""

PREPARED_MAX: Final = 32
"""Commands kept per template; costs that vary more (tokens) are packed each time."""


def pack(*words: str | int | bytes) -> bytes:
    """Return a command as RESP bytes."""
    packed: bytes = pack_command(words)  # type: ignore[arg-type]  # the stub takes one word only
    return packed


TIME_COMMAND: Final = pack("TIME")


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script: how Redis calls it, and how it is made known."""

    digest: str
    load_command: bytes


def _script(name: str) -> Script:
    source = files("gateway.counters").joinpath("lua", f"{name}.lua").read_bytes()
    # SHA-1 is how Redis names scripts.
    digest = hashlib.sha1(source, usedforsecurity=False).hexdigest()
    return Script(digest, pack("SCRIPT", "LOAD", source))


CHARGE: Final = _script("charge")
CORRECT: Final = _script("correct")


def charge_command(charge: Charge) -> bytes:
    """Return the packed EVALSHA of a charge."""
    prepared = charge.template.prepared
    if charge.run_key is None:
        command = prepared.get(charge.amounts_micro)
        return _keep(prepared, charge.amounts_micro, _plain(charge)) if command is None else command
    name = ("run", charge.amounts_micro)
    pattern = prepared.get(name) or _keep(prepared, name, _pattern(charge))
    run_key, hold_id = charge.run_key.encode(), charge.hold_id.encode()
    expires = b"%d" % charge.run_expires_at_seconds
    return pattern % (len(run_key), run_key, len(hold_id), hold_id, len(expires), expires)


def _keep(prepared: dict[object, bytes], name: object, command: bytes) -> bytes:
    if len(prepared) >= PREPARED_MAX:
        prepared.clear()
    prepared[name] = command
    return command


def _plain(charge: Charge) -> bytes:
    keys = [entry.key for entry in charge.template.entries]
    return pack("EVALSHA", CHARGE.digest, len(keys), *keys, *_charge_arguments(charge))


def _pattern(charge: Charge) -> bytes:
    """Return the command with three gaps, for the run's key, the hold and the run's expiry."""
    keys = [entry.key for entry in charge.template.entries]
    head = ("EVALSHA", CHARGE.digest, str(len(keys) + 1), *keys)
    arguments = list(_charge_arguments(charge))
    gap = b"$%d\r\n%b\r\n"
    return b"".join(
        (
            b"*%d\r\n" % (len(head) + len(arguments) + 3),
            _bulks(head).replace(b"%", b"%%"),
            gap,
            _bulks(arguments).replace(b"%", b"%%"),
            gap,
            gap,
        )
    )


def _bulks(words: Iterable[str]) -> bytes:
    return b"".join(
        b"$%d\r\n%b\r\n" % (len(encoded), encoded) for encoded in (word.encode() for word in words)
    )


def _charge_arguments(charge: Charge) -> Iterator[str]:
    entries = charge.template.entries
    yield str(len(entries))
    # Now lies in every period when it lies between the latest start and the first end.
    yield str(max((entry.period.start_micro for entry in entries), default=0))
    yield str(min((entry.period.end_micro for entry in entries), default=NEVER_MICRO))
    for entry, amount_micro in zip(entries, charge.amounts_micro, strict=True):
        yield str(amount_micro)
        yield "" if entry.cap_micro is UNLIMITED else str(entry.cap_micro)
        yield str(entry.expires_at_seconds)
        yield "1" if entry.counts_repeats else "0"


def counts_of(reply: Sequence[int]) -> Counts:
    """Return what ``charge.lua`` answered, once it is known not to be ``STALE``."""
    verdict = reply[0]
    return Counts(
        verdict in (ADMITTED, REPEAT_ADMITTED),
        verdict >= REPEAT_REFUSED,
        reply[1],
        tuple(reply[2:]),
    )


def mark_key(tag: str, correction_id: str) -> str:
    """Return the name of the mark that a correction was applied, in the workspace's hash slot."""
    return f"settled:{{{tag}}}:{correction_id}"


def correction_command(
    correction: Correction, *, correction_id: str | None = None, only_if_run_taken: bool = False
) -> bytes:
    """Return the packed EVALSHA of a correction.

    Args:
        correction: What to apply.
        correction_id: What it is remembered by; the hold id unless said otherwise.
        only_if_run_taken: Whether nothing is to be done unless the hold took its run.
    """
    keys = [mark_key(correction.tag, correction_id or correction.hold_id)]
    arguments: list[str | int] = [
        len(correction.deltas), CORRECTION_REMEMBERED_SECONDS, correction.hold_id,
        int(only_if_run_taken), correction.claimed_until_seconds,
    ]  # fmt: skip
    for delta in correction.deltas:
        keys.append(delta.key)
        arguments += (delta.delta_micro, delta.expires_at_seconds)
    names_run = correction.release_run or correction.claimed_until_seconds
    if names_run and correction.run_key is not None:
        keys.append(correction.run_key)
    return pack("EVALSHA", CORRECT.digest, len(keys), *keys, *arguments)


def mget_command(keys: Sequence[str]) -> bytes:
    """Return the packed MGET of some counters."""
    return pack("MGET", *keys)
