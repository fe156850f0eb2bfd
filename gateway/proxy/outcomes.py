"""What becomes of an upstream's failures: told to ejection and circuit, counted, logged.

The request path calls it for what is not plain success; the rules are in ``balancing`` and
``circuit``.
Source: requirement C12; docs/operations.md.
"""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.config.snapshot import Upstream
from gateway.proxy.balancing import Ejector, EndpointState, rest_seconds
from gateway.proxy.circuit import Circuit
from gateway.proxy.upstream import UpstreamConnection
from gateway.telemetry.metrics import WorkerStats

_log = structlog.get_logger("proxy")

_SERVER_ERROR: Final = 500
_EJECTING: Final = frozenset({"closed", "timeout"})


class Outcomes:
    """How the requests to one upstream end.

    Attributes:
        watches: Whether every request's end must be told, not only what goes wrong.
    """

    def __init__(
        self,
        upstream: Upstream,
        states: Sequence[EndpointState],
        stats: WorkerStats,
        guard: Callable[[bool], None],
    ) -> None:
        self._upstream = upstream
        self._stats = stats
        self._guard = guard
        self._ejector = Ejector(states, upstream.ejection)
        self._circuit = None if upstream.circuit is None else Circuit(upstream.circuit)
        self._is_closed = False
        self.watches = self._circuit is not None or upstream.ejection.after_5xx > 0
        self._tell()

    def wait_seconds(self, now: float) -> float:
        """Return how long requests are to stay away; 0 lets one in."""
        return 0.0 if self._circuit is None else self._circuit.wait_seconds(now)

    def begin_probe(self) -> bool:
        """Return whether a request that is let in is a probe of the circuit."""
        circuit = self._circuit
        if circuit is None or not circuit.is_open:
            return False
        circuit.probe()
        return True

    def end_probe(self) -> None:
        """End a probe that never began."""
        if self._circuit is not None:
            self._circuit.told_nothing()

    def begin_trial(self, state: EndpointState, now: float) -> bool:
        """Return whether a request to an ejected endpoint is its trial."""
        return self._ejector.try_again(state, now)

    def connect_failed(self, state: EndpointState, now: float, *, is_trial: bool) -> None:
        """Note that an endpoint took no connection."""
        if self._ejector.failed(state, now, is_trial=is_trial):
            self._ejected(state)

    def unreachable(self, now: float, *, is_probe: bool) -> None:
        """Note that no endpoint took a connection."""
        circuit = self._circuit
        if circuit is None:
            return
        if is_probe:
            self._probed(circuit, now, failed=True)
        else:
            self._note(circuit, now, failed="connect" in circuit.rules.failures)

    def answered(self, connection: UpstreamConnection, status: int, now: float) -> None:
        """Note the head of the answer to a trial or a probe."""
        state, is_server_error = connection.endpoint, status >= _SERVER_ERROR
        if connection.is_trial:
            connection.is_trial = False
            if self._ejector.answered(state, now, server_error=is_server_error, is_trial=True):
                self._ejected(state)
            else:
                self._readmitted(state)
        circuit = self._circuit
        if connection.is_circuit_probe and circuit is not None:
            connection.is_circuit_probe = False
            self._probed(circuit, now, failed=is_server_error and "5xx" in circuit.rules.failures)

    def ended(self, connection: UpstreamConnection, now: float) -> None:
        """Note how a request ended whose connection is given back."""
        state, ejector, circuit = connection.endpoint, self._ejector, self._circuit
        kind, status = connection.failure(), connection.status()
        is_trial, is_probe = connection.is_trial, connection.is_circuit_probe
        connection.is_trial = connection.is_circuit_probe = False
        if kind in _EJECTING:
            if ejector.failed(state, now, is_trial=is_trial):
                self._ejected(state)
        elif is_trial:
            ejector.told_nothing(state)
        elif status and not kind:
            self._completed(state, status, now)
        if circuit is None:
            return
        is_bad = status >= _SERVER_ERROR and "5xx" in circuit.rules.failures
        if not (kind or status):
            if is_probe:
                circuit.told_nothing()
        elif is_probe:  # what did not answer is not well, whatever opened the circuit
            self._probed(circuit, now, failed=bool(kind) or is_bad)
        else:
            self._note(circuit, now, failed=is_bad or kind in circuit.rules.failures)

    def close(self) -> None:
        """Forget the state: the upstream is no longer configured."""
        self._is_closed = True
        self._stats.upstream_endpoints_ejected[self._upstream.name] = 0
        if self._upstream.health_check is not None:
            self._stats.upstream_endpoints_unwell[self._upstream.name] = 0
        if self._circuit is not None:
            self._stats.upstream_circuits_open[self._upstream.name] = 0

    def _completed(self, state: EndpointState, status: int, now: float) -> None:
        ejector = self._ejector
        if self._upstream.ejection.after_5xx and ejector.answered(
            state, now, server_error=status >= _SERVER_ERROR, is_trial=False
        ):
            self._ejected(state)
        elif state.is_troubled:
            ejector.completed(state, now)

    def _ejected(self, state: EndpointState) -> None:
        self._stats.upstream_ejections += 1
        self._tell()
        _log.warning(
            "upstream.endpoint_ejected",
            upstream=self._upstream.name,
            endpoint=_name_of(state),
            rest_seconds=rest_seconds(state.ejections_in_a_row, self._upstream.ejection),
        )

    def _readmitted(self, state: EndpointState) -> None:
        if state.is_ejected:
            return
        self._tell()
        _log.info(
            "upstream.endpoint_readmitted", upstream=self._upstream.name, endpoint=_name_of(state)
        )

    def _note(self, circuit: Circuit, now: float, *, failed: bool) -> None:
        if circuit.note(now, failed=failed):
            self._stats.upstream_circuit_openings += 1
            self._guard(True)  # noqa: FBT003 - a callback
            self._tell()
            _log.warning("upstream.circuit_opened", upstream=self._upstream.name)

    def _probed(self, circuit: Circuit, now: float, *, failed: bool) -> None:
        if circuit.probed(now, failed=failed):
            self._guard(False)  # noqa: FBT003 - a callback
            self._tell()
            _log.info("upstream.circuit_closed", upstream=self._upstream.name)

    def _tell(self) -> None:
        """Show the state as metrics."""
        if self._is_closed:
            return
        stats, name = self._stats, self._upstream.name
        stats.upstream_endpoints_ejected[name] = self._ejector.ejected
        if self._circuit is not None:
            stats.upstream_circuits_open[name] = int(self._circuit.is_open)


def _name_of(state: EndpointState) -> str:
    return state.endpoint.unix_path or state.endpoint.authority.decode()
