"""`post`: one request to a server of others, within a time limit, of which nothing but the status is kept; `fault_of`: whether a
server could be posted to; `get`: what the operator's own server answers.

Redirects are not followed, proxies of the environment are not used, and no more than a part of the answer is read.
"""

import io
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hammer import clock
from hammer.outgoing.guard import Guard, Refused, Target, resolve

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_OF_BODY: Final = 2048
"""Bytes of the body of an answer that are read, for servers that complain when a client leaves too early."""
MOST_RECEIVED: Final = 32 * 1024
"""Bytes that are received in all, with the headers."""


class Fault(StrEnum):
    """Why there is no status. A word and not the message of an exception, which may contain the URL and with it a secret."""

    REFUSED = "refused"
    """The guard refuses the URL."""
    RESOLVE = "resolve"
    """The host has no address."""
    CONNECT = "connect"
    """The server accepts no connection, or closed it without an answer."""
    TLS = "tls"
    """The server has no certificate that we trust for its name, or does not speak TLS."""
    ANSWER = "answer"
    """The answer is not HTTP, or its headers are too long."""
    TIMEOUT = "timeout"
    """The answer was not complete in time."""


_FAULTS: Final[Mapping[type[Exception], Fault]] = {
    Refused: Fault.REFUSED,
    TimeoutError: Fault.TIMEOUT,
    socket.gaierror: Fault.RESOLVE,
    ssl.SSLError: Fault.TLS,
    ConnectionError: Fault.CONNECT,  # also one in which the server said nothing, which is an HTTPException too
    HTTPException: Fault.ANSWER,
    ValueError: Fault.ANSWER,  # from Python's reader, for a chunk of negative length
    OSError: Fault.CONNECT,
}
"""The first one that fits counts."""


@dataclass(frozen=True)
class Outcome:
    """What became of a post: the status of the answer, or a fault."""

    status: int | None = None
    fault: Fault | None = None
    retry_after: timedelta | None = None
    """How long the server asks us to wait."""

    @property
    def accepted(self) -> bool:
        return self.status is not None and self.status // 100 == 2

    def __str__(self) -> str:
        return str(self.fault or self.status)


def post(
    guard: Guard, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, trusted: ssl.SSLContext | None = None
) -> Outcome:
    """Posts `body`. Takes `seconds` at most, and raises nothing.

    :param headers: `Content-Type`, and what else the server needs.
    :param trusted: the certificates that are trusted; by default those of the system.
    """
    until = time.monotonic() + seconds
    try:
        with _answer(guard.check(url, seconds), until, trusted, "POST", body, headers) as answer:
            answer.read(MOST_OF_BODY)
            return Outcome(answer.status, retry_after=_retry_after(answer.getheader("Retry-After", "")))
    except tuple(_FAULTS) as error:
        return Outcome(fault=_fault(error))


def get(
    url: str, *, seconds: float, trusted: ssl.SSLContext | None = None, resolve: Callable[[str], Sequence[str]] = resolve
) -> tuple[Outcome, bytes]:
    """The answer of the operator's own server, and its body. Takes `seconds` at most, and raises nothing.

    The host may have any address, also an inner one, so this is not for a URL that others gave.
    """
    until = time.monotonic() + seconds
    host = (urlsplit(url).hostname or "").rstrip(".")
    own = Guard(own_host="", inner_hosts=[host], resolve=resolve)
    try:
        with _answer(own.check(url, seconds), until, trusted, "GET") as answer:
            return Outcome(status=answer.status), answer.read()
    except tuple(_FAULTS) as error:
        return Outcome(fault=_fault(error)), b""


def fault_of(guard: Guard, url: str, *, seconds: float) -> Fault | None:
    """Why the server of `url` cannot be posted to; None if it accepts a connection. No request is sent. Takes `seconds` at most."""
    until = time.monotonic() + seconds
    try:
        _connected(guard.check(url, seconds), until, None).close()
    except tuple(_FAULTS) as error:
        return _fault(error)
    return None


def _retry_after(value: str) -> timedelta | None:
    """The wait that a header `Retry-After` states, in seconds or as a date (RFC 9110 §10.2.3); None for what is neither."""
    if re.fullmatch(r"[0-9]+", value, re.ASCII):
        return timedelta(seconds=min(int(value[:10]), 10**9))
    with suppress(ValueError, TypeError, OverflowError):
        until = parsedate_to_datetime(value)
        return until.replace(tzinfo=until.tzinfo or UTC) - clock.now()
    return None


def _fault(error: Exception) -> Fault:
    return next(fault for kind, fault in _FAULTS.items() if isinstance(error, kind))


@cache
def _of_system() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextmanager
def _answer(
    target: Target,
    until: float,
    trusted: ssl.SSLContext | None,
    method: str,
    body: bytes | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[HTTPResponse]:
    """The answer to one request, of which the body is still to be read."""
    with _connected(target, until, trusted) as connected:
        connection = HTTPConnection(target.host, target.port)
        connection.sock = _Timed(connected, until)
        ours = {"Host": target.authority, **headers, "User-Agent": "Hammer", "Connection": "close"}
        connection.request(method, target.path, body, ours)
        yield connection.getresponse()


def _connected(target: Target, until: float, trusted: ssl.SSLContext | None) -> socket.socket:
    """A connection to the server, to one of the addresses that were checked. Each has an equal share of the time that is left."""
    for untried in range(len(target.addresses), 0, -1):
        try:
            connected = socket.create_connection((str(target.addresses[-untried]), target.port), _left(until) / untried)
            break
        except OSError:
            if untried == 1:
                raise
    if not target.secure:
        return connected
    try:
        connected.settimeout(_left(until))  # for the whole handshake
        return (trusted or _of_system()).wrap_socket(connected, server_hostname=target.host)
    except OSError:
        connected.close()
        raise


class _Timed:
    """A socket for `HTTPConnection` that ends at a moment, however the bytes come.

    The time limit of a socket counts for each step: a server that sends a byte now and then would never reach it.
    """

    def __init__(self, connected: socket.socket, until: float) -> None:
        self._socket = connected
        self._until = until

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left(self._until))
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Received(self._socket, self._until))

    def close(self) -> None:
        """Does nothing: `HTTPConnection` calls it before the answer is read."""


class _Received(io.RawIOBase):
    """What comes from a socket until a moment. Raises `HTTPException` after `MOST_RECEIVED` bytes."""

    def __init__(self, connected: socket.socket, until: float) -> None:
        self._socket = connected
        self._until = until
        self._left = MOST_RECEIVED

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if not self._left:
            raise HTTPException
        self._socket.settimeout(_left(self._until))
        received = self._socket.recv_into(memoryview(buffer)[: self._left])
        self._left -= received
        return received


def _left(until: float) -> float:
    """The seconds until a moment. Raises `TimeoutError` when it is over."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
