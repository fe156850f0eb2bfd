"""C12: what is said of an upstream arrives, what is left out is as it always was."""

from pathlib import Path

import pytest

from gateway.config.settings import load
from gateway.config.snapshot import CircuitRules, Ejection, Upstream
from gateway.errors import ConfigError
from tests.support.pricing_files import write_pricing

FILE = """\
version: 1
pricing: pricing.json
upstreams:
  app:
    endpoints: ["http://a:1"]
    {more}
routes:
  - {{name: one, match: {{methods: [GET], path: /one}}, upstream: app}}
"""


def upstream(folder: Path, more: str) -> Upstream:
    write_pricing(folder / "pricing.json", lambda _: None)
    (folder / "g.yaml").write_text(FILE.format(more=more))
    (made,) = load(folder / "g.yaml", environ={}, overrides={}).snapshot.upstreams
    return made


def test_left_out_options_are_the_defaults(tmp_path: Path) -> None:
    app = upstream(tmp_path, "")

    assert app.ejection == Ejection()
    assert app.circuit is None
    assert (app.pending_max, app.requests_max, app.dns_refresh_seconds) == (1024, 0, 10)


def test_every_option_of_failures_arrives(tmp_path: Path) -> None:
    app = upstream(
        tmp_path,
        "ejection: {failures: 5, eject_after_5xx: 7, rest: 1s, rest_max: 9s, "
        "max_ejected_percent: 30}\n"
        "    circuit: {failures: [connect, 5xx], percent: 20, requests: 8, window: 3s, pause: 2s, "
        "close_after: 4}\n"
        "    pending_max: 11\n    requests_max: 12\n    dns_refresh: 0s",
    )

    assert app.ejection == Ejection(5, 7, 1.0, 9.0, 30)
    assert app.circuit == CircuitRules(frozenset({"connect", "5xx"}), 20, 8, 3.0, 2.0, 4)
    assert (app.pending_max, app.requests_max, app.dns_refresh_seconds) == (11, 12, 0)


@pytest.mark.parametrize(
    "more",
    [
        "ejection: {rest: 0s}",
        "ejection: {rest: 9s, rest_max: 1s}",
        "circuit: {window: 0s}",
        "circuit: {pause: 0s}",
        "health_check: {path: /, interval: 0s}",
        "health_check: {path: /, timeout: 0s}",
        "timeouts: {connect: 0s}",
        "timeouts: {first_byte: 0s}",
        "timeouts: {idle: 0ms}",
        "timeouts: {total: 0s}",
    ],
)
def test_what_could_never_work_is_refused(tmp_path: Path, more: str) -> None:
    option = more.partition(":")[0]
    with pytest.raises(ConfigError, match=rf"g\.yaml:6:\d+: upstreams\.app\.{option}[.:]"):
        upstream(tmp_path, more)
