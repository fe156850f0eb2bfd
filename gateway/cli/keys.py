"""``gateway keys``: create, list, revoke, rotate, expire. A secret is shown once, never again."""

from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    DataDir,
    Keys,
    LedgerUrl,
    duration_seconds,
    instant_micro,
)
from gateway.cli.context import open_desk
from gateway.control import keys as control
from gateway.errors import GatewayError
from gateway.keys.format import FOREIGN_BYTES_MAX, FOREIGN_BYTES_MIN
from gateway.keys.port import KeyDescription, NewKey

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="API keys: create, list, revoke, rotate, let expire. With foreign_keys: true in the route "
    f"file, keys made elsewhere are taken too: {FOREIGN_BYTES_MIN} to {FOREIGN_BYTES_MAX} bytes of "
    "printable ASCII without blanks; shorter ones are refused as unknown.",
)

COLUMNS = {
    "key_id": "KEY",
    "prefix": "PREFIX",
    "workspace_id": "WORKSPACE",
    "name": "NAME",
    "state": "STATE",
    "ends_at": "EXPIRES",
    "last_used_at": "LAST USED",
}

KeyId = Annotated[str, typer.Argument(help="The key's id, as `gateway keys list` shows it.")]


@app.command()
def create(
    *,
    workspace: Annotated[str, typer.Argument(help="The workspace that the key is for.")],
    name: Annotated[str, typer.Option(help="What the key is for, for people.")] = "",
    environment: Annotated[
        str,
        typer.Option(help="Part of the key: live, test, or another word of 2 to 8 letters a-z."),
    ] = "live",
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 90d, or 2027-01-31 [never].")
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="Only this feature of the plan; repeatable.")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="Only from this network; repeatable.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and show its secret, this once.

    Where keys are written by hand (file: or env:), nothing is stored: the entry to add is printed.
    """
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    request = control.KeyRequest(
        workspace_id=workspace,
        environment=environment,
        name=name,
        expires_at_micro=instant_micro(expires, desk.clock.now_micro()) if expires else None,
        features=tuple(feature) if feature else None,
        networks=tuple(network or ()),
    )
    if desk.written_keys is None:
        created = control.create_key(desk.registry, desk.pricing, desk.clock, request)
        _show_created(created, as_json=as_json)
    else:
        _show_entry(control.prepare_key(desk.pricing, desk.clock, request), as_json=as_json)


@app.command("list")
def list_keys(
    *,
    workspace: Annotated[
        str | None, typer.Option(help="Only keys of this workspace [all].")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the oldest first.")] = 1_000,
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """List keys: prefix only, never a secret."""
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    now_micro = desk.clock.now_micro()
    known = desk.registry.keys(workspace, limit=limit + 1)
    found = [_described(key, now_micro) for key in known[:limit]]
    output.rows(found, COLUMNS, as_json=as_json, empty="There are no keys yet.")
    if len(known) > limit:
        output.note(f"There are more than these {limit}: see --limit and --workspace.")


@app.command()
def revoke(
    *,
    key_id: KeyId,
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on."""
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    key = control.revoke_key(desk.registry, key_id)
    output.facts(_described(key, desk.clock.now_micro()), as_json=as_json)


