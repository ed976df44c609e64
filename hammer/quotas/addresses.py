"""What a limit per address counts: an IPv4 address, or the networks of 64, 56 and 48 bits around an IPv6 address.

A customer gets a whole IPv6 network of 64, 56 or 48 bits (RIPE-690). If only networks of 64 bits had a limit, a customer with 48
bits would have 65,536 of them. So wider networks have limits too, a small multiple of that of the narrowest one.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from re import compile as pattern
from typing import Final

BITS: Final = (64, 56, 48)
TIMES: Final = (1, 2, 4)
"""The multiple of a limit for each of these networks. An IPv4 address has the first one."""

_WITH_PORT: Final = pattern(r"([\d.]+(?=:)|\[.+\])(?::\d*)?")
"""How some proxies write an address: with a port, or IPv6 in brackets without one."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


@lru_cache(maxsize=1024)
def counted(written: str) -> str:
    """The IPv4 address or the network of 64 bits under which an address is counted; empty if it is no address.

    An IPv6 address that contains an IPv4 address (mapped, 6to4, NAT64, Teredo) is counted as that IPv4 address.
    """
    if with_port := _WITH_PORT.fullmatch(written):
        written = with_port[1].strip("[]")
    try:
        address = ip_address(written)
    except ValueError:
        return ""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(_embedded_ipv4(address) or _network(address, BITS[0]))


@lru_cache(maxsize=1024)
def networks(counted: str) -> tuple[str, ...]:
    """An address as `counted` returns it, followed by the wider networks around it: as many as `BITS`, or one entry for IPv4."""
    if ":" not in counted:
        return (counted,)
    address = IPv6Network(counted).network_address
    return tuple(str(_network(address, bits)) for bits in BITS)


def shares(counted: str, most: int, times: Sequence[int] = TIMES) -> list[tuple[str, int]]:
    """The `networks` of an address, each with its limit: `most` times the factor for its width."""
    return [(network, most * many) for network, many in zip(networks(counted), times, strict=False)]


def _network(address: IPv6Address, bits: int) -> IPv6Network:
    return IPv6Network((int(address) >> 128 - bits << 128 - bits, bits))


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
