"""From where a request comes, how many and how large ones may come from there, and what callers are told of limits.

Requests of any kind are counted by address and minute before anything is done for them: cheaply, in Redis for all processes
together, or else in this one. What costs money or bounds guessing is counted in the database, and decided further down.
"""

import logging
import math
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final, cast

from flask import Flask, current_app, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix

from config import Settings
from hammer.quotas import addresses, texts
from hammer.refusals import RetryLater, TooManyRequests

UNCOUNTED: Final = {"health", "receipts"}
"""The blueprints that those who watch over us and our gateways ask, again and again and from one address."""
REDIS_SECONDS: Final = 0.2
"""How long Redis is waited for. It is asked twice before it counts as away."""
REDIS_APART_SECONDS: Final = 5.0
"""How long it is left alone then."""

SLOW_SECONDS: Final = 0.05
MOST_SLOW: Final = 5
"""So many answers one after another that take longer than that, and it counts as away too: each request would wait as long."""
WINDOW_SECONDS: Final = 60

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
    app.extensions["hammer.web.request_limits"] = RequestLimiter(settings)
    if settings.requests_per_address_minute:
        app.before_request(_count)


Taking = Sequence[tuple[str, int]]
"""Keys, narrow networks before wide ones, and how many requests a minute each has."""


class RequestLimiter:
    """Counts requests of addresses: in Redis where there is one, and in this process while that is away or slow."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.here = _Here()
        self.shared = _Shared(settings.redis_url) if settings.redis_url else None
        self.away = False
        self.slow_in_a_row = 0
        self.slow_at = 0.0
        self.next_try_at = 0.0

    def take(self, address: str) -> None:
        """Takes one of the requests that this address, and each network around it, has a minute. Refuses with `TooManyRequests`."""
        shares = addresses.shares(address, self.settings.requests_per_address_minute)
        if self.shared is not None:  # what leaves this process names nobody
            shares = [(self.settings.keyed_hash("knocks", network), most) for network, most in shares]
        wait = self._take(shares)
        if wait:
            raise TooManyRequests(retry_after=wait)

    def redis_answers(self) -> bool | None:
        """Whether Redis does, and soon; None where there is none to ask."""
        if self.shared is None:
            return None
        self._take([])
        return not self.away

    def _take(self, limits: Taking) -> int:
        if self.shared is not None and time.monotonic() >= self.next_try_at:
            began = time.monotonic()
            if self.away:  # one asks whether it is back, and nobody waits with them
                self.next_try_at = began + REDIS_APART_SECONDS
            try:
                wait = self.shared.take(limits)
            except _Away as fault:
                self._leave_alone(f"away ({fault})")
            else:
                self._note(began)
                if self.slow_in_a_row >= MOST_SLOW:
                    self._leave_alone("slow")
                else:
                    if self.away:
                        log.info("Redis is back.")
                    self.away, self.next_try_at = False, 0.0
                return wait
        return self.here.take(limits)

    def _note(self, began: float) -> None:
        """Counts slow answers in a row. Of those that were waited for at the same time one counts: that may be a burst of ours."""
        ended = time.monotonic()
        if ended - began <= SLOW_SECONDS:
            self.slow_in_a_row = 0
        elif began >= self.slow_at:
            self.slow_in_a_row, self.slow_at = self.slow_in_a_row + 1, ended

    def _leave_alone(self, how: str) -> None:
        self.next_try_at = time.monotonic() + REDIS_APART_SECONDS
        if not self.away:
            log.warning("Redis is %s: each process counts requests by itself.", how)
        self.away = True


class _Here:
    """Counts in this process, by a clock that cannot be set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}
        self._sweep_at = 0.0

    def take(self, limits: Taking) -> int:
        """Takes a request of each; or how many seconds the first one that has none left must wait."""
        with self._lock:
            now = time.monotonic()
            if now >= self._sweep_at:
                self._windows = {key: window for key, window in self._windows.items() if window[1] > now}
                self._sweep_at = now + WINDOW_SECONDS
            for key, most in limits:
                taken, ends_at = self._windows.get(key, (0, 0.0))
                if ends_at <= now:
                    taken, ends_at = 0, now + WINDOW_SECONDS
                if taken >= most:  # what a narrow network may not is not counted on the wide ones, which others share
                    return math.ceil(ends_at - now)
                self._windows[key] = taken + 1, ends_at
        return 0


class _Away(Exception):
    """Redis did not answer; in words, what happened instead."""


class _Shared:
    """Counts in Redis, by its own clock and in one round trip."""

    def __init__(self, url: str) -> None:
        from redis import Redis, RedisError  # noqa: PLC0415  # 60 ms that only those with a Redis pay
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        again = Retry(NoBackoff(), 1)  # a connection that broke while it lay idle says nothing about Redis
        server = Redis.from_url(url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS, retry=again)
        self._taken = server.register_script(_TAKE)
        self._fault = RedisError

    def take(self, limits: Taking) -> int:
        """As `_Here.take` does."""
        keys, most = [f"hammer/{key}" for key, _ in limits], [most for _, most in limits]
        try:
            return int(self._taken(keys=keys, args=[WINDOW_SECONDS, *most]))
        except self._fault as fault:
            raise _Away(type(fault).__name__) from fault


_TAKE: Final = """
for place, key in ipairs(KEYS) do
    local taken = tonumber(redis.call('GET', key) or '0')
    if taken >= tonumber(ARGV[place + 1]) then return math.max(redis.call('TTL', key), 1) end
    if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, ARGV[1]) end
end
return 0
"""


def redis_answers() -> bool | None:
    """Whether Redis does; None where there is none."""
    return _limiter().redis_answers()


def _limiter() -> RequestLimiter:
    return cast(RequestLimiter, current_app.extensions["hammer.web.request_limits"])


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
        _limiter().take(there)


def address() -> str:
    """Whom the limits of an address count: an IPv4 address, or the network of 64 bits that an IPv6 address is one of 2^64 in."""
    return addresses.counted(request.remote_addr or "")


def headers(settings: Settings, quotas: Iterable[texts.Quota]) -> dict[str, str]:
    """What is left of limits, as draft-ietf-httpapi-ratelimit-headers-10 writes it; nothing about limits of the whole system."""
    quotas = list(quotas)
    policies = texts.policies(settings)
    if not quotas:
        return {}
    return {
        "RateLimit-Policy": ", ".join(
            f'"{q.name}";q={policies[q.name][0]};w={policies[q.name][1].total_seconds():.0f}' for q in quotas
        ),
        "RateLimit": ", ".join(f'"{q.name}";r={q.left};t={q.resets_in}' for q in quotas),
    }


def spent(settings: Settings, refusal: RetryLater) -> dict[str, str]:
    """The same for a refusal: the limit that was reached, if callers may know it."""
    return headers(settings, [texts.Quota(refusal.limit, 0, refusal.retry_after)] if refusal.limit else [])
