"""The address of a caller, the limits of requests per address and of their size, and the headers that state limits.

Every request is counted by address and minute before anything else is done for it: in Redis for all processes together, or in this
process where there is no Redis. Limits that cost money or bound guessing are counted in the database, by the rules.
"""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, cast

from flask import Flask, current_app, g, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix

from config import Settings
from hammer.quotas import addresses, texts
from hammer.refusals import RetryLater, TooManyRequests
from hammer.web.settings import settings

UNCOUNTED: Final = {"health", "receipts"}
"""Blueprints whose requests are not counted: monitoring and gateways call them often, and from one address."""
WINDOW_SECONDS: Final = 60
MOST_WINDOWS: Final = 100_000
"""How many addresses and networks one process counts at a time (some 25 MB). Beyond that it forgets the oldest."""

REDIS_SECONDS: Final = 0.2
"""Timeout of Redis. It is asked twice before it counts as away."""
REDIS_PAUSE_SECONDS: Final = 5.0
"""How long Redis is not asked after it was away or slow."""
SLOW_SECONDS: Final = 0.05
MOST_SLOW: Final = 5
"""After so many answers in a row that take longer than `SLOW_SECONDS`, Redis is not asked for a while: each request would wait."""

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Counts requests by the address of the caller, which `HAMMER_PROXY_HOPS` trusted proxies state in `X-Forwarded-For`.

    Warns of settings that allow more guessing than `HAMMER_MAX_EXPECTED_TAKEOVERS`; production does not start with them.
    """
    ours = settings(app)
    expected = ours.expected_takeovers_per_year
    if expected > ours.max_expected_takeovers:
        log.warning("Guessing may take over %.2f accounts a year, and %g are allowed.", expected, ours.max_expected_takeovers)
    hops = ours.proxy_hops
    if hops:
        # x_proto=1: only the nearest proxy knows whether the connection was https, and the others need not add to its header.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=1, x_host=0)  # type: ignore[method-assign]
    app.before_request(_read_whole)
    app.extensions["hammer.web.request_limits"] = RequestLimiter(ours)
    if ours.requests_per_address_minute:
        app.before_request(_count)


Limits = Sequence[tuple[str, int]]
"""Keys, those of narrow networks before those of wide ones, each with its number of requests a minute."""


class RequestLimiter:
    """Counts requests by address: in Redis if there is one, and in this process while Redis is away or slow."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.local = _LocalWindows()
        self.redis = _RedisWindows(settings.redis_url) if settings.redis_url else None
        self.away = False
        self.slow_in_a_row = 0
        self.slow_at = 0.0
        self.next_try_at = 0.0

    def take(self, address: str) -> None:
        """Takes one request from the limits of this address and of each network around it. Refuses with `TooManyRequests`."""
        limits = addresses.shares(address, self.settings.requests_per_address_minute)
        if self.redis is not None:  # addresses leave this process only as keyed hashes
            limits = [(key, most) for network, most in limits for key in self.settings.keyed_hashes("requests", network)]
        wait = self._take(limits)
        if wait:
            raise TooManyRequests(retry_after=wait)

    def redis_answers(self) -> bool | None:
        """Whether Redis answers, and quickly. None if there is no Redis."""
        if self.redis is None:
            return None
        self._take([])
        return not self.away

    def _take(self, limits: Limits) -> int:
        if self.redis is None or time.monotonic() < self.next_try_at:
            return self.local.take(limits)
        began = time.monotonic()
        if self.away:  # this request tests whether Redis is back; others count here and do not wait
            self.next_try_at = began + REDIS_PAUSE_SECONDS
        try:
            wait = self.redis.take(limits)
        except _Away as error:
            self._pause(f"away ({error})")
            return self.local.take(limits)
        self._note_duration(began)
        if self.slow_in_a_row >= MOST_SLOW:
            self._pause("slow")
        else:
            if self.away:
                log.info("Redis is back.")
            self.away, self.next_try_at = False, 0.0
        return wait

    def _note_duration(self, began: float) -> None:
        """Counts slow answers in a row. Of answers that overlap in time only one counts: they can be a burst of our own."""
        ended = time.monotonic()
        if ended - began <= SLOW_SECONDS:
            self.slow_in_a_row = 0
        elif began >= self.slow_at:
            self.slow_in_a_row, self.slow_at = self.slow_in_a_row + 1, ended

    def _pause(self, reason: str) -> None:
        self.next_try_at = time.monotonic() + REDIS_PAUSE_SECONDS
        if not self.away:
            log.warning("Redis is %s: each process counts requests by itself.", reason)
        self.away = True


