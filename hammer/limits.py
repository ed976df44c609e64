"""From where a request comes, for limits that an address has, and what callers are told of limits. What is counted is decided
further down."""

import logging
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from config import Settings
from hammer import guesses, sends
from hammer.refusals import Wait

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Believes as many proxies about the address as are configured (`HAMMER_PROXY_HOPS`), counted from ours outwards, and no
    header else. Warns of settings that allow more guessing than they say is allowed, with which production does not start."""
    settings: Settings = app.config["SETTINGS"]
    expected = guesses.expected_takeovers_per_year(settings)
    if expected > settings.max_expected_takeovers:
        log.warning("Guessing may take over %.2f accounts a year, and %g are allowed.", expected, settings.max_expected_takeovers)
    hops = settings.proxy_hops
    if hops:
        # Whether people came by https is known to the nearest one alone: the others need not add to its header.
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


def headers(settings: Settings, quotas: Iterable[sends.Quota]) -> dict[str, str]:
    """What is left of limits, as draft-ietf-httpapi-ratelimit-headers-10 writes it; nothing about limits of the whole system."""
    quotas = list(quotas)
    policies = sends.policies(settings)
    if not quotas:
        return {}
    return {
        "RateLimit-Policy": ", ".join(
            f'"{q.name}";q={policies[q.name][0]};w={policies[q.name][1].total_seconds():.0f}' for q in quotas
        ),
        "RateLimit": ", ".join(f'"{q.name}";r={q.left};t={q.resets_in}' for q in quotas),
    }


def spent(settings: Settings, refusal: Wait) -> dict[str, str]:
    """The same for a refusal: the limit that was reached, if callers may know it."""
    return headers(settings, [sends.Quota(refusal.limit, 0, refusal.retry_after)] if refusal.limit else [])
