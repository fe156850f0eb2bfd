"""A keys file written by hand, and the registry that lists it."""

from pathlib import Path

from gateway.control.written_keys import read_written
from gateway.control.written_registry import WrittenRegistry

FILE = f"""\
version: 1
workspaces:
  - id: globex
    plan: GOLD
    status: suspended
    keys:
      - {{id: key_g, sha256: "{"0" * 64}", expires_at: 2027-01-01T00:00:00Z}}
  - id: acme
    plan: STARTER
    keys:
      - {{id: key_a, sha256: "{"1" * 64}", prefix: egw_live_abcd, cidrs: [10.0.0.0/8]}}
      - {{id: key_b, sha256: "{"2" * 64}", features: [sso, replay]}}
"""


def write_keys(folder: Path) -> Path:
    """Write the file; return where it is."""
    path = folder / "keys.yaml"
    path.write_text(FILE)
    return path


def registry_of(path: Path) -> WrittenRegistry:
    """Return the registry of a keys file that a gateway watches."""
    return WrittenRegistry(read_written(path), str(path), is_watched=True)
