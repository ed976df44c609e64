"""From where a request comes, for limits that an address has. What is counted is decided further down."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix


def init_app(app: Flask) -> None:
    """Believes as many proxies about the address as are configured (`HAMMER_PROXY_HOPS`), counted from ours outwards, and no
    header else."""
    hops = app.config["SETTINGS"].proxy_hops
    if hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=1, x_host=0)  # type: ignore[method-assign]


def address() -> str:
    """Whom the limits of an address count: an IPv4 address, or the network of 64 bits that an IPv6 address is one of 2^64 in."""
    try:
        there: IPv4Address | IPv6Address = ip_address(request.remote_addr or "")
    except ValueError:
        return ""
    if isinstance(there, IPv6Address):
        return str(there.ipv4_mapped or IPv6Network((int(there) >> 64 << 64, 64)))
    return str(there)
