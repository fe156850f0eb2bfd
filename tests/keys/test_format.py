"""B2, T15: keys that scanners find, that a typo spoils, and that nobody guesses."""

import pytest

from gateway.keys.format import KeyFormat, generate, has_valid_form, hash_secret, is_same_hash


def test_key_has_prefix_environment_randomness_and_checksum() -> None:
    """1.8."""
    made = {generate("live").secret for _ in range(2000)}

    assert len(made) == 2000
    assert all(secret.startswith("egw_live_") and len(secret) >= 9 + 22 + 6 for secret in made)
    assert all(has_valid_form(secret.encode()) for secret in made)


def test_every_single_typo_is_found() -> None:
    secret = generate("test").secret.encode()
    for place in range(9, len(secret)):
        other = b"A" if secret[place : place + 1] != b"A" else b"B"

        assert not has_valid_form(secret[:place] + other + secret[place + 1 :])


def test_only_the_hash_is_kept() -> None:
    """1.9."""
    made = generate()

    assert made.key_hash == hash_secret(made.secret.encode())
    assert made.prefix in made.secret
    assert len(made.prefix) < 16
    assert is_same_hash(made.key_hash, hash_secret(made.secret.encode()))


@pytest.mark.parametrize("environment", ["", "x", "Live", "live1", "a" * 9])
def test_environment_is_a_word(environment: str) -> None:
    with pytest.raises(ValueError, match="small letters"):
        generate(environment)


def test_foreign_keys_pass_only_where_allowed() -> None:
    """B3."""
    foreign = b"sk-stellar-0123456789abcdef"

    assert KeyFormat(allow_foreign=True).accepts(foreign)
    assert not KeyFormat().accepts(foreign)
    assert not KeyFormat(allow_foreign=True).accepts(b"egw_live_" + b"x" * 30)
    assert not KeyFormat(allow_foreign=True).accepts(b"short")
    assert not KeyFormat(allow_foreign=True).accepts(b"with space and \x00")
