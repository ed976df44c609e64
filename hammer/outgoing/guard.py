"""Which servers Hammer may post to: public ones by https, and the hosts of `HAMMER_WEBHOOK_HOSTS`.

Otherwise a URL could make Hammer send requests into its own network (server-side request forgery). A name is resolved once and
every answer is checked. The caller connects to an address that was checked, since a second look-up could give another one (DNS
rebinding).
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTP_PORT, HTTPS_PORT
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import urlsplit

from config import Settings

Address = IPv4Address | IPv6Address

# One expression reads the whole URL, so that no second parser can find another host in it.
_LABEL: Final = r"[a-z0-9_-]{1,63}"
_URL: Final = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?P<path>[/?][!\"$-\[\]-~]*)?",  # printable ASCII without # and \
    re.ASCII | re.IGNORECASE,
)
_NOT_PUBLIC: Final = [
    ip_network(each)
    for each in ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4", "3fff::/20")
]  # fmt: skip
"""Networks of which `is_global` depends on the version of Python, and multicast."""
_GLOBAL_UNICAST: Final = ip_network("2000::/3")
"""The only part of IPv6 that has public addresses of single hosts (RFC 4291 §2.4)."""
_NAT64: Final = ip_network("64:ff9b::/96")


class Refused(Exception):
    """The URL is malformed, or its host must not be reached."""


@dataclass(frozen=True)
class Target:
    """A server that was checked."""

    secure: bool
    """Whether to speak TLS."""
    host: str
    port: int
    path: str
    """With the query."""
    addresses: Sequence[Address]
    """All addresses of the host. Each may be reached."""

    @property
    def authority(self) -> str:
        """The header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (HTTPS_PORT if self.secure else HTTP_PORT) else f"{host}:{self.port}"


def resolve(host: str) -> list[str]:
    """All addresses of a host, by the resolver of the system. Raises `OSError`."""
    # As bytes: for a string, Python would read international names in its own way.
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in found))


def is_public(address: Address) -> bool:
    """Whether it is an address of a single host on the internet."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


@dataclass(frozen=True)
class Guard:
    """Decides which servers may be reached."""

    own_host: str
    """Ours. Its addresses are refused."""
    inner_hosts: Collection[str] = ()
    """Hosts that may have any address, and may be reached without TLS."""
    allows_loopback: bool = False
    """Whether this machine may be reached, also without TLS."""
    resolve: Callable[[str], Sequence[str]] = resolve
    is_public: Callable[[Address], bool] = is_public

    @classmethod
    def of(cls, settings: Settings) -> "Guard":
        """The guard of a deployment. While one develops, apps run on the same machine as Hammer."""
        develops = settings.env != "production" and settings.local
        return cls(urlsplit(settings.public_url).hostname or "", settings.webhook_hosts, develops)

    def check(self, url: str, seconds: float) -> Target:
        """The server of `url`. Raises `Refused`, and `OSError` if no address of the host is found within `seconds`."""
        read = _URL.fullmatch(url)
        if read is None:
            raise Refused
        secure, host = read["scheme"].lower() == "https", read["host"].strip("[]").rstrip(".").lower()
        port = int(read["port"] or (HTTPS_PORT if secure else HTTP_PORT))
        if not 0 < port < 2**16:
            raise Refused
        if not (self.allows_loopback or host in self.inner_hosts) and (not secure or host == self.own_host):
            raise Refused
        until = time.monotonic() + seconds
        addresses = self.addresses(host, seconds)
        if host not in self.inner_hosts and not self._allows(secure, {_plain(each) for each in addresses}, until):
            raise Refused
        path = read["path"] or "/"
        return Target(secure, host, port, path if path.startswith("/") else f"/{path}", addresses)

    def _allows(self, secure: bool, addresses: set[Address], until: float) -> bool:
        if self.allows_loopback and all(address.is_loopback for address in addresses):
            return True
        return secure and all(map(self.is_public, addresses)) and addresses.isdisjoint(self._own_addresses(until))

    def _own_addresses(self, until: float) -> set[Address]:
        with suppress(OSError):  # a name that is only known outside
            return {_plain(each) for each in self.addresses(self.own_host, until - time.monotonic())}
        return set()

    def addresses(self, host: str, seconds: float) -> list[Address]:
        """The addresses of a host. Raises `OSError` if there are none, or none is found in time.

        The resolver has no time limit: it runs in a thread that is abandoned when the time is over.
        """
        result: SimpleQueue[Sequence[str] | OSError] = SimpleQueue()

        def run() -> None:
            try:
                result.put(self.resolve(host))
            except OSError as error:
                result.put(error)

        try:
            threading.Thread(target=run, name="resolver", daemon=True).start()
            found = result.get(timeout=max(0.0, seconds))
        except (Empty, RuntimeError) as error:  # Python starts no thread while the process ends
            raise TimeoutError from error
        if isinstance(found, OSError):
            raise found
        if not found:
            raise socket.gaierror
        return [ip_address(each) for each in found]


def _plain(address: Address) -> Address:
    """The IPv4 address that is written inside an IPv6 one, if there is one: it is where the packets go."""
    if isinstance(address, IPv4Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        inside = IPv4Address(int(address) & 0xFFFFFFFF)
    return inside or address
