"""Every problem of the contract, by its name and status."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

import config
from hammer.sms import gateways
from hammer.users import accounts, people
from tests.actions import wrong_code
from tests.api.contract import ANNA, ask, problem
from tests.people import Program

PATHS = ["/auth/signup", "/auth/resend", "/auth/code", "/auth/refresh", "/auth/logout", "/auth/sessions", "/auth/sessions/x"]
PATHS += ["/users", "/users/me", "/users/me/invite", "/users/me/invitees", "/users/me/export", "/texts"]


@pytest.mark.parametrize("path", PATHS)
def test_the_trailing_slash_is_optional(anna: Program, path: str) -> None:
    for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        bare, slashed = (anna.call(method, path + end, {"hat": 1}, Authorization="") for end in ("", "/"))
        assert (bare.status_code, bare.data) == (slashed.status_code, slashed.data)
        assert bare.status_code in (401, 405, 422)


def test_accept_language_chooses_the_sentences_and_never_the_slugs(program: Program) -> None:
    english, russian = (
        problem(program.call("GET", "/users/me/", **{"Accept-Language": language}), 401, "not-signed-in")
        for language in ("en", "ru")
    )
    assert english["type"] == russian["type"]
    assert english["detail"] != russian["detail"]
    assert re.search("[а-я]", russian["title"] + russian["detail"])
    assert not re.search("[а-я]", english["title"] + english["detail"])
    fields = program.call("POST", "/auth/signup/", {"hat": 1}, **{"Accept-Language": "ru"})
    found = problem(fields, 422, "invalid-fields")
    assert set(found["errors"]) == {"telephone_number", "hat"}
    assert all(re.search("[а-я]", sentence) for sentences in found["errors"].values() for sentence in sentences)


@pytest.mark.parametrize(
    ("asked", "language"),
    [("de", "en"), ("zh-Hans, ja;q=0.5", "en"), ("de, ru;q=0.1", "ru"), ("de, en;q=0.1", "en"), ("*", "ru"), ("", "ru")],
)
def test_a_language_that_is_not_ours_gets_english_and_none_gets_russian(program: Program, asked: str, language: str) -> None:
    answer = program.call("GET", "/users/me/", **{"Accept-Language": asked}).json or {}
    assert bool(re.search("[а-я]", answer["detail"])) == (language == "ru")


@pytest.mark.parametrize("language", ["de", "ru-RU,ru;q=0.9", "*", "", "x" * 5000, "en;q=zzz", "\xff"])
def test_any_accept_language_is_answered(program: Program, language: str) -> None:
    problem(program.call("GET", "/users/me/", **{"Accept-Language": language}), 401, "not-signed-in")


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", "1", '"x"', "{}{}", "\xff\xfe", "\x00", '{"a":', "[" * 5000, '{"a":' * 3000, "NaN"],
    ids=range(13),
)
def test_what_is_no_json_object_is_an_invalid_request(client: FlaskClient, body: str) -> None:
    answer = client.post("/api/v1/auth/signup/", data=body.encode("latin-1"), content_type="application/json")
    problem(answer, 400, "invalid-request")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"])
@pytest.mark.requirement("API-04", "WEB-02")
def test_a_body_of_another_type_is_415(client: FlaskClient, anna: Program, kind: str) -> None:
    answer = client.post("/api/v1/auth/signup/", data=json.dumps({"telephone_number": ANNA}), content_type=kind)
    problem(answer, 415, "invalid-request")
    problem(anna.call("POST", "/auth/logout/", **{"Content-Type": kind}), 415, "invalid-request")
    assert anna.is_signed_in()


@pytest.mark.requirement("API-04")
def test_a_body_too_large_is_413(client: FlaskClient) -> None:
    body = json.dumps({"telephone_number": ANNA, "invite_code": "x" * 20_000})
    problem(client.post("/api/v1/auth/signup/", data=body, content_type="application/json"), 413, "invalid-request")


@pytest.mark.parametrize("number", ["+74951234567", "+78005553535"])
@pytest.mark.requirement("SMS-04")
def test_a_number_that_gets_no_texts_is_not_served(program: Program, number: str) -> None:
    problem(program.call("POST", "/auth/signup/", {"telephone_number": number}), 422, "region-not-served")


@pytest.mark.requirement("SMS-04")
def test_a_country_that_is_not_in_the_list_is_not_served(
    settings: config.Settings, app_with: Callable[[config.Settings], Flask]
) -> None:
    program = Program(app_with(replace(settings, regions=frozenset({"RU"}))))
    problem(program.call("POST", "/auth/signup/", {"telephone_number": "+4915112345678"}), 422, "region-not-served")
    assert not gateways.memory


def test_texts_to_one_number_are_limited_per_day(program: Program, clock: time_machine.Traveller) -> None:
    for _ in range(5):
        program.result("POST", "/auth/signup/", {"telephone_number": ANNA})
        clock.shift(700)
    answer = program.call("POST", "/auth/signup/", {"telephone_number": "8 929 8284301"})
    found = problem(answer, 429, "too-many-requests")
    assert answer.headers["Retry-After"] == str(found["retry_after"])
    assert 80_000 < found["retry_after"] <= 86_400


def test_a_blocked_user_is_refused_after_the_right_code(app: Flask, anna: Program, program: Program) -> None:
    with app.app_context():
        accounts.set_blocked(people.find(app.config["SETTINGS"], ANNA), True)
    assert not anna.is_signed_in()
    verification, code = ask(program, ANNA)
    problem(program.call("POST", "/auth/code/", {"verification_id": verification, "code": wrong_code(code)}), 401, "wrong-code")
    problem(program.call("POST", "/auth/code/", {"verification_id": verification, "code": code}), 403, "not-allowed")


@pytest.mark.requirement("API-04")
def test_a_wrong_method_is_answered_with_the_allowed_ones(client: FlaskClient) -> None:
    answer = client.put("/api/v1/auth/signup/", json={})
    problem(answer, 405, "method-not-allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    answer = client.open("/api/v1/users/me/", method="TRACE")
    problem(answer, 405, "method-not-allowed")
    assert {"GET", "POST", "PATCH", "PUT", "DELETE"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    "path", ["", "/", "/nothing", "/v2/users/", "/v1/users/me/nothing/", "/v1/%00", "/v1/%ff", "/v1/../v1/nothing"]
)
def test_an_unknown_address_is_a_problem_too(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/api{path}")
    if path:
        problem(answer, 404, "not-found")
    else:
        assert answer.status_code == 404
