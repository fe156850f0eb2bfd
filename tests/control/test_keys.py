"""Keys: created, revoked, rotated, ended by operators; the secret is seen once (B2, C16)."""

import hashlib
from dataclasses import replace

import pytest

from gateway.control.keys import (
    KeyRequest,
    create_key,
    expire_key,
    find_key,
    prepare_key,
    revoke_key,
    rotate_key,
)
from gateway.control.workspaces import create_workspace
from gateway.errors import GatewayError
from gateway.rules.access import key_refusal
from gateway.rules.units import MICRO
from tests.support.control_fakes import MemoryRegistry, pricing
from tests.support.fake_clock import FakeClock
from tests.support.plans import NOW_MICRO

DAY_MICRO = 86_400 * MICRO


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MICRO)


@pytest.fixture
def registry(clock: FakeClock) -> MemoryRegistry:
    registry = MemoryRegistry(clock)
    create_workspace(registry, pricing(), clock, workspace_id="acme", plan="STARTER")
    return registry


def is_usable(registry: MemoryRegistry, key_id: str, now_micro: int) -> bool:
    key = registry.by_key[key_id]
    refusal = key_refusal(
        now_micro=now_micro,
        expires_at_micro=key.expires_at_micro,
        revoked_at_micro=key.revoked_at_micro,
    )
    return refusal is None


def test_only_the_hash_of_a_secret_is_stored(registry: MemoryRegistry, clock: FakeClock) -> None:
    """B2: SHA-256 only, shown once."""
    created = create_key(registry, pricing(), clock, KeyRequest("acme", name="ci"))

    key_id = created.key.key_id
    assert registry.hashes[key_id] == hashlib.sha256(created.secret.encode()).digest()
    assert created.secret.startswith(created.key.prefix)
    assert created.secret not in repr(registry.by_key[key_id])
    assert created.secret not in repr(created)


