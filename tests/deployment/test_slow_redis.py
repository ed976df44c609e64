"""A Redis with late answers: requests do not wait for it for ever. The tests assert how often it was asked, never times."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from redis import Redis as Client

from config import Settings
from hammer.refusals import TooManyRequests
from hammer.web import request_limits
from hammer.web.request_limits import RequestLimiter
from tests.deployment.peers import Redis, wait_until
from tests.serving import at_once
from tests.web.test_request_limits import Watch

pytestmark = pytest.mark.needs("redis-server")


class Line:
    """A proxy to Redis that delays answers by `delay` seconds and counts the scripts that are run."""

    def __init__(self, there: tuple[str, int]) -> None:
        self.there = there
        self.delay = 0.0
        self.asked = 0
        self.open: list[socket.socket] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.listening.getsockname()[1]}/3"

    def close(self) -> None:
        self.listening.close()
        for end in self.open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                far = socket.create_connection(self.there)
                self.open += [near, far]
                for source, sink, answers in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._forward, args=(source, sink, answers), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if answers:
                    time.sleep(self.delay)
                else:
                    self.asked += piece.count(b"EVALSHA")
                sink.sendall(piece)


@pytest.fixture
def line(redis: Redis) -> Iterator[Line]:
    with closing(Line((redis.host, redis.port))) as line:
        yield line


@pytest.fixture
def limiter(settings: Settings, line: Line, monkeypatch: pytest.MonkeyPatch) -> RequestLimiter:
    # On a slow machine too, the pause lasts for the whole test, and a late answer is never a timeout.
    monkeypatch.setattr(request_limits, "REDIS_PAUSE_SECONDS", 1000.0)
    monkeypatch.setattr(request_limits, "REDIS_SECONDS", 20.0)
    return RequestLimiter(replace(settings, redis_url=line.url, requests_per_address_minute=1000))


def take(limiter: RequestLimiter, times: int, place: str = "192.0.2.1") -> None:
    for _ in range(times):
        limiter.take(place)


def test_a_redis_that_is_slow_several_times_in_a_row_is_not_asked_for_a_while(
    limiter: RequestLimiter, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    take(limiter, 3)
    line.delay, limiter.slow_in_a_row, before = 0.15, 0, line.asked

    with caplog.at_level(logging.INFO, logger="hammer"):
        take(limiter, 50)

    assert line.asked - before == request_limits.MOST_SLOW
    assert limiter.away
    assert [record.getMessage() for record in caplog.records] == ["Redis is slow: each process counts requests by itself."]


def test_while_redis_is_not_asked_requests_are_counted_in_the_process(
    limiter: RequestLimiter, line: Line, settings: Settings
) -> None:
    line.delay = 0.15
    tight = RequestLimiter(replace(settings, redis_url=line.url, requests_per_address_minute=20))
    take(tight, request_limits.MOST_SLOW, "192.0.2.2")
    assert tight.away
    take(tight, 20)
    with pytest.raises(TooManyRequests):
        tight.take("192.0.2.1")


def test_redis_is_asked_again_once_in_a_while_and_used_when_it_is_fast(
    limiter: RequestLimiter, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.delay = 0.15
    take(limiter, 20)
    asked = line.asked

    for _ in range(3):  # its pause ends three times, and it is still slow
        limiter.next_try_at = 0.0
        take(limiter, 10)
    assert line.asked - asked == 3

    line.delay = 0.0
    with caplog.at_level(logging.INFO, logger="hammer"):
        wait_until(lambda: _asks_again(limiter), "Redis to be used again")
    asked = line.asked
    take(limiter, 1)
    assert line.asked - asked == 1
    assert "Redis is back." in caplog.text


def _asks_again(limiter: RequestLimiter) -> bool:
    limiter.next_try_at = 0.0
    limiter.take("192.0.2.3")
    return not limiter.away


def test_single_slow_answers_between_fast_ones_are_tolerated(limiter: RequestLimiter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MOST_SLOW", 2)
    for slow in (False, True, False, True, False, True):
        monkeypatch.setattr(request_limits, "SLOW_SECONDS", -1.0 if slow else 1000.0)  # however fast the machine is
        take(limiter, 1)
        assert not limiter.away
    take(limiter, 1)
    assert limiter.away


def test_slow_answers_to_a_burst_count_once(limiter: RequestLimiter, line: Line) -> None:
    """A machine is slow itself while it is busy with a burst of requests."""
    line.delay = 1.0  # long enough that all of them ask before the first answer
    at_once([lambda: limiter.take("192.0.2.1")] * (request_limits.MOST_SLOW * 2))
    assert line.asked >= request_limits.MOST_SLOW * 2
    assert not limiter.away


def test_all_networks_of_an_address_are_counted_in_one_round_trip(limiter: RequestLimiter, line: Line, settings: Settings) -> None:
    tight = RequestLimiter(replace(settings, redis_url=line.url, requests_per_address_minute=3))
    tight.redis_answers()  # loads the script
    before, waits = line.asked, []
    for n in range(20):
        tight.slow_in_a_row = 0
        try:
            tight.take(f"2001:db8:7:{n << 8:x}::/64")
        except TooManyRequests as no:
            waits.append(no.retry_after)
    assert line.asked - before == 20
    assert len(waits) == 8
    assert all(1 <= wait <= 60 for wait in waits)


# A Redis that is away, and what is sent to it


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def made(listening: socket.socket) -> int:
    """How many connections were made there since the last call."""
    listening.setblocking(False)
    connections = []
    with suppress(BlockingIOError):
        while True:
            connections.append(listening.accept()[0])
    for one in connections:
        one.close()
    return len(connections)


def test_a_redis_that_never_answers_is_asked_twice_and_then_not_for_a_while(
    settings: Settings, silent: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()
    monkeypatch.setattr(request_limits, "time", watch)
    url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
    limiter = RequestLimiter(replace(settings, redis_url=url, requests_per_address_minute=10))
    seen = []
    with caplog.at_level(logging.INFO, logger="hammer"):
        for moment in (0.0, 0.0, 4.875, 5.0, 5.0, 9.875, 10.0):
            watch.now = 1000.0 + moment
            take(limiter, 1)
            seen.append(made(silent))
    assert seen == [2, 0, 0, 2, 0, 0, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "Redis is away (TimeoutError): each process counts requests by itself."
    ]
    take(limiter, 3)
    with pytest.raises(TooManyRequests):
        limiter.take("192.0.2.1")
    assert limiter.redis_answers() is False


def test_the_timeout_for_connecting_to_redis_is_the_timeout_for_an_answer(settings: Settings) -> None:
    shared = RequestLimiter(replace(settings, redis_url="redis://127.0.0.1:1/0")).redis
    assert shared is not None
    given = shared._script.registered_client.get_connection_kwargs()
    assert given["socket_connect_timeout"] == given["socket_timeout"] == request_limits.REDIS_SECONDS


def test_while_one_request_asks_whether_redis_is_back_others_are_counted_in_the_process(
    limiter: RequestLimiter, line: Line
) -> None:
    line.delay = 0.15
    take(limiter, request_limits.MOST_SLOW)
    assert limiter.away
    line.delay, limiter.next_try_at, before = 1.0, 0.0, line.asked  # its pause is over
    at_once([lambda: limiter.take("192.0.2.1")] * 10)
    assert line.asked - before == 1


def test_processes_with_one_redis_count_together_and_send_it_no_address(settings: Settings, redis: Redis) -> None:
    shared = replace(settings, redis_url=redis.url, requests_per_address_minute=3)
    one, other = RequestLimiter(shared), RequestLimiter(shared)
    server = Client.from_url(redis.url, decode_responses=True)
    server.flushall()
    for limiter in (one, other, one):
        limiter.take("198.51.100.7")
    with pytest.raises(TooManyRequests) as refused:
        other.take("198.51.100.7")
    assert 1 <= refused.value.retry_after <= request_limits.WINDOW_SECONDS
    [key] = server.keys()
    assert str(key).startswith("hammer/")
    assert "198.51" not in str(key)
    assert server.get(key) == "3"
    assert 0 < server.ttl(key) <= request_limits.WINDOW_SECONDS
    one.take("198.51.100.8")
    assert len(server.keys()) == 2
    server.delete(key)  # as it expires after its minute
    other.take("198.51.100.7")


def test_redis_answers_is_none_without_redis_and_counts_no_request(settings: Settings, redis: Redis) -> None:
    assert RequestLimiter(settings).redis_answers() is None
    limiter = RequestLimiter(replace(settings, redis_url=redis.url, requests_per_address_minute=1))
    assert [limiter.redis_answers() for _ in range(3)] == [True] * 3
    limiter.take("198.51.100.9")
