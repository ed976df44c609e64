"""Pages of other origins: which of them may read an answer, and what they may send (CORS)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from time_machine import Traveller
from werkzeug.test import TestResponse

from config import Settings
from hammer.clients import registry
from hammer.db.database import db
from hammer.models import Scope
from hammer.web import origins
from tests import routes

Made = Callable[[Settings], Flask]
APP = "https://app.example.com"
LOOPBACK = "http://[::1]:3000"
STRANGER = "https://good.evil"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,idempotency-key,x-other"}
PUBLIC = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
OF_APPS = {"/oauth/token": "POST", "/oauth/revoke": "POST", "/oauth/userinfo": "GET, POST"}


@pytest.fixture
def opened(settings: Settings, app_with: Made) -> Flask:
    """An application that pages of `APP` and `LOOPBACK` may call."""
    return app_with(replace(settings, origins=frozenset({APP, LOOPBACK})))


def call(app: Flask, origin: str | None = APP, method: str = "GET", at: str = "/api/v1/users/me/", **headers: str) -> TestResponse:
    sent = headers if origin is None else {"Origin": origin, **headers}
    return app.test_client().open(at, method=method, headers=sent)


def shared(answer: TestResponse) -> dict[str, str]:
    """What the answer says about other origins."""
    return {name: value for name, value in answer.headers.items() if name.lower().startswith("access-control")}


def is_call(where: str) -> bool:
    """Whether what `routes.every_answer` names is a call of the API or of an app, which pages of some origins may make."""
    path = where.split()[1]
    return path.startswith("/api/") or path in OF_APPS


def may_read(answer: TestResponse, origin: str = APP) -> bool:
    return answer.headers.getlist("Access-Control-Allow-Origin") == [origin]


@pytest.mark.requirement("API-07")
def test_a_page_may_read_every_answer_to_a_call_and_nothing_else(opened: Flask) -> None:
    opened.add_url_rule("/api/v1/broken/", "broken", lambda: 1 / 0)  # type: ignore[arg-type]
    opened.testing = False
    client = opened.test_client()
    client.environ_base["HTTP_ORIGIN"] = APP
    answers = list(routes.every_answer(opened, client, "http://localhost"))

    assert {answer.status_code for where, answer in answers if " /api/" in where} >= {200, 401, 404, 405, 413, 415, 422, 500}
    assert {where.split()[1] for where, _ in answers if is_call(where)} >= set(OF_APPS)
    for where, answer in answers:
        if is_call(where):
            assert may_read(answer), where
            assert "Origin" in answer.vary, where
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"], where
        elif where.endswith(PUBLIC):
            assert may_read(answer, "*"), where
        else:
            assert shared(answer) == {}, where
        assert "Access-Control-Allow-Credentials" not in answer.headers, where
        assert "Set-Cookie" not in answer.headers or not is_call(where), where


@pytest.mark.requirement("API-07")
def test_without_origins_no_page_may_read_an_answer_except_what_is_public(app: Flask) -> None:
    client = app.test_client()
    client.environ_base["HTTP_ORIGIN"] = APP
    for where, answer in routes.every_answer(app, client, "http://localhost"):
        assert set(shared(answer).values()) & {"*", APP} == ({"*"} if where.endswith(PUBLIC) else set()), where
        assert not is_call(where) or "Origin" in answer.vary, where


@pytest.mark.requirement("API-07")
@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "*",
        "",
        STRANGER,
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com:443",
        "https://app.example.com.",
        "https://app.example.com/",
        "https://app.example.com.good.evil",
        "https://app.example.comgood.evil",
        "https://goodapp.example.com",
        "https://x.app.example.com",
        "https://appxexample.com",
        "https://APP.example.com",
        "HTTPS://app.example.com",
        "https://app.example.com, https://good.evil",
        "https://app.example.com https://good.evil",
        "https://good.evil#https://app.example.com",
        "https://user@app.example.com",
        "https://app.example.com\t",
        "http://[::1]",
        "http://[::11]:3000",
        "http://::1:3000",
        "http://:3000",
        "http://1:3000",
    ],
)
def test_only_the_exact_origin_may_read(opened: Flask, origin: str) -> None:
    """Also where the origin holds characters of regular expressions, like `[::1]`."""
    for method in ("GET", "POST", "OPTIONS"):
        answer = call(opened, origin, method, **PREFLIGHT)
        assert shared(answer) == {}, method
        assert "Origin" in answer.vary


@pytest.mark.parametrize("origin", [APP, LOOPBACK])
def test_a_preflight_says_what_a_page_may_send_and_for_how_long(opened: Flask, origin: str) -> None:
    assert shared(call(opened, origin, "OPTIONS", **PREFLIGHT)) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "DELETE, GET, PATCH, POST, PUT",
        "Access-Control-Allow-Headers": "authorization, idempotency-key",
        "Access-Control-Expose-Headers": "Link, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-ID",
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.requirement("API-07")
@pytest.mark.parametrize(("at", "methods"), OF_APPS.items())
def test_a_preflight_of_an_app_allows_the_methods_of_its_call(app: Flask, client_id: str, at: str, methods: str) -> None:
    for origin in (APP, LOOPBACK):
        allowed = shared(call(app, origin, "OPTIONS", at, **PREFLIGHT | {"Access-Control-Request-Method": "POST"}))
        assert (allowed["Access-Control-Allow-Origin"], allowed["Access-Control-Allow-Methods"]) == (origin, methods)
    assert shared(call(app, STRANGER, "OPTIONS", at, **PREFLIGHT)) == {}


@pytest.mark.requirement("API-07")
@pytest.mark.parametrize("at", ["/oauth/authorize", "/oauth/continue", "/oauth/leave", "/oauth/logout", "/oauth/token/", "/oauth/"])
def test_no_page_may_read_what_people_are_shown_on_the_way_to_an_app(app: Flask, client_id: str, at: str) -> None:
    for origin in (APP, STRANGER, "null"):
        for method in ("GET", "POST", "OPTIONS"):
            assert shared(call(app, origin, method, at, **PREFLIGHT)) == {}, method


def test_without_a_page_an_answer_names_no_origin(opened: Flask) -> None:
    answer = call(opened, None)
    assert shared(answer) == {}
    assert "Origin" in answer.vary


@pytest.mark.parametrize("at", PUBLIC)
def test_what_services_need_to_know_can_be_read_from_anywhere(app: Flask, at: str) -> None:
    """Without an `Origin` the answer is the same: a cache may give it to a page."""
    for origin in (STRANGER, "null", None):
        answer = call(app, origin, at=at)
        assert answer.status_code == 200
        assert may_read(answer, "*")
    assert shared(call(app, STRANGER, "OPTIONS", at, **PREFLIGHT)).get("Access-Control-Allow-Methods") is None


@pytest.mark.requirement("API-02", "THR-07")
def test_preflights_are_counted_and_a_page_can_read_when_to_come_back(settings: Settings, app_with: Made) -> None:
    app = app_with(replace(settings, origins=frozenset({APP}), requests_per_address_minute=3))
    statuses = [call(app, method="OPTIONS", **PREFLIGHT).status_code for _ in range(3)]
    assert statuses == [200] * 3
    for method in ("GET", "OPTIONS"):
        answer = call(app, method=method)
        assert (answer.status_code, may_read(answer)) == (429, True)
        assert int(answer.headers["Retry-After"]) > 0


def test_a_page_can_read_that_the_host_is_wrong(settings: Settings, app_with: Made) -> None:
    app = app_with(replace(settings, env="development", origins=frozenset({APP})))
    for host in ("evil.example", f"{'x' * 64}.example"):
        answer = app.test_client().get("/api/v1/users/me/", headers={"Origin": APP, "Host": host})
        assert (answer.status_code, may_read(answer)) == (400, True), host


@contextmanager
def database_away(app: Flask) -> Iterator[None]:
    with app.app_context():
        engine = db.engine

    def refuse(*_: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    event.listen(engine, "checkout", refuse)
    yield
    event.remove(engine, "checkout", refuse)


@pytest.fixture
def client_id(app: Flask) -> str:
    """A client with the origins `APP` and `LOOPBACK`."""
    with app.app_context():
        return registry.add("Acme", [Scope.USERS_READ], origins=["https://App.example.com:443/", LOOPBACK]).id


def test_a_page_of_a_client_may_read(app: Flask, client_id: str) -> None:
    assert may_read(call(app))
    assert may_read(call(app, LOOPBACK), LOOPBACK)
    assert shared(call(app, STRANGER)) == {}


@pytest.mark.requirement("API-07")
def test_changes_of_clients_take_half_a_minute(app: Flask, client_id: str, clock: Traveller) -> None:
    assert may_read(call(app))
    for change, allowed in ((registry.disable, False), (registry.enable, True), (registry.remove, False)):
        with app.app_context():
            change(client_id)
        clock.shift(origins.RELOAD)
        assert may_read(call(app)) is allowed


def test_the_database_is_asked_once_in_half_a_minute_and_for_pages_only(
    app: Flask, client_id: str, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with statements() as seen:
        call(app, None)
        assert seen == []
        for origin in (APP, STRANGER, LOOPBACK, APP):
            call(app, origin)
        assert len(seen) == 1


def test_while_the_database_is_away_the_origins_before_count(app: Flask, client_id: str, clock: Traveller) -> None:
    body = {"telephone_number": "+79290000001"}
    assert may_read(call(app))
    with database_away(app):
        clock.shift(origins.RELOAD)
        answer = app.test_client().post("/api/v1/auth/signup/", json=body, headers={"Origin": APP})
        assert (answer.status_code, may_read(answer)) == (503, True)
        assert "Retry-After" in answer.headers
        assert shared(call(app, STRANGER)) == {}


def test_a_process_that_starts_while_the_database_is_away_learns_the_origins_later(
    app: Flask, client_id: str, clock: Traveller
) -> None:
    with database_away(app):
        assert shared(call(app)) == {}
    clock.shift(origins.RELOAD)
    assert may_read(call(app))
