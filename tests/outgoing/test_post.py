"""One post: what arrives, what the answer may do, and that it ends in time."""

import socket
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from hammer.outgoing.guard import Guard
from hammer.outgoing.post import Fault, Outcome, fault_of, get, post
from tests.outgoing.servers import OK, Answer, Server, certificate, dripping, fixed, serving

PUBLIC = "127.0.0.2"
"""The one address that counts as public in these tests."""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LONG, SHORT = 30.0, 0.5


def guard_with(resolve: Callable[[str], list[str]]) -> Guard:
    return Guard("own.test", resolve=resolve, is_public=lambda address: str(address) == PUBLIC)


@pytest.fixture
def guard() -> Guard:
    """Allows loopback, as for those who develop."""
    return Guard("own.test", allows_loopback=True)


def outcome(guard: Guard, server: Server, *, seconds: float = LONG) -> Outcome:
    return post(guard, f"http://127.0.0.1:{server.port}/", b"a=b", FORM, seconds=seconds)


def test_the_body_arrives_and_the_status_comes_back(guard: Guard) -> None:
    with serving(fixed(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        done = post(guard, f"http://localhost:{server.port}/hook?app=1", b"token=abc", FORM, seconds=LONG)
    assert (done, done.accepted, str(done)) == (Outcome(status=204), True, "204")
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    first, *lines = head.splitlines()
    assert (first, body) == ("POST /hook?app=1 HTTP/1.1", "token=abc")
    assert dict(line.split(": ") for line in lines) == {
        "Host": f"localhost:{server.port}",
        "Accept-Encoding": "identity",
        "Content-Length": "9",
        **FORM,
        "User-Agent": "Hammer",
        "Connection": "close",
    }


@pytest.mark.parametrize("status", [199, 301, 400, 404, 500, 503])
def test_only_a_status_from_200_to_299_is_accepted(guard: Guard, status: int) -> None:
    with serving(fixed(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())) as server:
        assert outcome(guard, server) == Outcome(status=status)
    assert not Outcome(status=status).accepted


# The name and its addresses


def test_the_address_that_was_checked_is_the_one_that_is_reached() -> None:
    """A resolver that gives a public address first and an inner one from then on (DNS rebinding)."""
    answers = iter([PUBLIC])
    guard = guard_with(lambda host: ["127.0.0.9"] if host == "own.test" else [next(answers, "127.0.0.1")])
    with serving(fixed(OK)) as inner, serving(fixed(OK), PUBLIC, inner.port, reads=False) as public:
        # By its name, this host would be the inner server too.
        done = post(guard, f"https://localhost:{inner.port}/", b"", FORM, seconds=LONG)
    assert (inner.connections, public.connections) == (0, 1)
    assert done == Outcome(fault=Fault.TLS)


def test_the_certificate_is_that_of_the_name(tmp_path: Path) -> None:
    of_server, trusted = certificate(tmp_path, "hook.test")
    guard = guard_with(lambda host: ["127.0.0.9"] if host == "own.test" else [PUBLIC])
    with serving(fixed(OK), PUBLIC, tls=of_server) as server:
        url = f"https://hook.test:{server.port}/"
        assert post(guard, url, b"a=b", FORM, seconds=LONG, trusted=trusted) == Outcome(status=200)
        assert server.names == ["hook.test"]
        assert b"\r\nHost: hook.test:" in server.requests[0]
        wrong = post(guard, f"https://hook2.test:{server.port}/", b"a=b", FORM, seconds=LONG, trusted=trusted)
        unknown = post(guard, url, b"a=b", FORM, seconds=LONG)
    assert wrong == unknown == Outcome(fault=Fault.TLS)
    assert len(server.requests) == 1


def test_the_next_address_is_tried_where_the_first_accepts_no_connection() -> None:
    guard = Guard("own.test", allows_loopback=True, resolve=lambda _: ["127.0.0.3", "127.0.0.1"])
    with serving(fixed(OK)) as server:
        assert post(guard, f"http://hook.test:{server.port}/", b"", FORM, seconds=LONG) == Outcome(status=200)


def test_a_host_that_accepts_no_connection_or_has_no_address_is_named_in_one_word(guard: Guard) -> None:
    with serving(fixed(OK)) as server:
        pass
    assert outcome(guard, server) == Outcome(fault=Fault.CONNECT)
    nowhere = guard_with(lambda _: [])
    assert post(nowhere, "https://hook.test/s3cr3t", b"", FORM, seconds=LONG) == Outcome(fault=Fault.RESOLVE)
    assert str(post(nowhere, "https://u:s3cr3t@hook.test/", b"", FORM, seconds=LONG)) == "refused"


# The answer


def test_a_redirect_is_not_followed(guard: Guard) -> None:
    with serving(fixed(OK)) as other:
        answer = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n"
        with serving(fixed(answer.encode())) as server:
            assert outcome(guard, server) == Outcome(status=302)
    assert other.connections == 0


def test_a_proxy_of_the_environment_is_not_used(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(fixed(OK)) as proxy, serving(fixed(OK)) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert outcome(guard, server) == Outcome(status=200)
    assert (proxy.connections, server.connections) == (0, 1)


DRIPS = {
    "the status line": dripping(b"", b"H"),
    "the headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X", b": y\r\nContent-Length: 0\r\n\r\n"),
    "the body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n", b"x"),
    "the body, in chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", b"0\r\n\r\n"),
    "the body, without a length": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "all of it, after promises": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", OK),
}


