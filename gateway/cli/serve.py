"""``gateway serve``: run a worker until SIGTERM or SIGINT."""

from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, Config, Counters, DataDir, Keys, LedgerUrl
from gateway.cli.context import given
from gateway.errors import GatewayError, start_code

Listen = Annotated[
    list[str] | None,
    typer.Option(help="Address for clients; several times, or with commas [env: GATEWAY_LISTEN]."),
]
AdminListen = Annotated[
    list[str] | None,
    typer.Option(help="The same for probes and metrics [env: GATEWAY_ADMIN_LISTEN]."),
]


def run(
    *,
    config: Config = DEFAULT_CONFIG,
    listen: Listen = None,
    admin_listen: AdminListen = None,
    data_dir: DataDir = None,
    counters: Counters = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    tls_certificate: Annotated[
        str | None, typer.Option(help="Listener's chain, PEM [env: GATEWAY_TLS_CERTIFICATE].")
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option(help="Its key, PEM [env: GATEWAY_TLS_KEY].")
    ] = None,
    tls_client_ca: Annotated[
        str | None,
        typer.Option(help="Authorities of clients' certificates [env: GATEWAY_TLS_CLIENT_CA]."),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(help="debug, info, warning or error [env: GATEWAY_LOG_LEVEL]."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Events are JSON on a terminal, too, as are errors.")
    ] = False,
) -> None:
    """Serve requests until SIGTERM: events to stderr, one access line per request to stdout.

    Events are JSON, unless stderr is a terminal.

    Exit code 3 means that it can't start and that starting it again will not help; 1 that what kept
    it from starting may pass.
    """
    from gateway.process.loading import become_worker  # noqa: PLC0415 - no other command needs it

    overrides = given(
        listen=_joined(listen),
        admin_listen=_joined(admin_listen),
        data_dir=data_dir,
        counters=counters,
        ledger=ledger,
        keys=keys,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        log_level=log_level,
    )
    try:
        become_worker(config, overrides, as_json=as_json)
    except GatewayError as error:
        output.failure(error)
        raise typer.Exit(start_code(error.code)) from None


def _joined(addresses: list[str] | None) -> str | None:
    return ",".join(addresses) if addresses else None
