"""Requests that waited too long for a thread are refused, so that others are served in time."""

import http.client
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from config import Settings
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


@pytest.mark.parametrize("path", ["/login/", "/profile/", "/i/Q9UK59", "/api/v1/users/me/"])
@pytest.mark.parametrize("language", ["ru", "en"])
def test_the_answer_is_kept_and_shows_nothing_of_the_request_but_its_language(app: Flask, path: str, language: str) -> None:
    secret = "canary"
    sent = {"Accept-Language": language, "Authorization": f"Bearer {secret}", "Cookie": f"{secret}={secret}", "User-Agent": secret}
    over = {load_shedding.WAITED: LATE}
    first = app.test_client().get(f"{path}?a={secret}", headers=sent, environ_overrides=over)
    again = app.test_client().get(f"{path}?b={secret}", headers=sent, environ_overrides=over)
    other = app.test_client().get(
        path, headers=sent | {"Accept-Language": {"ru": "en", "en": "ru"}[language]}, environ_overrides=over
    )

    assert (first.status, first.data, first.headers) == (again.status, again.data, again.headers)
    assert other.data != first.data
    assert secret not in f"{first.headers}{first.text}"
    assert "Q9UK59" not in first.text
    assert "Set-Cookie" not in first.headers


def test_who_chose_a_language_gets_it_also_then(app: Flask) -> None:
    answer = get(app, "/login/?lang=en", LATE)
    assert '<html lang="en">' in answer.text


def test_an_allowed_origin_can_read_the_refusal(app_with: Callable[[Settings], Flask], settings: Settings) -> None:
    app = app_with(replace(settings, origins=frozenset({"https://app.example.com"})))
    sent = {"Origin": "https://app.example.com"}
    over = {load_shedding.WAITED: LATE}
    for _ in range(2):
        answer = app.test_client().get("/api/v1/users/me/", headers=sent, environ_overrides=over)
        assert answer.status_code == 503
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"


def test_oauth_keeps_its_form_of_errors(app: Flask) -> None:
    answer = app.test_client().post("/oauth/token", environ_overrides={load_shedding.WAITED: LATE})
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["error"]


def test_a_head_request_gets_no_body(app: Flask) -> None:
    for _ in range(2):
        answer = app.test_client().head("/login/", environ_overrides={load_shedding.WAITED: LATE})
        assert (answer.status_code, answer.data) == (503, b"")


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