@pytest.mark.parametrize("answer", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_is_a_failure_when_the_time_is_over(guard: Guard, answer: Answer) -> None:
    """Every byte comes in time for itself, and the status line at once in most cases."""
    with serving(answer) as server:
        assert outcome(guard, server, seconds=SHORT) == Outcome(fault=Fault.TIMEOUT)


def test_a_server_that_says_nothing_is_left_when_the_time_is_over(guard: Guard, tmp_path: Path) -> None:
    silent: Answer = lambda _, server: server.stopped.wait(30)  # noqa: E731
    with serving(silent) as server:
        assert outcome(guard, server, seconds=SHORT) == Outcome(fault=Fault.TIMEOUT)
    with serving(silent, reads=False) as server:
        url = f"https://127.0.0.1:{server.port}/"
        assert post(guard, url, b"", FORM, seconds=SHORT) == Outcome(fault=Fault.TIMEOUT), "It shakes no hands."


def test_a_body_drips_through_tls_no_longer_either(guard: Guard, tmp_path: Path) -> None:
    of_server, trusted = certificate(tmp_path, "localhost")
    with serving(DRIPS["the body"], tls=of_server) as server:
        url = f"https://localhost:{server.port}/"
        assert post(guard, url, b"", FORM, seconds=SHORT, trusted=trusted) == Outcome(fault=Fault.TIMEOUT)


MEGABYTE = bytes(1024 * 1024)


def flood(beginning: bytes) -> Answer:
    """An answer of ten gigabytes."""

    def answer(connection: socket.socket, _server: Server) -> None:
        connection.sendall(beginning)
        for _ in range(10_000):
            connection.sendall(MEGABYTE)

    return answer


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10485760000\r\n\r\n", Outcome(status=200)),
        (b"HTTP/1.1 200 OK\r\n\r\n", Outcome(status=200)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n271000000\r\n", Outcome(status=200)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", Outcome(fault=Fault.ANSWER)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", Outcome(fault=Fault.ANSWER)),
        (b"HTTP/1.1 200 OK\r\nX: ", Outcome(fault=Fault.ANSWER)),
        (b"", Outcome(fault=Fault.ANSWER)),
    ],
    ids=["a length", "no length", "one chunk", "a negative chunk", "a chunk without end", "a header", "no HTTP"],
)
def test_of_a_huge_answer_little_is_read(guard: Guard, beginning: bytes, expected: Outcome) -> None:
    with serving(flood(beginning)) as server:
        assert outcome(guard, server) == expected
        assert server.gone.wait(30), "The client has not closed its connection."


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", Fault.CONNECT),
        (b"SSH-2.0-OpenSSH\r\n", Fault.ANSWER),
        (b"HTTP/1.1 two OK\r\n\r\n", Fault.ANSWER),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", Fault.ANSWER),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, Fault.ANSWER),
    ],
    ids=["nothing", "SSH", "no number", "200 headers", "promises"],
)
def test_an_answer_that_is_not_http_is_named_in_one_word(guard: Guard, answer: bytes, fault: Fault) -> None:
    with serving(fixed(answer)) as server:
        assert outcome(guard, server) == Outcome(fault=fault)


def test_a_server_without_tls_is_named_in_one_word(guard: Guard) -> None:
    with serving(fixed(OK), reads=False) as server:
        assert post(guard, f"https://127.0.0.1:{server.port}/", b"", FORM, seconds=LONG) == Outcome(fault=Fault.TLS)


# Whether a server could be posted to


def test_a_server_that_accepts_connections_is_sent_no_request(guard: Guard) -> None:
    heard = SimpleQueue[bytes]()
    with serving(lambda connection, _: heard.put(connection.recv(1)), reads=False) as server:
        assert fault_of(guard, f"http://127.0.0.1:{server.port}/", seconds=LONG) is None
        assert heard.get(timeout=LONG) == b""


def test_the_fault_of_a_server_is_that_of_a_post(guard: Guard, tmp_path: Path) -> None:
    of_server, _ = certificate(tmp_path, "localhost")
    with serving(fixed(OK), tls=of_server) as server:
        for url in (f"https://localhost:{server.port}/", "http://127.0.0.1:5129/", "http://10.0.0.7/", "ftp://127.0.0.1/"):
            assert fault_of(guard, url, seconds=LONG) == post(guard, url, b"", FORM, seconds=LONG).fault is not None, url


# Hammer's own server


def test_the_own_server_may_have_an_inner_address_and_its_body_comes_back(tmp_path: Path) -> None:
    of_server, trusted = certificate(tmp_path, "own.test")
    with serving(fixed(OK), tls=of_server) as server:
        url = f"https://own.test:{server.port}/a?b=c"
        assert get(url, seconds=LONG, trusted=trusted, resolve=lambda _: ["127.0.0.1"]) == (Outcome(status=200), b"ok")
        assert get(url, seconds=LONG, resolve=lambda _: ["127.0.0.1"]) == (Outcome(fault=Fault.TLS), b"")
    [request] = server.requests
    assert request.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert b"\r\nHost: own.test:" in request


def test_no_redirect_of_the_own_server_is_followed() -> None:
    with serving(fixed(b"HTTP/1.1 301 Moved\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")) as server:
        assert get(f"http://127.0.0.1:{server.port}/", seconds=LONG) == (Outcome(status=301), b"")
    assert server.connections == 1


def test_a_slow_answer_of_the_own_server_is_given_up() -> None:
    with serving(dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"a")) as server:
        assert get(f"http://127.0.0.1:{server.port}/", seconds=SHORT) == (Outcome(fault=Fault.TIMEOUT), b"")
