"""The calls below /auth/: codes, tokens and sessions."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import time_machine
from flask import Flask

from hammer.db.database import db
from hammer.models import Verification
from tests.actions import wrong_code
from tests.api.contract import ANNA, ASKED, BORIS, PAIR, SIGNED_IN, STRANGER, ask, problem, signed_in
from tests.delivery import code_for
from tests.people import Program


@pytest.mark.requirement("OTP-06")
def test_signup_answers_what_a_caller_needs_to_know(program: Program) -> None:
    answer = program.call("POST", "/auth/signup/", {"telephone_number": "8 (929) 828-43-01"})
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    asked = answer.json
    assert asked is not None
    assert set(asked) == ASKED
    assert (asked["telephone_number"], asked["code_length"], asked["expires_in"], asked["resend_in"]) == (ANNA, 4, 300, 60)
    assert re.fullmatch(r"[\w-]{22}", asked["verification_id"])


@pytest.mark.parametrize("name", ["username", "phone"])
def test_the_number_has_two_older_names(program: Program, name: str) -> None:
    assert program.result("POST", "/auth/signup/", {name: ANNA})["telephone_number"] == ANNA


def test_two_names_of_the_number_at_once_are_refused(program: Program) -> None:
    answer = program.call("POST", "/auth/signup/", {"telephone_number": ANNA, "phone": BORIS})
    assert set(problem(answer, 422, "invalid-fields")["errors"]) == {"phone"}


def test_only_demo_mode_shows_the_code(demo: Program) -> None:
    answer = demo.call("POST", "/auth/signup/", {"telephone_number": ANNA})
    assert set(answer.json or {}) == ASKED | {"Ваш код активации"}
    assert "Ваш код активации" in answer.text


@pytest.mark.requirement("OTP-05")
def test_known_and_unknown_numbers_are_answered_alike(
    anna: Program, program: Program, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    answers, work = [], []
    for number in (ANNA, STRANGER):
        with statements() as seen:
            answers.append(program.call("POST", "/auth/signup/", {"telephone_number": number}))
        work.append([re.sub(r"\s+", " ", statement) for statement in seen])
    known, unknown = (answer.json or {} for answer in answers)
    assert answers[0].status_code == answers[1].status_code == 200
    assert {name: len(str(value)) for name, value in known.items()} == {name: len(str(value)) for name, value in unknown.items()}
    headers = [{name: value for name, value in answer.headers if name not in ("X-Request-ID", "RateLimit")} for answer in answers]
    assert headers[0] == headers[1]  # `RateLimit` counts requested texts, not users
    assert work[0] == work[1]


def test_resend_answers_as_signup_with_the_same_code(program: Program, clock: time_machine.Traveller) -> None:
    verification, code = ask(program, ANNA)
    refused = program.call("POST", "/auth/resend/", {"verification_id": verification})
    assert problem(refused, 429, "too-many-requests")["retry_after"] == 60
    assert refused.headers["Retry-After"] == "60"
    clock.shift(60)
    again = program.result("POST", "/auth/resend/", {"verification_id": verification})
    assert set(again) == ASKED
    assert (again["verification_id"], again["expires_in"], again["resend_in"]) == (verification, 240, 120)
    with program.app.app_context():
        assert code_for(program.app.config["SETTINGS"], ANNA) == code


def test_resend_of_an_unknown_verification_is_not_found(program: Program) -> None:
    problem(program.call("POST", "/auth/resend/", {"verification_id": "nothing"}), 404, "not-found")


def test_the_code_signs_in_with_russian_keys_beside_the_english_ones(program: Program) -> None:
    verification, code = ask(program, ANNA)
    answer = program.call("POST", "/auth/code/", {"verification_id": verification, "code": code})
    found = answer.json
    assert answer.status_code == 200
    assert found is not None
    assert set(found) == SIGNED_IN
    assert found["Ваш токен"] == found["access_token"]
    assert found["Ваш инвайт код"] == found["invite_code"]
    assert re.fullmatch("[23456789BCDFGHJKMNPQRSTVWXYZ]{6}", found["invite_code"])
    assert (found["token_type"], found["created"]) == ("Bearer", True)
    assert found["expires_in"] == 900
    assert "Ваш токен" in answer.text


def test_a_second_login_makes_no_second_user(anna: Program, program: Program) -> None:
    program.sign_in("8 929 828 43 01")
    assert program.tokens["created"] is False
    assert program.tokens["invite_code"] == anna.tokens["invite_code"]


@pytest.mark.requirement("OTP-05")
def test_a_wrong_expired_spent_or_unknown_code_has_one_answer(program: Program, clock: time_machine.Traveller) -> None:
    verification, code = ask(program, ANNA)
    tried = program.call("POST", "/auth/code/", {"verification_id": verification, "code": wrong_code(code)})
    assert problem(tried, 401, "wrong-code")["attempts_left"] == 2
    program.result("POST", "/auth/code/", {"verification_id": verification, "code": code})
    spent = program.call("POST", "/auth/code/", {"verification_id": verification, "code": code})
    unknown = program.call("POST", "/auth/code/", {"verification_id": "A" * 22, "code": code})
    verification, code = ask(program, BORIS)
    clock.shift(301)
    expired = program.call("POST", "/auth/code/", {"verification_id": verification, "code": code})
    assert spent.json == unknown.json == expired.json
    assert problem(expired, 401, "wrong-code")["attempts_left"] == 0
    assert problem(tried, 401, "wrong-code") | {"attempts_left": 0} == expired.json


def test_the_guesses_count_down_to_none(program: Program) -> None:
    verification, code = ask(program, ANNA)
    left = []
    for _ in range(3):
        tried = program.call("POST", "/auth/code/", {"verification_id": verification, "code": wrong_code(code)})
        left.append(problem(tried, 401, "wrong-code")["attempts_left"])
    assert left == [2, 1, 0]
    problem(program.call("POST", "/auth/code/", {"verification_id": verification, "code": code}), 401, "wrong-code")


@pytest.mark.requirement("OTP-07")
def test_only_strings_of_digits_are_compared_with_the_code(program: Program, app: Flask, code_for: Callable[[str], str]) -> None:
    asked = program.result("POST", "/auth/signup/", {"telephone_number": ANNA})
    code = code_for(ANNA)
    for typed in (
        int(code),
        float(code),
        [code],
        [code] * 1000,
        {"code": code},
        None,
        True,
        code * 2500,
        f"Hammer: {code}, 5 min",
        "29.11.2026",
        "29-11-2026",
        "",
        " ",
        "\0",
    ):
        answer = program.call("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": typed})
        assert set(problem(answer, 422, "invalid-fields")["errors"]) == {"code"}, typed
    with app.app_context():
        assert db.session.get_one(Verification, asked["verification_id"]).guesses == 0
    assert program.result("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": code})["created"]


def test_in_demo_mode_the_code_alone_or_with_the_number_is_enough(demo: Program) -> None:
    for name in ("telephone_number", "username", "phone"):
        code = demo.result("POST", "/auth/signup/", {name: ANNA})["Ваш код активации"]
        assert set(demo.result("POST", "/auth/code/", {name: "8 929 828-43-01", "code": code})) == SIGNED_IN
    code = demo.result("POST", "/auth/signup/", {"telephone_number": BORIS})["Ваш код активации"]
    assert set(demo.result("POST", "/auth/code/", {"code": code})) == SIGNED_IN
    problem(demo.call("POST", "/auth/code/", {"code": code}), 401, "wrong-code")


def test_in_demo_mode_a_code_of_two_verifications_does_not_work_alone(demo: Program) -> None:
    seen: dict[str, str] = {}
    for number in (f"+7929{place:07}" for place in range(1500)):
        code = demo.result("POST", "/auth/signup/", {"telephone_number": number})["Ваш код активации"]
        if code in seen:
            problem(demo.call("POST", "/auth/code/", {"code": code}), 401, "wrong-code")
            assert set(demo.result("POST", "/auth/code/", {"telephone_number": number, "code": code})) == SIGNED_IN
            return
        seen[code] = number
    pytest.fail("1500 codes of four digits, and no two the same.")


@pytest.mark.parametrize("body", [{"code": "1234"}, {"telephone_number": ANNA, "code": "1234"}])
def test_outside_demo_mode_the_verification_has_to_be_named(program: Program, body: dict[str, str]) -> None:
    found = problem(program.call("POST", "/auth/code/", body), 422, "invalid-fields")
    assert set(found["errors"]) == {"verification_id"}


def test_refresh_gives_a_new_pair_and_spends_the_old(anna: Program) -> None:
    first = anna.tokens["refresh_token"]
    second = anna.result("POST", "/auth/refresh/", {"refresh_token": first})
    assert set(second) == PAIR
    anna.result("POST", "/auth/refresh/", {"refresh_token": second["refresh_token"]})
    problem(anna.call("POST", "/auth/refresh/", {"refresh_token": first}), 401, "not-signed-in")
    assert not anna.is_signed_in()


def test_logout_ends_both_tokens_at_once(anna: Program) -> None:
    answer = anna.call("POST", "/auth/logout/")
    assert (answer.status_code, answer.data) == (204, b"")
    problem(anna.call("GET", "/users/me/"), 401, "not-signed-in")
    problem(anna.call("POST", "/auth/refresh/", {"refresh_token": anna.tokens["refresh_token"]}), 401, "not-signed-in")


def test_only_their_owner_lists_and_ends_sessions(app: Flask, anna: Program, boris: Program) -> None:
    phone = signed_in(app, ANNA)
    found = anna.result("GET", "/auth/sessions/")
    assert [set(session) for session in found] == [
        {"id", "device", "created_at", "refreshed_at", "seen_at", "expires_at", "client", "current"} for _ in range(2)
    ]
    assert sorted(session["current"] for session in found) == [False, True]
    other = next(session["id"] for session in found if not session["current"])
    problem(boris.call("DELETE", f"/auth/sessions/{other}/"), 404, "not-found")
    assert phone.is_signed_in()
    assert anna.call("DELETE", f"/auth/sessions/{other}/").status_code == 204
    assert not phone.is_signed_in()
    problem(anna.call("DELETE", f"/auth/sessions/{other}/"), 404, "not-found")
    phone.sign_in(ANNA)
    assert anna.call("DELETE", "/auth/sessions/").status_code == 204
    assert (phone.is_signed_in(), anna.is_signed_in(), boris.is_signed_in()) == (False, True, True)
