"""The route file's models of upstreams: endpoints, bounds, times, and what becomes of failures.

Source: design sections 10 and 11; requirement C12.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from gateway.config.model import Model
from gateway.config.quantities import PositiveSeconds, Seconds

PROBED: Final = r"^/[!-~]*$"
ENDPOINT: Final = r"^(https?://[^/?#@\s]+|unix:/\S+)$"


class TimeoutsModel(Model):
    """How long an upstream may take."""

    connect: Annotated[PositiveSeconds, Field(description="Until a connection is there (502).")] = (
        1.0
    )
    first_byte: Annotated[PositiveSeconds, Field(description="Until the answer begins (504).")] = (
        30.0
    )
    idle: Annotated[
        PositiveSeconds, Field(description="Between two pieces of an answer (cut).")
    ] = 60.0
    total: Annotated[
        PositiveSeconds | Literal["plan", "none"],
        Field(description="The whole request; plan is the plan's max_execution_seconds (504)."),
    ] = "plan"


class HealthCheckModel(Model):
    """How endpoints are asked whether they are well."""

    path: Annotated[str, Field(pattern=PROBED, description="Asked with GET.")]
    interval: Annotated[
        PositiveSeconds, Field(description="Between two probes of an endpoint.")
    ] = 5.0
    timeout: Annotated[PositiveSeconds, Field(description="Until an answer has begun.")] = 1.0
    statuses: Annotated[
        list[Annotated[int, Field(ge=100, le=599)]],
        Field(min_length=1, description="Answers that say it is well."),
    ] = [200, 204]
    unwell_after: Annotated[
        int, Field(ge=1, le=100, description="Failed probes in a row until it is left alone.")
    ] = 3
    well_after: Annotated[
        int, Field(ge=1, le=100, description="Good probes in a row until it is used again.")
    ] = 2


class EjectionModel(Model):
    """When an endpoint that fails requests is left alone, and for how long."""

    failures: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="Requests in a row that it failed (no connection, closed, no answer in "
            "time) until it rests.",
        ),
    ] = 3
    after_5xx: Annotated[
        int,
        Field(
            alias="eject_after_5xx",
            ge=0,
            le=1000,
            description="Answers with 5xx in a row until it rests; 0 looks at none.",
        ),
    ] = 0
    rest: Annotated[
        Seconds,
        Field(
            description="First rest; each further one in a row is twice as long. Then one request "
            "at a time until one succeeds."
        ),
    ] = 5.0
    rest_max: Annotated[Seconds, Field(description="No rest is longer.")] = 300.0
    max_ejected_percent: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="Share of the endpoints that may rest at once: one at least, never all; 0 "
            "lets none rest.",
        ),
    ] = 100


class CircuitModel(Model):
    """When requests to an upstream that fails are refused at once (503)."""

    failures: Annotated[
        list[Literal["connect", "timeout", "closed", "protocol", "5xx"]],
        Field(
            min_length=1,
            description="What counts: no connection, no answer in time, cut off, no HTTP, 5xx. A "
            "request that is let through while it is open must get an answer.",
        ),
    ] = ["connect", "timeout", "closed", "protocol"]
    percent: Annotated[
        int, Field(ge=1, le=100, description="Opens when this share of the last requests failed.")
    ] = 50
    requests: Annotated[
        int,
        Field(ge=1, le=10_000, description="So many are looked at; with fewer it never opens."),
    ] = 20
    window: Annotated[Seconds, Field(description="Requests before that are forgotten.")] = 10.0
    pause: Annotated[
        Seconds,
        Field(description="Refuses all for so long, then lets one request at a time through."),
    ] = 5.0
    close_after: Annotated[
        int, Field(ge=1, le=1000, description="Such requests in a row that succeed close it.")
    ] = 1


class UpstreamModel(Model):
    """A service behind the gateway."""

    endpoints: Annotated[
        list[Annotated[str, Field(pattern=ENDPOINT)]],
        Field(min_length=1, description="http://host:port, https://host or unix:/path/to/socket."),
    ]
    timeouts: Annotated[TimeoutsModel, Field(description="How long it may take.")] = TimeoutsModel()
    connections_max: Annotated[
        int, Field(ge=1, le=65_536, description="Connections of a worker to all its endpoints.")
    ] = 512
    idle_connections_max: Annotated[
        int, Field(ge=0, le=65_536, description="Kept open per endpoint while unused.")
    ] = 64
    idle: Annotated[
        Seconds,
        Field(description="Kept open for so long; less than the upstream's own keep-alive."),
    ] = 30.0
    pending_max: Annotated[
        int,
        Field(
            ge=0,
            le=65_536,
            description="Requests that wait for a connection, first come first served; more get "
            "503.",
        ),
    ] = 1024
    requests_max: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="Requests of a worker under way or waiting; more get 503. 0 sets no bound.",
        ),
    ] = 0
    dns_refresh: Annotated[
        Seconds,
        Field(description="Host names are looked up again after this; 0s keeps the first answer."),
    ] = 10.0
    preserve_host: Annotated[
        bool, Field(description="Send the client's Host; off, the endpoint's.")
    ] = True
    tls_ca_file: Annotated[
        str | None,
        Field(
            min_length=1, description="CA certificates for https endpoints, relative to this file."
        ),
    ] = None
    tls_server_name: Annotated[
        str | None, Field(min_length=1, description="Name to ask for and verify.")
    ] = None
    tls_client_certificate: Annotated[
        str | None,
        Field(
            min_length=1,
            description="Chain shown to https endpoints that ask for one, PEM, relative to this "
            "file.",
        ),
    ] = None
    tls_client_key: Annotated[
        str | None, Field(min_length=1, description="Its key, PEM, relative to this file.")
    ] = None
    health_check: Annotated[
        HealthCheckModel | None,
        Field(description="Probes of the endpoints; without it only requests tell."),
    ] = None
    ejection: Annotated[
        EjectionModel, Field(description="When an endpoint that fails requests is left alone.")
    ] = EjectionModel()
    circuit: Annotated[
        CircuitModel | None,
        Field(description="Refuse at once what would fail; without it every request is tried."),
    ] = None

    @property
    def tls_files(self) -> tuple[Path, ...]:
        """The files that its TLS is made of."""
        return tuple(map(Path, self._named_files().values()))

    def found_from(self, folder: Path) -> Self:
        """Return the same with its files where they are: relative ones are in a folder."""
        found = {option: str(folder / file) for option, file in self._named_files().items()}
        return self.model_copy(update=found)

    def _named_files(self) -> dict[str, str]:
        named = {
            "tls_ca_file": self.tls_ca_file,
            "tls_client_certificate": self.tls_client_certificate,
            "tls_client_key": self.tls_client_key,
        }
        return {option: file for option, file in named.items() if file is not None}
