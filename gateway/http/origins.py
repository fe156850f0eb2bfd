"""Who is at the other end of a connection, by its peer and by what trusted proxies say of theirs.

Each proxy adds the address that it was called from to the right end of ``X-Forwarded-For``. What is
said by a peer that is no trusted proxy may be invented, and so may be all that stands left of the
first address that is none.
Source: RFC 7239 5, 6 and 8.1; docs/semantics.md#client-addresses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.http.addresses import Network, address_in
from gateway.http.forwarding import ClientOrigin, node_of
from gateway.rules.address_groups import group_of

HOPS_MAX: Final = 100
"""No request passes more proxies; a longer list would only cost time."""
_SCHEMES: Final = frozenset({b"http", b"https"})


@dataclass(frozen=True, slots=True)
class Claim:
    """What a peer that is trusted says of whom it was called by.

    Attributes:
        origin: The client.
        unreadable: The entry that ended the walk, empty if none did.
    """

    origin: ClientOrigin
    unreadable: bytes = b""


def address_of(peername: object) -> str:
    """Return the address of a socket's other end, ``unix`` if it has none.

    A socket of both families has IPv4 peers that are mapped, and link-local ones have a zone.
    """
    if not isinstance(peername, tuple) or not peername:
        return "unix"
    text = str(peername[0])
    return text if ":" not in text else str(address_in(text) or text)


def peer_origin(peer: str, scheme: bytes) -> ClientOrigin:
    """Return the origin of a connection whose peer is the client."""
    return ClientOrigin(peer, peer.encode(), node_of(peer), scheme, group_of(peer))


def is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    """Return whether an address lies in one of the networks."""
    address = address_in(text)
    return address is not None and any(address in network for network in trusted)


def claimed_origin(
    peer: str,
    scheme: bytes,
    forwarded_for: Sequence[bytes],
    forwarded_proto: Sequence[bytes],
    trusted: Sequence[Network],
) -> Claim:
    """Return the client behind a trusted proxy: the right-most address that is no trusted proxy.

    An entry that is no address ends the walk: the client is who named it.

    Args:
        peer: Address of the proxy, canonical text.
        scheme: Of the connection to it.
        forwarded_for: Values of ``X-Forwarded-For``, in order.
        forwarded_proto: Values of ``X-Forwarded-Proto``, in order.
        trusted: Networks of trusted proxies.
    """
    hops = _entries(forwarded_for)
    client, unreadable = peer, b""
    at = len(hops)
    while at and len(hops) - at < HOPS_MAX:
        address = address_in(hops[at - 1].decode("latin-1"))
        if address is None:
            unreadable = hops[at - 1]
            break
        at -= 1
        client = str(address)
        hops[at] = client.encode()
        if not any(address in network for network in trusted):
            break
    chain = b", ".join([*hops, peer.encode()])
    scheme = _scheme_at(min(at, len(hops) - 1), len(hops), _entries(forwarded_proto), scheme)
    return Claim(ClientOrigin(client, chain, node_of(client), scheme, group_of(client)), unreadable)


def _scheme_at(at: int, hops: int, schemes: Sequence[bytes], default: bytes) -> bytes:
    """Return the scheme by which the client came to the proxy that told its address.

    Proxies that append to both fields write both entries in one place. Where the fields are not
    of one length, the left-most scheme is what the first of them saw.
    """
    if not schemes:
        return default
    found = schemes[at if len(schemes) == hops else 0].lower()
    return found if found in _SCHEMES else default


def _entries(values: Sequence[bytes]) -> list[bytes]:
    """Return the members of a list field; empty ones are none (RFC 9110 5.6.1)."""
    members = [member.strip(b" \t") for value in values for member in value.split(b",")]
    return [member for member in members if member]
