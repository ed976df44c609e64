"""Whom the limits of an address count: an IPv4 address, or the networks of 64, 56 and 48 bits that an IPv6 address lies in.

One customer gets a whole network of 64, 56 or 48 bits (RIPE-690), so a limit for addresses or for networks of 64 bits alone would
be 65,536 limits for a customer with 48. A wider network has a limit of its own, a small multiple of the narrowest one's.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from re import compile as pattern
from typing import Final

BITS: Final = (64, 56, 48)
TIMES: Final = (1, 2, 4)
"""How much of a limit each of these networks has. An IPv4 address has the first of them."""

_WITH_PORT: Final = pattern(r"([\d.]+(?=:)|\[.+\])(?::\d*)?")
"""How some proxies write an address: with a port, or of IPv6 in brackets alone."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


@lru_cache(maxsize=1024)
def counted(written: str) -> str:
    """The IPv4 address, or the network of 64 bits, that stands for an address; empty for what is none. An IPv6 address that only
    carries an IPv4 address (mapped, 6to4, NAT64, Teredo) counts as that."""
    if with_port := _WITH_PORT.fullmatch(written):
        written = with_port[1].strip("[]")
    try:
        there = ip_address(written)
    except ValueError:
        return ""
    if isinstance(there, IPv4Address):
        return str(there)
    return str(_carried(there) or _network(there, BITS[0]))


@lru_cache(maxsize=1024)
def networks(counted: str) -> tuple[str, ...]:
    """What stands for an address, and after it the wider networks around it: as many as there are `BITS`, or one alone."""
    if ":" not in counted:
        return (counted,)
    there = IPv6Network(counted).network_address
    return tuple(str(_network(there, bits)) for bits in BITS)


def shares(counted: str, most: int, times: Sequence[int] = TIMES) -> list[tuple[str, int]]:
    """What stands for an address and for the wider networks around it, and how much of a limit each has."""
    return [(network, most * many) for network, many in zip(networks(counted), times, strict=False)]


def _network(there: IPv6Address, bits: int) -> IPv6Network:
    return IPv6Network((int(there) >> 128 - bits << 128 - bits, bits))


def _carried(there: IPv6Address) -> IPv4Address | None:
    if there in _NAT64:
        return IPv4Address(int(there) & 0xFFFF_FFFF)
    return there.ipv4_mapped or there.sixtofour or (there.teredo[1] if there.teredo else None)
