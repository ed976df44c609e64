"""Every error of the API is a problem document and shows nothing of the code or the database."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from marshmallow import RAISE
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from hammer.api.problems import PROBLEM_JSON, Problem
from hammer.db.database import db
from hammer.login import by_code
from hammer.models import User
from hammer.users import people
from hammer.web import logs
from tests import routes
from tests.people import Program

ANNA, BORIS = "+79290000001", "+79290000002"
INSIDE = re.compile(r"Traceback|File \"|\.py\b|sqlalchemy|psycopg|sqlite|SELECT|RuntimeError|werkzeug", re.IGNORECASE)


def is_a_problem(answer: TestResponse) -> None:
    assert answer.mimetype == PROBLEM_JSON
    body = answer.json
    assert body is not None
    assert Problem(unknown=RAISE).validate(body) == {}
    assert body["status"] == answer.status_code
    assert re.fullmatch(r"/problems/[a-z]+(-[a-z]+)*", body["type"])
    assert not INSIDE.search(answer.text), answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def unheard_of(person: Program, **_: Any) -> TestResponse:
    return person.call("POST", "/auth/signup/", {"telephone_number": ANNA, "is_admin": True})


def too_often(person: Program, **_: Any) -> TestResponse:
    asked = [person.call("POST", "/auth/signup/", {"telephone_number": ANNA}) for _ in range(2)]
    assert int(asked[-1].headers["Retry-After"]) >= 49
    return asked[-1]


def taken(person: Program, app: Flask, **_: Any) -> TestResponse:
    another = Program(app)
    for each, number in ((person, ANNA), (another, BORIS)):
        each.sign_in(number)
    another.result("PATCH", "/users/me/", {"username": "mine"})
    return person.call("PATCH", "/users/me/", {"username": "mine"})


def not_for_users(person: Program, **_: Any) -> TestResponse:
    person.sign_in(ANNA)
    return person.call("POST", "/users/", {"telephone_number": BORIS})


def broken(person: Program, app: Flask, monkeypatch: pytest.MonkeyPatch, **_: Any) -> TestResponse:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(by_code, "send_code", _raises(RuntimeError(f"{ANNA} 1234")))
    return person.call("POST", "/auth/signup/", {"telephone_number": ANNA})


def busy(person: Program, monkeypatch: pytest.MonkeyPatch, **_: Any) -> TestResponse:
    monkeypatch.setattr(by_code, "send_code", _raises(OperationalError("SELECT 1", {}, Exception("locked"))))
    answer = person.call("POST", "/auth/signup/", {"telephone_number": ANNA})
    assert int(answer.headers["Retry-After"]) >= 1
    return answer


def _raises(fault: Exception) -> Callable[..., None]:
    def broken_verb(*_: object, **__: object) -> None:
        raise fault

    return broken_verb


FORCED: dict[int, Callable[..., TestResponse]] = {
    400: lambda person, **_: person.client.post("/api/v1/auth/signup/", data="{", content_type="application/json"),
    401: lambda person, **_: person.call("GET", "/users/me/"),
    403: not_for_users,
    404: lambda person, **_: person.call("GET", "/nothing/"),
    405: lambda person, **_: person.call("PUT", "/auth/signup/"),
    409: taken,
    413: lambda person, **_: person.call("POST", "/auth/signup/", {"telephone_number": "1" * 17_000}),
    415: lambda person, **_: person.client.post("/api/v1/auth/signup/", data="a=b", content_type="text/plain"),
    422: unheard_of,
    429: too_often,
    500: broken,
    503: busy,
}


@pytest.mark.requirement("API-01")
@pytest.mark.parametrize("status", FORCED)
def test_every_error_is_a_problem_document(app: Flask, program: Program, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    answer = FORCED[status](program, app=app, monkeypatch=monkeypatch)

    assert answer.status_code == status, answer.text
    is_a_problem(answer)


@pytest.mark.requirement("API-02")
def test_a_refusal_until_later_states_how_long_to_wait(program: Program) -> None:
    answer = too_often(program)

    assert answer.status_code == 429
    assert answer.json is not None
    assert answer.json["retry_after"] == int(answer.headers["Retry-After"])


@pytest.mark.requirement("API-04", "API-01")
def test_every_route_answers_every_method(app: Flask, program: Program) -> None:
    """405 with what is allowed, never 500 and never a silent 200."""
    program.sign_in(ANNA)
    for rule in routes.rules(app):
        allowed = set().union(*(r.methods or set() for r in routes.rules(app) if r.rule == rule.rule))
        for method in {*routes.METHODS, "CONNECT", "PROPFIND"} - {"DELETE"}:
            answer = routes.send(program.client, method, routes.path(rule))
            assert (answer.status_code == 405) == (method not in allowed), f"{method} {rule.rule}"
            if answer.status_code == 405:
                assert {"GET", "POST", "PUT", "PATCH", "DELETE"} & {m.strip() for m in answer.headers["Allow"].split(",")}
                if rule.rule.startswith("/api/"):
                    is_a_problem(answer) if method != "HEAD" else None
            assert answer.status_code < 500


@pytest.mark.requirement("API-04")
def test_no_list_is_longer_than_a_hundred(program: Program) -> None:
    program.sign_in(ANNA)

    for at in ("/users/", "/users/me/invitees/"):
        assert program.call("GET", f"{at}?limit=101").status_code == 422
        assert program.call("GET", f"{at}?limit=100").status_code == 200


@pytest.mark.requirement("API-05")
@pytest.mark.parametrize("more", ["is_admin", "is_staff", "id", "invited_by", "invite_code_list", "date_joined", "__proto__"])
def test_an_unknown_field_is_refused_in_every_write(app: Flask, program: Program, more: str) -> None:
    program.sign_in(ANNA)
    with app.app_context():
        db.session.execute(update(User).values(is_staff=True))
    without = {"api.logout", "api.block_user", "api.unblock_user"}
    without |= {f"api.{call}_webhook" for call in ("rotate", "test", "enable", "disable")}
    asked = 0

    for rule in routes.rules(app, "/api/"):
        for method in {"POST", "PUT", "PATCH"} & (rule.methods or set()) if rule.endpoint not in without else ():
            answer = program.call(method, routes.path(rule).removeprefix("/api/v1"), {more: True})
            assert answer.status_code == 422, f"{method} {rule.rule}: {answer.text}"
            assert answer.json is not None
            assert more in answer.json["errors"], f"{method} {rule.rule}"
            asked += 1
    assert asked >= 9


@pytest.mark.requirement("API-05")
def test_an_unknown_parameter_of_a_query_is_refused_in_every_call(app: Flask, program: Program) -> None:
    program.sign_in(ANNA)
    asked = 0

    for rule in routes.rules(app):
        if rule.endpoint.startswith("api."):
            for method in routes.METHODS[:1] + routes.METHODS[2:6]:
                if method in (rule.methods or ()):
                    answer = routes.send(program.client, method, f"{routes.path(rule)}?limit=1&hat=on&Limit=1")
                    assert answer.status_code == 422, f"{method} {rule.rule}: {answer.text}"
                    assert answer.json is not None
                    assert {"hat", "Limit"} <= set(answer.json["errors"]) <= {"hat", "Limit", "limit"}
                    asked += 1
    assert asked >= 22
    assert program.call("GET", "/users/?limit=1&after=&q=").status_code == 200


LAYERS = [
    ("view", "hammer.api.views._code_sent"),
    ("request limits", "hammer.web.request_limits.address"),
    ("verb", "hammer.login.by_code.send_code"),
    ("step", "hammer.login.verifications.pending"),
    ("database", "hammer.login.by_code.transaction"),
    ("parsing", "hammer.parsing.phones.canonical"),
    ("template", "hammer.auth.verification.render_template"),
]


@pytest.mark.requirement("LOG-03")
@pytest.mark.parametrize(("layer", "what"), LAYERS, ids=[layer for layer, _ in LAYERS])
def test_an_error_in_any_layer_is_a_500_that_shows_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, layer: str, what: str
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    client = app.test_client()
    form = {"csrf_token": routes.form_token(client), "telephone_number": ANNA}
    monkeypatch.setattr(what, _raises(RuntimeError(f"inside {layer}")))

    answers = [
        client.post("/api/v1/auth/signup/", json={"telephone_number": ANNA}),
        client.post("/login/", data=form),
        client.get("/login/"),
    ]

    broken = [answer for answer in answers if answer.status_code == 500]
    assert broken
    for answer in broken:
        assert answer.headers["Content-Security-Policy"]
        assert "inside" not in answer.text
        assert not INSIDE.search(answer.text)
    faults = [record for record in caplog.records if record.name == "hammer.web.logs" and record.exc_info]
    assert len(faults) == len(broken)
    assert all(f"inside {layer}" in str(record.exc_info and record.exc_info[1]) for record in faults)


@pytest.mark.requirement("LOG-03")
def test_a_caller_who_cannot_be_checked_is_not_let_in(app: Flask, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    program.sign_in(ANNA)
    monkeypatch.setattr("hammer.sessions.sessions.caller", _raises(RuntimeError("no idea who that is")))
    reached = []
    monkeypatch.setattr(people, "profile", lambda *_: reached.append(1))

    assert program.call("GET", "/users/me/").status_code == 500
    assert reached == []


@pytest.mark.parametrize(
    ("slug", "method", "path", "sent"),
    [
        ("invalid-fields", "POST", "/api/v1/auth/signup/", {"json": {}}),
        ("invalid-request", "POST", "/api/v1/auth/signup/", {"data": "{", "content_type": "application/json"}),
        ("method-not-allowed", "DELETE", "/api/v1/auth/signup/", {}),
        ("not-found", "GET", "/api/v1/nothing/", {}),
    ],
)
def test_what_is_refused_before_a_rule_is_asked_is_counted_once_by_its_slug(
    app: Flask, slug: str, method: str, path: str, sent: dict[str, Any]
) -> None:
    counted = logs.REFUSALS.labels(slug)._value
    before = counted.get()
    app.test_client().open(path, method=method, **sent)
    assert counted.get() - before == 1
