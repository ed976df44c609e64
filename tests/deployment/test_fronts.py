"""What has to stand before gunicorn: proxies that take requests in whole, and say themselves which is which."""

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path

import pytest

from tests import serving
from tests.deployment import fronts, peers
from tests.deployment.peers import wait_until

pytestmark = [pytest.mark.needs("nginx", "haproxy", "openssl")]

THREADS = 2
"""Fewer than a worker has otherwise, so that a few senders are more than there are."""
PATIENCE_SECONDS = 8
"""Less than slow senders are given."""
FORM = b"POST /api/v1/auth/signup/ HTTP/1.1\r\nHost: login.example.com\r\nContent-Type: application/json\r\n"
SLOW = {
    "a short one": FORM + b'Content-Length: 20\r\n\r\n{"',
    "all that may be sent, but for the end": FORM + b"Content-Length: 16384\r\n\r\n" + b" " * 16_000,
    "in pieces": FORM + b"Transfer-Encoding: chunked\r\n\r\n3e80\r\n" + b" " * 16_000 + b"\r\n",
    "after many headers": FORM + b"X-Much: " + b"x" * 7000 + b"\r\nContent-Length: 16384\r\n\r\n" + b" " * 16_000,
}
"""What slow senders send before they wait."""
MANY_HEADERS = b"".join(b"X-Much-%d: " % n + b"x" * 7000 + b"\r\n" for n in range(3))
TOO_LARGE = {
    "a body": FORM + b"Content-Length: 60000\r\n\r\n" + b" " * 40_000,
    "a body in pieces": FORM + b"Transfer-Encoding: chunked\r\n\r\nea60\r\n" + b" " * 40_000,
    "headers": FORM + MANY_HEADERS + b"Content-Length: 16384\r\n\r\n" + b" " * 14_000,
}
"""What no proxy has to have room for."""


def one_worker(port: int) -> list[str]:
    few = ["--workers", "1", "--threads", str(THREADS)]
    return ["gunicorn", "--config", "gunicorn.conf.py", *few, "--bind", f"127.0.0.1:{port}"]


@pytest.fixture(scope="module")
def upstream(serve: Callable[..., serving.Server]) -> int:
    server = serve(one_worker, HAMMER_PROXY_HOPS="1", HAMMER_REQUESTS_PER_ADDRESS_MINUTE="0")
    return server.port


@pytest.fixture(scope="module", params=[fronts.nginx, fronts.haproxy], ids=["nginx", "haproxy"])
def front(request: pytest.FixtureRequest, upstream: int) -> Iterator[int]:
    make: Callable[[Path, int], AbstractContextManager[int]] = request.param
    with peers.home() as home, make(home, upstream) as port:
        wait_until(lambda: get(port, "/healthz").status == 200, "the first answer")
        yield port


def connect(port: int) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    return fronts.trusting().wrap_socket(plain)


def get(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=fronts.trusting(), timeout=PATIENCE_SECONDS)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("GET", path, headers={"Host": "login.example.com"} | named)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    return answer


def is_waited_for(sender: ssl.SSLSocket) -> bool:
    """Whether it was neither answered nor hung up on."""
    sender.setblocking(False)
    try:
        sender.recv(1)
    except ssl.SSLWantReadError:
        return True
    return False


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW.keys())
def test_slow_senders_occupy_no_thread(front: int, sent: bytes) -> None:
    with ExitStack() as stack:
        senders = [stack.enter_context(connect(front)) for _ in range(THREADS + 4)]
        for sender in senders:
            sender.sendall(sent)

        assert get(front, "/healthz").status == 200

        assert all(map(is_waited_for, senders))


@pytest.mark.parametrize("sent", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_what_is_too_large_to_be_waited_for_occupies_no_thread_either(front: int, sent: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(THREADS + 4):
            with suppress(OSError):  # refused before all of it was sent
                stack.enter_context(connect(front)).sendall(sent)

        assert get(front, "/healthz").status == 200


def test_a_file_of_people_reaches_the_application_and_a_larger_one_does_not(front: int) -> None:
    with ExitStack() as stack:
        statuses = []
        for size in (360_000, 600_000):
            connection = stack.enter_context(closing(http.client.HTTPSConnection("127.0.0.1", front, context=fronts.trusting())))
            try:
                connection.request("POST", "/admin/people/import/", b"1" * size, {"Host": "login.example.com"})
                answer = connection.getresponse()
                statuses.append((answer.status, b"256" in answer.read()))
            except OSError:  # refused before all of it was sent
                statuses.append((413, False))
    assert statuses == [(413, True), (413, False)]


@pytest.mark.requirement("LOG-02")
@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_nobody_names_their_own_request(front: int, path: str) -> None:
    """What a proxy hands on would stand in the log: a number, if somebody sent one."""
    theirs = "79290000001"

    told = get(front, path, X_Request_ID=theirs).headers.get_all("X-Request-ID")

    assert told
    assert theirs not in " ".join(told)
