"""Whatever a server writes into `Retry-After`, the post has an outcome, and a wait of use or none."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hammer import clock
from hammer.outgoing.guard import Guard
from hammer.outgoing.post import Outcome, post
from tests.outgoing.servers import Server, serving

DATES = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
RUBBISH = st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n"))
LIKE_A_DATE = st.from_regex(
    rb"[A-Z][a-z]{2}, [0-9]{1,5} [A-Z][a-z]{2} -?[0-9]{1,12} [0-9]{1,3}:[0-9]{2}:[0-9]{2} [+-]?[0-9]{1,8}", fullmatch=True
)


class Hinting:
    """A server that answers 503 with a header `Retry-After`."""

    def __init__(self) -> None:
        self.value = b""
        self.port = 0

    def answer(self, connection: socket.socket, _: Server) -> None:
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: " + self.value + b"\r\n\r\n")

    def outcome(self, value: bytes) -> Outcome:
        self.value = value
        return post(Guard("own.test", allows_loopback=True), f"http://127.0.0.1:{self.port}/", b"", {}, seconds=30)


@pytest.fixture(scope="module")
def hinting() -> Iterator[Hinting]:
    one = Hinting()
    with serving(one.answer) as server:
        one.port = server.port
        yield one


@given(RUBBISH | LIKE_A_DATE | st.integers().map(lambda number: b"%d" % number))
@example(b"9" * 5000)
@example(b"-1")
@example(b"1e9")
@example("٣٠".encode())
@example(b"Fri, 31 Dec 9999 23:59:59 -2359")
@example(b"Mon, 01 Jan 0001 00:00:00 +2359")
@example(b"Wed, 21 Oct 2015 07:28:00 +99999999")
def test_no_value_is_a_fault(hinting: Hinting, value: bytes) -> None:
    outcome = hinting.outcome(value)
    assert (outcome.status, outcome.fault) == (503, None)


@given(st.integers(0, 10**9 - 1))
def test_seconds_are_read(hinting: Hinting, seconds: int) -> None:
    assert hinting.outcome(b"%d" % seconds).retry_after == timedelta(seconds=seconds)


@given(DATES)
def test_dates_are_read_with_those_that_are_over(hinting: Hinting, date: datetime) -> None:
    date, before = date.replace(microsecond=0), clock.now()
    wait = hinting.outcome(format_datetime(date, usegmt=True).encode()).retry_after
    assert wait is not None
    assert date - clock.now() <= wait <= date - before
