"""Networks and prefixes as they are compiled; faults have their golden files."""

from pathlib import Path

from gateway.config.settings import load
from gateway.config.snapshot import Snapshot
from tests.support.pricing_files import write_pricing

FILE = """\
version: 1
pricing: pricing.json
trusted_proxies: ["::ffff:10.0.0.0/104", 192.0.2.7, "2001:DB8::/32"]
policies:
  - {name: near, window: 10s, cap: 5, scope: address}
  - {name: wide, window: 10s, cap: 5, scope: address, address_prefix: {ipv6: 48}}
upstreams: {app: {endpoints: ["http://127.0.0.1:9"]}}
routes:
  - {name: one, match: {methods: [GET], path: /one}, upstream: app, limits: [near, wide]}
"""


def compiled(folder: Path) -> Snapshot:
    write_pricing(folder / "pricing.json", lambda _document: None)
    (folder / "gateway.yaml").write_text(FILE)
    return load(folder / "gateway.yaml", environ={}, overrides={}).snapshot


def test_trusted_networks_are_those_of_the_addresses_that_are_compared(tmp_path: Path) -> None:
    networks = [str(network) for network in compiled(tmp_path).trusted_proxies]

    assert networks == ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]


def test_a_policy_has_its_prefixes(tmp_path: Path) -> None:
    near, wide = compiled(tmp_path).routes[0].own_limits

    assert (near.ipv4_bits, near.ipv6_bits) == (32, 64)
    assert (wide.ipv4_bits, wide.ipv6_bits) == (32, 48)
