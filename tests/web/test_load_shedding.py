"""Requests that waited too long for a thread are refused, so that others are served in time."""

import http.client
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from hammer import clock
from hammer.web import load_shedding
from tests.serving import Server, gunicorn
from tests.web.test_processes import shown

JUST = load_shedding.LONGEST_WAIT
LATE = JUST + 0.001
THREADS = 8


@pytest.fixture(autouse=True)
def not_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_shedding, "_logged", clock.Seldom(1000.0))


def get(app: Flask, path: str, waited: float) -> TestResponse:
    return app.test_client().get(path, environ_overrides={load_shedding.WAITED: waited}, headers={"Accept-Language": "ru"})


def test_a_request_that_waited_too_long_is_refused_by_the_api(app: Flask) -> None:
    answer = get(app, "/api/v1/users/me/", LATE)

    assert answer.status_code == 503
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["Retry-After"] == "5"
    assert answer.json is not None
    assert answer.json["detail"] == "Сейчас не получается. Попробуйте ещё раз чуть позже."


def test_a_person_gets_a_page_in_their_language(app: Flask) -> None:
    answer = get(app, "/login/", LATE)

    assert answer.status_code == 503
    assert answer.mimetype == "text/html"
    assert "Сейчас мы не успеваем ответить" in answer.text
    assert answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/login/", "/api/v1/openapi.json"])
def test_one_that_waited_as_long_as_allowed_is_served(app: Flask, path: str) -> None:
    assert get(app, path, JUST).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_monitoring_is_answered_however_long_it_waited(app: Flask, path: str) -> None:
    assert get(app, path, LATE).status_code == 200


def test_waits_are_measured_and_the_refusal_is_logged_once_a_minute(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    before = shown(app)
    with caplog.at_level(logging.WARNING):
        for waited in (0.0, JUST, LATE, LATE, LATE):
            get(app, "/login/", waited)
    after = shown(app)

    counted = {fate: ("hammer_request_wait_seconds_count", fate) for fate in ("served", "refused")}
    assert {fate: after[name] - before.get(name, 0) for fate, name in counted.items()} == {"served": 2, "refused": 3}
    assert [record.getMessage() for record in caplog.records if record.name == load_shedding.__name__] == [
        "More requests come than can be served: those that waited over 2 seconds are refused."
    ]


def test_a_server_that_does_not_tell_refuses_nothing_and_counts_nothing(app: Flask) -> None:
    before = shown(app)
    assert app.test_client().get("/login/").status_code == 200
    name = "hammer_request_wait_seconds_count", "served"
    assert shown(app).get(name) == before.get(name)


# A server whose threads are all busy


class Slow:
    """A request whose body does not end. It occupies a thread."""

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        head = (
            "POST /api/v1/auth/signup/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{"
        )
        self.connection.sendall(head.encode())

    def finish(self) -> int:
        """The status of its answer."""
        self.connection.sendall(b"}")
        answer = http.client.HTTPResponse(self.connection)
        answer.begin()
        return answer.status


@contextmanager
def asked(port: int, path: str, seconds: float = 60) -> Iterator[http.client.HTTPConnection]:
    """A request that was sent, and whose answer was not read yet."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
        connection.request("GET", path)
        yield connection


def status(port: int, path: str, seconds: float = 60) -> int:
    with asked(port, path, seconds) as connection:
        return connection.getresponse().status


def first_answer(port: int) -> int:
    """The status of the first request that is answered within half a second."""
    for _ in range(100):
        with suppress(TimeoutError):
            return status(port, "/login/", 0.5)
    raise AssertionError("None was answered.")


@pytest.mark.processes
def test_while_all_threads_are_busy_new_requests_are_refused_at_once_and_those_that_waited_too_long_later(
    serve: Callable[..., Server],
) -> None:
    server = serve(lambda port: [*gunicorn(port), "--workers", "1"])
    port = server.port
    with ExitStack() as stack:
        busy = [Slow(port) for _ in range(THREADS)]
        for one in busy:
            stack.callback(one.connection.close)
        waiting = [stack.enter_context(asked(port, path)) for path in ("/login/", "/healthz")]
        refused = first_answer(port)
        healthy = status(port, "/healthz")
        finished = [one.finish() for one in busy]
        late = [connection.getresponse().status for connection in waiting]

    assert refused == 503
    assert healthy == 200
    assert finished == [422] * THREADS
    assert late == [503, 200]
    assert status(port, "/login/") == 200
    assert "waited_ms=" in server.log.read_text()