class _LocalWindows:
    """Counts in this process, by a clock that cannot be set back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Key -> requests counted, and when the window ends."""
        self._sweep_at = 0.0

    def take(self, limits: Limits) -> int:
        """Takes a request from each limit. Returns 0, or the seconds until the first limit that is used up allows another one."""
        with self._lock:
            now = time.monotonic()
            if now >= self._sweep_at:
                self._windows = OrderedDict((key, window) for key, window in self._windows.items() if window[1] > now)
                self._sweep_at = now + WINDOW_SECONDS
            for key, most in limits:
                taken, ends_at = self._windows.get(key, (0, 0.0))
                if ends_at <= now:
                    taken, ends_at = 0, now + WINDOW_SECONDS
                if taken >= most:  # a request that a narrow network is refused does not count for the wide ones, which others share
                    return math.ceil(ends_at - now)
                self._windows[key] = taken + 1, ends_at
                if len(self._windows) > MOST_WINDOWS:
                    self._windows.popitem(last=False)
        return 0


class _Away(Exception):
    """Redis did not answer. The message is the kind of error."""


class _RedisWindows:
    """Counts in Redis, by its clock and in one round trip."""

    def __init__(self, url: str) -> None:
        from redis import Redis, RedisError  # noqa: PLC0415  # takes 60 ms, which only deployments with Redis should pay
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        retry = Retry(NoBackoff(), 1)  # an idle connection that broke does not mean that Redis is away
        server = Redis.from_url(url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS, retry=retry)
        self._script = server.register_script(_TAKE)
        self._error = RedisError

    def take(self, limits: Limits) -> int:
        """As `_LocalWindows.take`. Raises `_Away`."""
        keys, most = [f"hammer/{key}" for key, _ in limits], [most for _, most in limits]
        try:
            return int(self._script(keys=keys, args=[WINDOW_SECONDS, *most]))
        except self._error as error:
            raise _Away(type(error).__name__) from error


_TAKE: Final = """
for place, key in ipairs(KEYS) do
    local taken = tonumber(redis.call('GET', key) or '0')
    if taken >= tonumber(ARGV[place + 1]) then return math.max(redis.call('TTL', key), 1) end
    if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, ARGV[1]) end
end
return 0
"""


def redis_answers() -> bool | None:
    """Whether Redis answers, and quickly. None if there is no Redis."""
    return _limiter().redis_answers()


def _limiter() -> RequestLimiter:
    return cast(RequestLimiter, current_app.extensions["hammer.web.request_limits"])


def _read_whole() -> None:
    """Reads the body before any view does: a body of unknown length can break off, or be longer than we accept.

    A view can have a function `longest_body`, which says how many bytes this caller may send; None for no more than usual.
    """
    if request.url_rule is None or request.method in ("GET", "HEAD"):
        return
    longest = getattr(current_app.view_functions[request.url_rule.endpoint], "longest_body", None)
    if longest is not None:
        request.max_content_length = longest()
    try:
        body = request.get_data()
    except OSError as error:  # raised by the server for malformed chunks (RFC 9112 §7.1)
        raise BadRequest from error
    if request.content_length is None and len(body) >= (request.max_content_length or math.inf):
        raise RequestEntityTooLarge


def _count() -> None:
    caller = address()
    if caller and request.blueprint not in UNCOUNTED:
        _limiter().take(caller)


def address() -> str:
    """What the limits of an address count: the IPv4 address, or the network of 64 bits of the IPv6 address."""
    return addresses.counted(request.remote_addr or "")


def headers(settings: Settings, quotas: Iterable[texts.Quota]) -> dict[str, str]:
    """Headers that state what is left of these limits (draft-ietf-httpapi-ratelimit-headers-10).

    Limits of the whole system are not stated.
    """
    quotas = list(quotas)
    policies = texts.policies(settings, g.get("client"))
    if not quotas:
        return {}
    return {
        "RateLimit-Policy": ", ".join(
            f'"{q.name}";q={policies[q.name][0]};w={policies[q.name][1].total_seconds():.0f}' for q in quotas
        ),
        "RateLimit": ", ".join(f'"{q.name}";r={q.left};t={q.resets_in}' for q in quotas),
    }


def spent(settings: Settings, refusal: RetryLater) -> dict[str, str]:
    """The same headers for a refusal: the limit that was reached, if callers may know it."""
    return headers(settings, [texts.Quota(refusal.limit, 0, refusal.retry_after)] if refusal.limit else [])