@app.command()
def expire(
    *,
    key_id: KeyId,
    at: Annotated[str, typer.Argument(help="When it ends: 30d, or 2027-01-31.")],
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a key from a later instant on."""
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    now_micro = desk.clock.now_micro()
    key = control.expire_key(desk.registry, desk.clock, key_id, instant_micro(at, now_micro))
    output.facts(_described(key, now_micro), as_json=as_json)


@app.command()
def rotate(
    *,
    key_id: KeyId,
    overlap: Annotated[
        str, typer.Option(help="How long the old key lives on: 0s, 30m, 24h, 7d.")
    ] = "24h",
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key: a new one with the same rights, the old one until the overlap is over.

    Where keys are written by hand (file: or env:), nothing is stored: what to write is printed.
    """
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    seconds = duration_seconds(overlap)
    if desk.written_keys is not None:
        created, ends_at_micro = control.prepare_rotation(
            desk.registry, desk.clock, key_id, overlap_seconds=seconds
        )
        ends = desk.clock.now_micro() if ends_at_micro is None else ends_at_micro
        _show_entry(created, as_json=as_json, ends=(key_id, output.instant(ends)))
        return
    rotation = control.rotate_key(desk.registry, desk.clock, key_id, overlap_seconds=seconds)
    _show_created(rotation.created, as_json=as_json)
    output.note(
        f"The old key {key_id} is refused from {output.instant(rotation.old.revoked_at_micro)} on."
    )


def _show_created(created: control.CreatedKey, *, as_json: bool) -> None:
    key_id = created.key.key_id
    try:
        output.facts({"secret": created.secret} | _stored(created.key), as_json=as_json)
        output.flush()
    except (GatewayError, output.ReaderGone) as error:
        raise GatewayError(
            "key.secret_lost",
            f"the key {key_id} exists, but its secret could not be written",
            f"nobody has it: `gateway keys revoke {key_id}`, then create another key",
        ) from error
    output.note("Keep the secret now: it is stored nowhere and can't be shown again.")


def _show_entry(
    prepared: control.CreatedKey, *, as_json: bool, ends: tuple[str, str | None] | None = None
) -> None:
    """Print what to write into the keys file, and the secret beside it.

    Args:
        prepared: The new key.
        as_json: Whether ``--json`` was given.
        ends: The key that it replaces, and when that one is to end.
    """
    from gateway.control.written_keys import entry_text  # noqa: PLC0415 - brings yaml

    key = prepared.key
    if as_json:
        stored = _stored(key) | {"sha256": key.key_hash.hex()}
        old = {} if ends is None else {"replaces": ends[0], "replaced_revoked_at": ends[1]}
        output.document({"secret": prepared.secret} | stored | old)
        return
    output.line(f"# add under the keys of the workspace {key.workspace_id}:")
    output.line(entry_text(key, output.instant(key.expires_at_micro)))
    if ends is not None:
        output.line(f"# write at the old key {ends[0]}, or remove it then:")
        output.line(f"#   revoked_at: {ends[1]}")
    output.line(f"# the secret, for its owner: {prepared.secret}")
    output.note("Keep the secret now: only its hash stands in the entry.")


def _stored(key: NewKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "prefix": key.prefix,
        "workspace_id": key.workspace_id,
        "name": key.name,
        "expires_at": output.instant(key.expires_at_micro),
        "features": None if key.features is None else list(key.features),
        "networks": list(key.networks),
    }


def _described(key: KeyDescription, now_micro: int) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "prefix": key.prefix,
        "workspace_id": key.workspace_id,
        "name": key.name,
        "state": _state(key, now_micro),
        "created_at": output.instant(key.created_at_micro),
        "expires_at": output.instant(key.expires_at_micro),
        "revoked_at": output.instant(key.revoked_at_micro),
        "ends_at": output.instant(_ends_at_micro(key)),
        "last_used_at": output.instant(key.last_used_at_micro),
        "features": None if key.features is None else list(key.features),
        "networks": list(key.networks),
    }


def _ends_at_micro(key: KeyDescription) -> int | None:
    """Return the instant from which on a key is refused: it expires, or is revoked or replaced."""
    ends = [at for at in (key.expires_at_micro, key.revoked_at_micro) if at is not None]
    return min(ends, default=None)


def _state(key: KeyDescription, now_micro: int) -> str:
    if key.revoked_at_micro is not None and key.revoked_at_micro <= now_micro:
        return "revoked"
    if key.expires_at_micro is not None and key.expires_at_micro <= now_micro:
        return "expired"
    return "active" if key.revoked_at_micro is None else "ending"