def test_a_key_needs_its_workspace(registry: MemoryRegistry, clock: FakeClock) -> None:
    with pytest.raises(GatewayError) as caught:
        create_key(registry, pricing(), clock, KeyRequest("nobody"))

    assert caught.value.code == "workspace.unknown"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (KeyRequest("acme", expires_at_micro=1), "key.expiry_in_past"),
        (KeyRequest("acme", features=("replya",)), "key.feature_unknown"),
        (KeyRequest("acme", networks=("10.0.0.1/8",)), "key.network_invalid"),
        (KeyRequest("acme", environment="Live!"), "key.environment_invalid"),
    ],
)
def test_a_key_that_could_never_be_used_is_refused(
    registry: MemoryRegistry, clock: FakeClock, request_: KeyRequest, code: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        create_key(registry, pricing(), clock, request_)

    assert caught.value.code == code
    assert registry.by_key == {}


def test_a_prepared_key_is_stored_nowhere(registry: MemoryRegistry, clock: FakeClock) -> None:
    """B3: keys of a YAML file are written by hand."""
    prepared = prepare_key(pricing(), clock, KeyRequest("acme", networks=("10.0.0.0/8",)))

    assert prepared.key.networks == ("10.0.0.0/8",)
    assert registry.by_key == {}


def test_a_revoked_key_ends_now_and_stays_ended(registry: MemoryRegistry, clock: FakeClock) -> None:
    key_id = create_key(registry, pricing(), clock, KeyRequest("acme")).key.key_id

    first = revoke_key(registry, key_id)
    clock.advance(86_400)
    second = revoke_key(registry, key_id)

    assert not is_usable(registry, key_id, clock.now_micro())
    assert second.revoked_at_micro == first.revoked_at_micro


def test_revoking_ends_a_key_that_was_to_end_later(
    registry: MemoryRegistry, clock: FakeClock
) -> None:
    key_id = create_key(registry, pricing(), clock, KeyRequest("acme")).key.key_id
    expire_key(registry, clock, key_id, clock.now_micro() + DAY_MICRO)

    revoke_key(registry, key_id)

    assert not is_usable(registry, key_id, clock.now_micro())


def test_an_old_key_lives_through_the_overlap(registry: MemoryRegistry, clock: FakeClock) -> None:
    """B2, requirement 1.7: old and new both work until the overlap is over."""
    old = create_key(
        registry,
        pricing(),
        clock,
        KeyRequest("acme", "test", "ci", features=("replay",), networks=("10.0.0.0/8",)),
    )

    rotation = rotate_key(registry, clock, old.key.key_id, overlap_seconds=3_600)

    new = rotation.created.key
    assert (new.name, new.features, new.networks) == ("ci", ("replay",), ("10.0.0.0/8",))
    assert new.prefix.startswith("egw_test_")
    assert rotation.created.secret != old.secret
    end_micro = clock.now_micro() + 3_600 * MICRO
    assert is_usable(registry, old.key.key_id, end_micro - 1)
    assert not is_usable(registry, old.key.key_id, end_micro)
    assert is_usable(registry, new.key_id, end_micro)


def test_a_rotation_never_prolongs_a_key_that_ends_sooner(
    registry: MemoryRegistry, clock: FakeClock
) -> None:
    key_id = create_key(registry, pricing(), clock, KeyRequest("acme")).key.key_id
    soon_micro = clock.now_micro() + 60 * MICRO
    expire_key(registry, clock, key_id, soon_micro)

    rotation = rotate_key(registry, clock, key_id, overlap_seconds=86_400)

    assert rotation.old.revoked_at_micro == soon_micro


def test_a_rotation_tells_no_end_behind_the_expiry(
    registry: MemoryRegistry, clock: FakeClock
) -> None:
    soon_micro = clock.now_micro() + 60 * MICRO
    request = KeyRequest("acme", expires_at_micro=soon_micro)
    key_id = create_key(registry, pricing(), clock, request).key.key_id

    rotation = rotate_key(registry, clock, key_id, overlap_seconds=86_400)

    assert rotation.old.revoked_at_micro == soon_micro


def test_a_key_with_a_feature_that_no_plan_has_any_more_is_rotated(
    registry: MemoryRegistry, clock: FakeClock
) -> None:
    created = prepare_key(pricing(), clock, KeyRequest("acme", features=("replay",)))
    registry.create_key(replace(created.key, features=("gone",)))

    rotation = rotate_key(registry, clock, created.key.key_id, overlap_seconds=0)

    assert rotation.created.key.features == ("gone",)
    assert rotation.old.revoked_at_micro == clock.now_micro()


def test_an_end_behind_the_expiry_is_refused(registry: MemoryRegistry, clock: FakeClock) -> None:
    request = KeyRequest("acme", expires_at_micro=clock.now_micro() + DAY_MICRO)
    key_id = create_key(registry, pricing(), clock, request).key.key_id

    with pytest.raises(GatewayError) as caught:
        expire_key(registry, clock, key_id, clock.now_micro() + 2 * DAY_MICRO)

    assert caught.value.code == "key.expires_sooner"


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_an_ended_key_is_not_rotated_back_to_life(
    registry: MemoryRegistry, clock: FakeClock, how: str
) -> None:
    request = KeyRequest("acme", expires_at_micro=clock.now_micro() + DAY_MICRO)
    key_id = create_key(registry, pricing(), clock, request).key.key_id
    if how == "revoked":
        revoke_key(registry, key_id)
    clock.advance(2 * 86_400)

    with pytest.raises(GatewayError) as caught:
        rotate_key(registry, clock, key_id, overlap_seconds=0)

    assert caught.value.code == "key.ended"
    assert len(registry.by_key) == 1


def test_an_end_in_the_past_is_refused(registry: MemoryRegistry, clock: FakeClock) -> None:
    key_id = create_key(registry, pricing(), clock, KeyRequest("acme")).key.key_id

    with pytest.raises(GatewayError) as caught:
        expire_key(registry, clock, key_id, clock.now_micro())

    assert caught.value.code == "key.expiry_in_past"


def test_an_unknown_key_is_named(registry: MemoryRegistry) -> None:
    with pytest.raises(GatewayError, match="there is no key 'key_x'"):
        find_key(registry, "key_x")
