"""What a key looks like: ``egw_<environment>_<22 random><6 checksum>``, all letters and digits.

The prefix lets people and secret scanners recognise a leaked key; the checksum (CRC-32 of all
before it, base 62) lets the gateway refuse a mistyped or guessed key before it hashes or asks
anything. It protects no secret: anybody can compute it. Keys made elsewhere are known by hash
alone.

Source: requirements B2, B3, T15.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "egw"

FOREIGN_BYTES_MIN: Final = 16
"""Shorter tokens can be guessed."""

FOREIGN_BYTES_MAX: Final = 512
"""Longer ones are no keys but an attempt to make the gateway hash much."""

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARACTERS: Final = 22
"""62**22 > 2**130: more than the 128 bits that no search can cover."""
_SHOWN_CHARACTERS: Final = 4
"""Of the random part, in lists. More than 2**107 remain unknown."""
_ID_CHARACTERS: Final = 16

_PAIRS: Final = tuple((a + b).encode() for a in _ALPHABET for b in _ALPHABET)
_PAIR: Final = 62**2

_OWN: Final = f"{PREFIX}_".encode()
_OWN_FORM: Final = re.compile(rb"egw_[a-z]{2,8}_[0-9A-Za-z]{28}").fullmatch
_FOREIGN_FORM: Final = re.compile(
    rb"[\x21-\x7e]{%d,%d}" % (FOREIGN_BYTES_MIN, FOREIGN_BYTES_MAX)
).fullmatch
_ENVIRONMENT: Final = re.compile(r"[a-z]{2,8}").fullmatch


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A key in the only moment in which its secret exists.

    Attributes:
        secret: The whole key; shown once, stored nowhere.
        key_id: Names the key in lists, logs and records; tells nothing of the secret.
        prefix: The key's first characters, by which its owner recognises it.
        key_hash: What directories store.
    """

    secret: str = field(repr=False)
    key_id: str
    prefix: str
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """Which keys are worth a look-up.

    Attributes:
        allow_foreign: Keys without our prefix are looked up as well (B3).
    """

    allow_foreign: bool = False

    def accepts(self, secret: bytes) -> bool:
        """Return whether a caller's key can be one that a directory knows."""
        if secret.startswith(_OWN):
            return has_valid_form(secret)
        return self.allow_foreign and _FOREIGN_FORM(secret) is not None


def generate(environment: str = "live") -> NewSecret:
    """Make a key.

    Args:
        environment: Two to eight small letters, such as ``live`` or ``test``.

    Raises:
        ValueError: the environment is not such a word.
    """
    if _ENVIRONMENT(environment) is None:
        raise ValueError(f"not two to eight small letters: {environment[:40]!r}")
    start = f"{PREFIX}_{environment}_"
    body = start + _random_text(_RANDOM_CHARACTERS)
    secret = body + _checksum(body.encode()).decode()
    return NewSecret(
        secret=secret,
        key_id=f"key_{_random_text(_ID_CHARACTERS)}",
        prefix=secret[: len(start) + _SHOWN_CHARACTERS],
        key_hash=hash_secret(secret.encode()),
    )


def has_valid_form(secret: bytes) -> bool:
    """Return whether a key has our form and its checksum is right (0.5 us)."""
    return _OWN_FORM(secret) is not None and _checksum(secret[:-6]) == secret[-6:]


def hash_secret(secret: bytes) -> bytes:
    """Return a key's SHA-256. No salt: a key has 128 random bits, a dictionary can't reach it."""
    return hashlib.sha256(secret).digest()


def is_same_hash(one: bytes, other: bytes) -> bool:
    """Return whether two hashes are equal, in a time that says nothing of the difference (T15)."""
    return hmac.compare_digest(one, other)


def _random_text(characters: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(characters))


def _checksum(body: bytes) -> bytes:
    """Return six base-62 digits: 62**6 > 2**32."""
    rest, last = divmod(zlib.crc32(body), _PAIR)
    first, middle = divmod(rest, _PAIR)
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]
