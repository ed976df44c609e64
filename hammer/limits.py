"""From where a request comes, how many and how large ones may come from there, and what callers are told of limits.

Requests of any kind are counted by address and minute before anything is done for them: cheaply, in Redis for all processes
together, or else in this one. What costs money or bounds guessing is counted in the database, and decided further down.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeVar, cast

from flask import Flask, current_app, request
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix

from config import Settings
from hammer import sends
from hammer.refusals import TooManyRequests, Wait

Answer = TypeVar("Answer")

UNCOUNTED: Final = {"health", "receipts"}
"""The blueprints that those who watch over us and our gateways ask, again and again and from one address."""
REDIS_SECONDS: Final = 0.2
"""How long Redis is waited for. It is asked twice before it counts as away."""
REDIS_APART_SECONDS: Final = 5.0
"""How long it is left alone then."""

_WITH_PORT: Final = re.compile(r"([\d.]+|\[.+\]):\d+")
"""How some proxies write an address."""

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Believes as many proxies about the address as are configured (`HAMMER_PROXY_HOPS`), counted from ours outwards, and no
    header else. Warns of settings that allow more guessing than they say is allowed, with which production does not start."""
    settings: Settings = app.config["SETTINGS"]
    expected = settings.expected_takeovers_per_year
    if expected > settings.max_expected_takeovers:
        log.warning("Guessing may take over %.2f accounts a year, and %g are allowed.", expected, settings.max_expected_takeovers)
    hops = settings.proxy_hops
    if hops:
        # Whether people came by https is known to the nearest one alone: the others need not add to its header.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=1, x_host=0)  # type: ignore[method-assign]
    app.before_request(_read_whole)
    app.extensions["hammer.limits"] = Knocks(settings)
    if settings.requests_per_address_minute:
        app.before_request(_count)


class _Sweep(threading.Timer):
    """Forgets what is over once a minute, with the request that comes then. By itself the storage begins a thread for it at nearly
    each request, which reads through all addresses."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(60.0, storage._MemoryStorage__expire_events)  # type: ignore[attr-defined]
        self.next_at = 0.0

    def is_alive(self) -> bool:
        now = time.monotonic()
        if now >= self.next_at:
            self.next_at = now + self.interval
            self.function()
        return True


class Knocks:
    """Counts requests of addresses: in Redis where there is one, and in this process while that is away."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.most = RateLimitItemPerMinute(settings.requests_per_address_minute, namespace="hammer")
        memory = MemoryStorage()
        memory.timer = _Sweep(memory)
        self.here = FixedWindowRateLimiter(memory)
        self.shared = FixedWindowRateLimiter(_redis(settings.redis_url)) if settings.redis_url else None
        self.away = False
        self.next_try_at = 0.0

    def take(self, address: str) -> None:
        """Takes one of the requests that this address has a minute. Refuses with `TooManyRequests`."""
        if self.shared is not None:  # what leaves this process names nobody
            address = self.settings.keyed_hash("knocks", address)
        if not self._ask(lambda counter: counter.hit(self.most, address)):
            over_at = self._ask(lambda counter: counter.get_window_stats(self.most, address).reset_time)
            raise TooManyRequests(retry_after=int(over_at - time.time()) + 1)

    def redis_answers(self) -> bool | None:
        """Whether Redis does; None where there is none to ask."""
        if self.shared is None:
            return None
        self._ask(lambda counter: counter.test(self.most, ""))
        return not self.away

    def _ask(self, question: Callable[[FixedWindowRateLimiter], Answer]) -> Answer:
        if self.shared is not None and time.monotonic() >= self.next_try_at:
            if self.away:  # one asks whether it is back, and nobody waits with them
                self.next_try_at = time.monotonic() + REDIS_APART_SECONDS
            try:
                answer = question(self.shared)
            except StorageError as fault:
                self.next_try_at = time.monotonic() + REDIS_APART_SECONDS
                if not self.away:
                    log.warning("Redis is away (%s): each process counts requests by itself.", type(fault.__cause__).__name__)
                self.away = True
            else:
                if self.away:
                    log.info("Redis is back.")
                self.away, self.next_try_at = False, 0.0
                return answer
        return question(self.here)


def _redis(url: str) -> Storage:
    from redis.backoff import NoBackoff  # noqa: PLC0415  # 60 ms that only those with a Redis pay
    from redis.retry import Retry  # noqa: PLC0415

    again = Retry(NoBackoff(), 1)  # a connection that broke while it lay idle says nothing about Redis
    times = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
    return cast(Storage, storage_from_string(url, wrap_exceptions=True, **times, retry=again))  # type: ignore[arg-type]


def redis_answers() -> bool | None:
    """Whether Redis does; None where there is none."""
    return _knocks().redis_answers()


def _knocks() -> Knocks:
    return cast(Knocks, current_app.extensions["hammer.limits"])


def _read_whole() -> None:
    """Reads what was sent before anybody works with it: a body of unknown length may break off, or be longer than we take."""
    if request.url_rule is None or request.method in ("GET", "HEAD"):
        return
    try:
        sent = request.get_data()
    except OSError as fault:  # of the server, at pieces that are none (RFC 9112 §7.1)
        raise BadRequest from fault
    if request.content_length is None and len(sent) >= (request.max_content_length or math.inf):
        raise RequestEntityTooLarge


def _count() -> None:
    there = address()
    if there and request.blueprint not in UNCOUNTED:
        _knocks().take(there)


def address() -> str:
    """Whom the limits of an address count: an IPv4 address, or the network of 64 bits that an IPv6 address is one of 2^64 in."""
    return _counted_as(request.remote_addr or "")


@lru_cache(maxsize=1024)
def _counted_as(written: str) -> str:
    if with_port := _WITH_PORT.fullmatch(written):
        written = with_port[1].strip("[]")
    try:
        there: IPv4Address | IPv6Address = ip_address(written)
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
