"""Whether this machine has IPv6 on its loopback: tests that need it are skipped by name."""

import socket

import pytest


def has_ipv6() -> bool:
    """Return whether the loopback has an address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on its loopback")
