"""The contract of the JSON API, line by line: who may make each call, what it answers, and every problem by its name."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

import config
from hammer import clock
from hammer.api.problems import PROBLEM_JSON
from hammer.db.database import db, transaction
from hammer.models import Referral, User, Verification
from hammer.sms import gateways, outbox
from hammer.users import accounts, people
from tests.delivery import code_for
from tests.people import Browser, Program

ANNA, BORIS, STAFF, STRANGER = "+79298284301", "+79298284302", "+79298284303", "+79298284304"
USER = {
    "username",
    "first_name",
    "last_name",
    "telephone_number",
    "invite_code",
    "invite_code_list",
    "activated_invite_code",
    "invite_count",
    "date_joined",
}
ASKED = {"verification_id", "telephone_number", "code_length", "expires_in", "resend_in"}
PAIR = {"access_token", "refresh_token", "token_type", "expires_in"}
SIGNED_IN = PAIR | {"Ваш токен", "Ваш инвайт код", "invite_code", "created", "device_token"}
SIGNED_IN_ONLY = [
    ("POST", "/auth/logout/"),
    ("GET", "/auth/sessions/"),
    ("DELETE", "/auth/sessions/"),
    ("DELETE", "/auth/sessions/{session}/"),
    ("GET", "/users/"),
    ("POST", "/users/"),
    ("GET", "/users/me/"),
    ("POST", "/users/me/"),
    ("PATCH", "/users/me/"),
    ("PUT", "/users/me/"),
    ("DELETE", "/users/me/"),
    ("POST", "/users/me/invite/"),
    ("GET", "/users/me/invitees/"),
    ("GET", "/users/me/export/"),
]
OF_ONE_USER = [
    ("GET", "", None),
    ("POST", "", {"first_name": "Иван"}),
    ("PATCH", "", {"first_name": "Иван"}),
    ("PUT", "", {"first_name": "Иван"}),
    ("DELETE", "", None),
    ("GET", "invitees/", None),
]
"""Calls below `/users/{username}/` that oneself and staff may make."""


def signed_in(app: Flask, telephone_number: str) -> Program:
    somebody = Program(app)
    somebody.sign_in(telephone_number)
    return somebody


@pytest.fixture
def anna(app: Flask) -> Program:
    return signed_in(app, ANNA)


@pytest.fixture
def boris(app: Flask) -> Program:
    return signed_in(app, BORIS)


@pytest.fixture
def staff(app: Flask) -> Program:
    somebody = signed_in(app, STAFF)
    with app.app_context():
        accounts.set_staff(people.find(app.config["SETTINGS"], STAFF), True)
    return somebody


@pytest.fixture
def demo(settings: config.Settings, app_with: Callable[[config.Settings], Flask]) -> Program:
    """Somebody before an application in demo mode, where nothing has to wait."""
    return Program(app_with(replace(settings, demo=True, resend_wait=timedelta(0), sends_per_number_day=100)))


def problem(answer: TestResponse, status: int, slug: str) -> Any:
    """The problem document of `answer`, which is one through and through."""
    assert (answer.status_code, answer.mimetype) == (status, PROBLEM_JSON), answer.text
    body = answer.json
    assert body is not None
    assert body["type"].rpartition("/")[2] == slug, body
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert set(body) <= {"type", "title", "status", "detail", "errors", "attempts_left", "retry_after"}
    assert r"\u" not in answer.text
    return body


def others_code(code: str) -> str:
    """A wrong code of the same length."""
    return str((int(code) + 1) % 10 ** len(code)).zfill(len(code))


def ask(somebody: Program, telephone_number: str) -> tuple[str, str]:
    """A new verification: its id and its code, from the text."""
    asked = somebody.told("POST", "/auth/signup/", {"telephone_number": telephone_number})
    with somebody.app.app_context():
        return asked["verification_id"], code_for(somebody.app.config["SETTINGS"], asked["telephone_number"])


# -- signing in ---------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("OTP-06")
def test_signup_answers_what_somebody_who_waits_should_know(program: Program) -> None:
    answer = program.call("POST", "/auth/signup/", {"telephone_number": "8 (929) 828-43-01"})
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    asked = answer.json
    assert asked is not None
    assert set(asked) == ASKED
    assert (asked["telephone_number"], asked["code_length"], asked["expires_in"], asked["resend_in"]) == (ANNA, 4, 300, 60)
    assert re.fullmatch(r"[\w-]{22}", asked["verification_id"])


@pytest.mark.parametrize("name", ["username", "phone"])
def test_the_number_has_two_older_names(program: Program, name: str) -> None:
    assert program.told("POST", "/auth/signup/", {name: ANNA})["telephone_number"] == ANNA


def test_two_names_of_the_number_at_once_are_one_too_many(program: Program) -> None:
    answer = program.call("POST", "/auth/signup/", {"telephone_number": ANNA, "phone": BORIS})
    assert set(problem(answer, 422, "invalid-fields")["errors"]) == {"phone"}


def test_demo_mode_alone_shows_the_code(demo: Program) -> None:
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
    told = [{name: value for name, value in answer.headers if name not in ("X-Request-ID", "RateLimit")} for answer in answers]
    assert told[0] == told[1]  # `RateLimit` counts texts that were asked for, by whomever, and knows no users
    assert work[0] == work[1]


def test_resend_answers_as_signup_with_the_same_code(program: Program, clock: time_machine.Traveller) -> None:
    verification, code = ask(program, ANNA)
    refused = program.call("POST", "/auth/resend/", {"verification_id": verification})
    assert problem(refused, 429, "too-many-requests")["retry_after"] == 60
    assert refused.headers["Retry-After"] == "60"
    clock.shift(60)
    again = program.told("POST", "/auth/resend/", {"verification_id": verification})
    assert set(again) == ASKED
    assert (again["verification_id"], again["expires_in"], again["resend_in"]) == (verification, 240, 120)
    with program.app.app_context():
        assert code_for(program.app.config["SETTINGS"], ANNA) == code


def test_resend_of_what_never_was_is_not_found(program: Program) -> None:
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


def test_a_second_login_is_no_second_user(anna: Program, program: Program) -> None:
    program.sign_in("8 929 828 43 01")
    assert program.tokens["created"] is False
    assert program.tokens["invite_code"] == anna.tokens["invite_code"]


@pytest.mark.requirement("OTP-05")
def test_a_wrong_expired_spent_or_unknown_code_is_one_answer(program: Program, clock: time_machine.Traveller) -> None:
    verification, code = ask(program, ANNA)
    tried = program.call("POST", "/auth/code/", {"verification_id": verification, "code": others_code(code)})
    assert problem(tried, 401, "wrong-code")["attempts_left"] == 2
    program.told("POST", "/auth/code/", {"verification_id": verification, "code": code})
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
        tried = program.call("POST", "/auth/code/", {"verification_id": verification, "code": others_code(code)})
        left.append(problem(tried, 401, "wrong-code")["attempts_left"])
    assert left == [2, 1, 0]
    problem(program.call("POST", "/auth/code/", {"verification_id": verification, "code": code}), 401, "wrong-code")


@pytest.mark.requirement("OTP-07")
def test_what_is_no_string_of_digits_is_refused_before_it_is_compared(
    program: Program, app: Flask, code_for: Callable[[str], str]
) -> None:
    asked = program.told("POST", "/auth/signup/", {"telephone_number": ANNA})
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
    assert program.told("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": code})["created"]


def test_in_demo_mode_the_code_alone_or_the_number_will_do(demo: Program) -> None:
    for name in ("telephone_number", "username", "phone"):
        code = demo.told("POST", "/auth/signup/", {name: ANNA})["Ваш код активации"]
        assert set(demo.told("POST", "/auth/code/", {name: "8 929 828-43-01", "code": code})) == SIGNED_IN
    code = demo.told("POST", "/auth/signup/", {"telephone_number": BORIS})["Ваш код активации"]
    assert set(demo.told("POST", "/auth/code/", {"code": code})) == SIGNED_IN
    problem(demo.call("POST", "/auth/code/", {"code": code}), 401, "wrong-code")


def test_in_demo_mode_a_code_that_two_have_is_nobodys(demo: Program) -> None:
    seen: dict[str, str] = {}
    for number in (f"+7929{place:07}" for place in range(1500)):
        code = demo.told("POST", "/auth/signup/", {"telephone_number": number})["Ваш код активации"]
        if code in seen:
            problem(demo.call("POST", "/auth/code/", {"code": code}), 401, "wrong-code")
            assert set(demo.told("POST", "/auth/code/", {"telephone_number": number, "code": code})) == SIGNED_IN
            return
        seen[code] = number
    pytest.fail("1500 codes of four digits, and no two the same.")


@pytest.mark.parametrize("body", [{"code": "1234"}, {"telephone_number": ANNA, "code": "1234"}])
def test_outside_demo_mode_the_verification_has_to_be_named(program: Program, body: dict[str, str]) -> None:
    found = problem(program.call("POST", "/auth/code/", body), 422, "invalid-fields")
    assert set(found["errors"]) == {"verification_id"}


def test_refresh_gives_a_new_pair_and_spends_the_old(anna: Program) -> None:
    first = anna.tokens["refresh_token"]
    second = anna.told("POST", "/auth/refresh/", {"refresh_token": first})
    assert set(second) == PAIR
    anna.told("POST", "/auth/refresh/", {"refresh_token": second["refresh_token"]})
    problem(anna.call("POST", "/auth/refresh/", {"refresh_token": first}), 401, "not-signed-in")
    assert not anna.is_signed_in()


def test_logout_kills_both_tokens_at_once(anna: Program) -> None:
    answer = anna.call("POST", "/auth/logout/")
    assert (answer.status_code, answer.data) == (204, b"")
    problem(anna.call("GET", "/users/me/"), 401, "not-signed-in")
    problem(anna.call("POST", "/auth/refresh/", {"refresh_token": anna.tokens["refresh_token"]}), 401, "not-signed-in")


def test_sessions_are_listed_and_ended_by_their_owner_alone(app: Flask, anna: Program, boris: Program) -> None:
    phone = signed_in(app, ANNA)
    found = anna.told("GET", "/auth/sessions/")
    assert [set(session) for session in found] == [
        {"id", "device", "created_at", "refreshed_at", "seen_at", "expires_at", "current"} for _ in range(2)
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


# -- users --------------------------------------------------------------------------------------------------------------------


def test_a_fresh_user_has_exactly_these_fields(anna: Program) -> None:
    me = anna.told("GET", "/users/me/")
    assert set(me) == USER
    assert datetime.fromisoformat(me.pop("date_joined")).tzinfo is not None
    assert me == {
        "username": "",
        "first_name": "",
        "last_name": "",
        "telephone_number": ANNA,
        "invite_code": anna.tokens["invite_code"],
        "invite_code_list": [],
        "activated_invite_code": None,
        "invite_count": 0,
    }


SPELLINGS = [
    "+79298284301",
    "89298284301",
    "79298284301",
    "8 (929) 828-43-01",
    "+7 929 828 43 01",
    "9298284301",
    "me",
    "ME",
    "anna",
    "Anna",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_path_takes_me_a_username_or_a_number_in_any_spelling(anna: Program, staff: Program, spelling: str) -> None:
    anna.told("PATCH", "/users/me/", {"username": "Anna"})
    assert anna.told("GET", f"/users/{quote(spelling)}/")["telephone_number"] == ANNA
    assert staff.told("GET", f"/users/{quote(spelling)}/")["telephone_number"] == (STAFF if spelling.lower() == "me" else ANNA)


@pytest.mark.parametrize(("method", "below", "body"), OF_ONE_USER)
@pytest.mark.requirement("AZN-01")
def test_oneself_and_staff_may_and_strangers_see_nothing(
    anna: Program, boris: Program, staff: Program, method: str, below: str, body: object
) -> None:
    stranger = boris.call(method, f"/users/{ANNA}/{below}", body)
    nobody = boris.call(method, f"/users/{STRANGER}/{below}", body)
    problem(stranger, 404, "not-found")
    assert stranger.data == nobody.data
    expected = 204 if method == "DELETE" else 200
    assert staff.call(method, f"/users/{ANNA}/{below}", body).status_code == expected
    assert boris.call(method, f"/users/me/{below}", body).status_code == expected


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_post_and_patch_change_what_is_sent(anna: Program, method: str) -> None:
    anna.told("PUT", "/users/me/", {"username": "anna", "first_name": "Анна", "last_name": "Петрова"})
    changed = anna.told(method, "/users/me/", {"last_name": "Иванова"})
    assert set(changed) == USER
    assert (changed["username"], changed["first_name"], changed["last_name"]) == ("anna", "Анна", "Иванова")
    assert anna.told(method, "/users/me/", {}) == changed


def test_put_replaces_all_three_names(anna: Program) -> None:
    anna.told("PUT", "/users/me/", {"username": "anna", "first_name": "Анна", "last_name": "Петрова"})
    replaced = anna.told("PUT", "/users/me/", {"first_name": "Аня"})
    assert (replaced["username"], replaced["first_name"], replaced["last_name"]) == ("", "Аня", "")


def test_two_people_may_have_no_username(anna: Program, boris: Program) -> None:
    for somebody in (anna, boris):
        assert somebody.told("PUT", "/users/me/", {"username": ""})["username"] == ""


def test_a_username_is_taken_whatever_its_case(anna: Program, boris: Program) -> None:
    anna.told("PATCH", "/users/me/", {"username": "Anna"})
    problem(boris.call("PATCH", "/users/me/", {"username": "aNNA"}), 409, "username-taken")


@pytest.mark.parametrize(
    "username", ["me", "Me", "1anna", "+79298284301", "анна", "an na", "a" * 31, "anna\x00", "../x", "😀", "ａnna"]
)
def test_a_username_never_reads_as_a_number_or_as_me(anna: Program, username: str) -> None:
    found = problem(anna.call("PATCH", "/users/me/", {"username": username}), 422, "invalid-fields")
    assert set(found["errors"]) == {"username"}


@pytest.mark.parametrize("field", ["telephone_number", "invite_code", "is_staff", "activated_invite_code", "hat"])
def test_nothing_but_names_can_be_changed(anna: Program, field: str) -> None:
    found = problem(anna.call("PATCH", "/users/me/", {field: "x"}), 422, "invalid-fields")
    assert set(found["errors"]) == {field}


@pytest.mark.requirement("PRV-03")
def test_delete_forgets_the_person_and_keeps_the_count(anna: Program, boris: Program, program: Program) -> None:
    boris.told("POST", "/users/me/invite/", {"invite_code": anna.tokens["invite_code"]})
    answer = boris.call("DELETE", "/users/me/")
    assert (answer.status_code, answer.data) == (204, b"")
    problem(boris.call("GET", "/users/me/"), 401, "not-signed-in")
    me = anna.told("GET", "/users/me/")
    assert (me["invite_count"], me["invite_code_list"]) == (1, [])
    assert [invitee["telephone_number"] for invitee in anna.told("GET", "/users/me/invitees/")] == [None]
    program.sign_in(BORIS)
    assert program.tokens["created"] is True


def test_staff_make_users_by_hand_and_nobody_else_does(anna: Program, staff: Program) -> None:
    body = {"telephone_number": "8 929 828 43 04", "username": "ivan", "first_name": "Иван"}
    problem(anna.call("POST", "/users/", body), 403, "not-allowed")
    answer = staff.call("POST", "/users/", body)
    assert answer.status_code == 201
    made = answer.json or {}
    assert set(made) == USER
    assert (made["telephone_number"], made["username"], made["first_name"]) == (STRANGER, "ivan", "Иван")
    assert "Иван" in answer.text
    problem(staff.call("POST", "/users/", body), 409, "telephone-number-taken")
    problem(staff.call("POST", "/users/", body | {"telephone_number": "+79298284305"}), 409, "username-taken")
    problem(staff.call("POST", "/users/", {}), 422, "invalid-fields")
    problem(staff.call("POST", "/users/", {"telephone_number": "+74951234567"}), 422, "region-not-served")
    problem(staff.call("POST", "/users/", body | {"is_staff": True}), 422, "invalid-fields")


def test_a_user_made_by_hand_signs_in_as_the_same_user(staff: Program, program: Program) -> None:
    made = staff.told("POST", "/users/", {"telephone_number": STRANGER})
    program.sign_in(STRANGER)
    assert (program.tokens["created"], program.tokens["invite_code"]) == (False, made["invite_code"])


@pytest.mark.requirement("PRV-02")
def test_export_is_everything_about_the_caller(anna: Program, boris: Program) -> None:
    boris.told("POST", "/users/me/invite/", {"invite_code": anna.tokens["invite_code"]})
    found = anna.told("GET", "/users/me/export/")
    assert set(found) == {
        "profile",
        "activated_at",
        "invitees",
        "sessions",
        "devices",
        "verifications",
        "limits",
        "texts",
        "left_before",
        "events",
    }
    assert set(found["profile"]) == USER | {"id", "is_staff", "blocked_at"}
    assert found["profile"]["telephone_number"] == ANNA
    assert BORIS not in json.dumps(found)
    assert [set(invitee) for invitee in found["invitees"]] == [{"telephone_number", "activated_at"}]
    assert len(found["sessions"]) == len(found["verifications"]) == 1


# -- invites ------------------------------------------------------------------------------------------------------------------


def test_activating_answers_the_user(anna: Program, boris: Program) -> None:
    code = anna.tokens["invite_code"]
    me = boris.told("POST", "/users/me/invite/", {"invite_code": f" {code[:3].lower()}-{code[3:]} "})
    assert set(me) == USER
    assert me["activated_invite_code"] == code
    assert boris.told("POST", f"/users/{BORIS}/invite/", {"invite_code": f"http://127.0.0.1:5000/i/{code}"}) == me
    owner = anna.told("GET", "/users/me/")
    assert (owner["invite_count"], owner["invite_code_list"]) == (1, [BORIS])
    invitees = anna.told("GET", "/users/me/invitees/")
    assert [set(invitee) for invitee in invitees] == [{"telephone_number", "activated_at"}]
    assert invitees[0]["telephone_number"] == BORIS


def test_every_refusal_of_an_invite_has_its_name(app: Flask, anna: Program, boris: Program) -> None:
    carla = signed_in(app, STRANGER)
    codes = {somebody: somebody.tokens["invite_code"] for somebody in (anna, boris, carla)}

    def activate(somebody: Program, code: str) -> TestResponse:
        return somebody.call("POST", "/users/me/invite/", {"invite_code": code})

    problem(activate(anna, codes[anna]), 422, "own-invite")
    problem(activate(anna, "000000"), 422, "unknown-invite")
    assert set(problem(activate(anna, "not a code"), 422, "invalid-fields")["errors"]) == {"invite_code"}
    assert activate(boris, codes[anna]).status_code == 200
    assert activate(carla, codes[boris]).status_code == 200
    problem(activate(anna, codes[boris]), 422, "invite-loop")
    problem(activate(anna, codes[carla]), 422, "invite-loop")
    problem(activate(boris, codes[carla]), 409, "already-activated")
    problem(activate(boris, "000000"), 409, "already-activated")
    problem(activate(boris, codes[boris]), 409, "already-activated")
    assert activate(boris, codes[anna]).status_code == 200


@pytest.mark.requirement("AZN-01")
def test_nobody_activates_for_another(anna: Program, boris: Program, staff: Program) -> None:
    body = {"invite_code": anna.tokens["invite_code"]}
    problem(anna.call("POST", f"/users/{BORIS}/invite/", body), 404, "not-found")
    problem(staff.call("POST", f"/users/{BORIS}/invite/", body), 403, "not-allowed")
    problem(staff.call("POST", f"/users/{STRANGER}/invite/", body), 404, "not-found")
    assert boris.told("GET", "/users/me/")["activated_invite_code"] is None


def test_an_invite_code_may_come_along_with_the_signup(anna: Program, program: Program) -> None:
    asked = program.told("POST", "/auth/signup/", {"telephone_number": BORIS, "invite_code": anna.tokens["invite_code"]})
    with program.app.app_context():
        code = code_for(program.app.config["SETTINGS"], BORIS)
    program.tokens = program.told("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": code})
    assert program.told("GET", "/users/me/")["activated_invite_code"] == anna.tokens["invite_code"]


# -- lists --------------------------------------------------------------------------------------------------------------------


def invite_many(app: Flask, owner: str, count: int) -> list[str]:
    """Makes people who activated the owner's code, some of them at the same moment; their numbers, newest first."""
    numbers = [f"+7930{place:07}" for place in range(count)]
    began = clock.now() - timedelta(days=1)
    with app.app_context(), transaction() as tx:
        referrer = tx.scalars(select(User).where(User.telephone_number == owner)).one()
        for place, number in enumerate(numbers):
            moment = began + timedelta(seconds=place // 3)
            referee = User(
                id=f"{place:022}",
                telephone_number=number,
                invite_code=f"{place:06}",
                first_name="",
                last_name="",
                date_joined=moment,
            )
            tx.add(referee)
            tx.flush()
            tx.add(Referral(referee_id=referee.id, referrer_id=referrer.id, activated_at=moment))
        referrer.invite_count += count
    return numbers[::-1]


def pages(somebody: Program, path: str) -> Iterator[list[Any]]:
    """Each page of a list, by the `Link` of the one before."""
    for _ in range(50):
        answer = somebody.call("GET", path)
        assert answer.status_code == 200, answer.text
        yield answer.json or []
        link = answer.headers.get("Link")
        if link is None:
            return
        found = re.fullmatch(r'<(.+)>; rel="next"', link)
        assert found is not None, link
        path = found[1].removeprefix("/api/v1")
    raise AssertionError("The list does not end.")


@pytest.mark.parametrize("limit", [1, 7, 12, 24, 25, 100])
def test_pages_of_invitees_have_no_gap_and_no_repetition(app: Flask, anna: Program, limit: int) -> None:
    numbers = invite_many(app, ANNA, 24)
    found = list(pages(anna, f"/users/me/invitees/?limit={limit}"))
    assert [invitee["telephone_number"] for page in found for invitee in page] == numbers
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


def test_pages_of_users_have_no_gap_and_no_repetition(app: Flask, anna: Program, staff: Program) -> None:
    numbers = invite_many(app, ANNA, 24)[::-1]
    found = [user["telephone_number"] for page in pages(staff, "/users/?limit=7") for user in page]
    assert found == [*numbers, ANNA, STAFF]
    assert all(set(user) == USER for user in staff.told("GET", "/users/"))
    searched = [user["telephone_number"] for page in pages(staff, "/users/?limit=5&q=7930") for user in page]
    assert searched == numbers


def test_staff_see_what_became_of_each_text_and_never_its_code(app: Flask, anna: Program, staff: Program) -> None:
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], code_length=8)  # so many digits stand in no moment by chance
    anna.told("POST", "/auth/signup/", {"telephone_number": BORIS})
    with app.app_context():
        code = code_for(app.config["SETTINGS"], BORIS)

    told = staff.call("GET", "/texts/")

    newest, *_ = told.json or []
    assert newest.keys() == {"id", "telephone_number", "state", "gateway", "tries", "asked_at", "ended_at"}
    assert newest["telephone_number"] == BORIS[:2] + "········" + BORIS[-2:]
    assert (newest["state"], newest["gateway"], newest["tries"]) == ("sent", "memory/1", 1)
    assert code not in told.text
    problem(anna.call("GET", "/texts/"), 403, "not-allowed")


def test_pages_of_texts_have_no_gap_and_no_repetition(app: Flask, staff: Program) -> None:
    with app.app_context(), transaction() as session:
        for _ in range(24):
            outbox.add_notice(session, ANNA, "en")
    found = [text["id"] for page in pages(staff, "/texts/?limit=7") for text in page]
    assert found == sorted(set(found), reverse=True)
    assert len(found) == 25
    for after in ("banana", "-1", "1.5", "9" * 19, "٣"):
        problem(staff.call("GET", f"/texts/?after={quote(after)}"), 422, "invalid-fields")
    assert len(staff.call("GET", f"/texts/?after={'9' * 18}").get_json()) == 25


def test_a_page_holds_a_hundred_at_most(app: Flask, anna: Program, staff: Program) -> None:
    invite_many(app, ANNA, 110)
    assert len(anna.told("GET", "/users/me/invitees/")) == 100
    assert len(staff.told("GET", "/users/")) == 100
    me = anna.told("GET", "/users/me/")
    assert (len(me["invite_code_list"]), me["invite_count"]) == (100, 110)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5", "１", "1e1", "9" * 400, "%00", "1_0", " "])
def test_a_limit_is_a_whole_number_from_1_to_100(staff: Program, limit: str) -> None:
    for path in ("/users/", "/users/me/invitees/"):
        found = problem(staff.call("GET", f"{path}?limit={limit}"), 422, "invalid-fields")
        assert set(found["errors"]) == {"limit"}


@pytest.mark.parametrize("after", ["x", "0", "1.x", "1" * 18 + "." + "A" * 22, "%00", "%ff", "1." + "A" * 23, "-1." + "A" * 22])
def test_a_place_that_we_never_gave_is_refused(staff: Program, after: str) -> None:
    for path in ("/users/", "/users/me/invitees/"):
        answer = staff.call("GET", f"{path}?after={after}")
        assert set(problem(answer, 422, "invalid-fields")["errors"]) == {"after"}


def test_users_shows_everybody_to_staff_and_oneself_to_others(anna: Program, boris: Program, staff: Program) -> None:
    assert [user["telephone_number"] for user in anna.told("GET", "/users/")] == [ANNA]
    assert [user["telephone_number"] for user in anna.told("GET", f"/users/?q={quote(BORIS)}")] in ([], [ANNA])
    assert {user["telephone_number"] for user in staff.told("GET", "/users/")} == {ANNA, BORIS, STAFF}


@pytest.mark.parametrize(
    "q", ["+79298284301", "8 929 828-43-01", "828-43-01", "АННА", "анна", "ивАн", "анна иван", "anna", "ANNA_"]
)
def test_staff_search_by_number_and_name_in_any_case(anna: Program, boris: Program, staff: Program, q: str) -> None:
    anna.told("PUT", "/users/me/", {"username": "Anna_1", "first_name": "Анна", "last_name": "Иванова"})
    assert [user["telephone_number"] for user in staff.told("GET", f"/users/?q={quote(q)}")] == [ANNA]


def test_staff_search_by_invite_code(anna: Program, boris: Program, staff: Program) -> None:
    code = anna.tokens["invite_code"].lower()
    assert [user["telephone_number"] for user in staff.told("GET", f"/users/?q={code[:3]}-{code[3:]}")] == [ANNA]


@pytest.mark.parametrize("q", ["нет такого", "%25", "_", "100%25", "%ff", "😀", "\\", "' or 1=1 --", "x" * 5000])
def test_a_search_that_finds_nobody_answers_nobody(anna: Program, staff: Program, q: str) -> None:
    assert staff.told("GET", f"/users/?q={q}") == []


def test_a_search_for_what_is_no_text_is_refused(staff: Program) -> None:
    assert set(problem(staff.call("GET", "/users/?q=%00"), 422, "invalid-fields")["errors"]) == {"q"}


# -- who is calling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), SIGNED_IN_ONLY)
def test_nobody_gets_in_without_a_bearer(program: Program, method: str, path: str) -> None:
    answer = program.call(method, path.format(session="A" * 22), {} if method in ("POST", "PUT", "PATCH") else None)
    problem(answer, 401, "not-signed-in")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.requirement("WEB-02")
def test_a_cookie_opens_no_call(app: Flask) -> None:
    browser = Browser(app)
    browser.sign_in(ANNA)
    assert browser.is_signed_in()
    problem(browser.client.get("/api/v1/users/me/"), 401, "not-signed-in")


GARBLED = {
    "unsigned": "Bearer {0}.{1}.",
    "half": "Bearer {0}.{1}",
    "another scheme": "Basic {0}.{1}.{2}",
    "no scheme": "{0}.{1}.{2}",
    "two tokens": "Bearer {0}.{1}.{2} {0}.{1}.{2}",
    "two headers": "Bearer {0}.{1}.{2}, Bearer {0}.{1}.{2}",
    "8 kB": "Bearer " + "a" * 8192,
    "not ASCII": "Bearer ключ",
}
RUBBISH = ["", "Bearer", "Bearer ", "Bearer a.b.c", "Bearer \xff\xfe", "bearer", "Bearer ..", "Bearer null", "=" * 50]


@pytest.mark.parametrize("how", [*GARBLED, *RUBBISH])
def test_no_garbled_token_gets_in(anna: Program, how: str) -> None:
    header = GARBLED.get(how, how).format(*anna.tokens["access_token"].split(".")).encode().decode("latin-1")
    answer = anna.call("GET", "/users/me/", Authorization=header)
    problem(answer, 401, "not-signed-in")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_ends_after_its_time(anna: Program) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=900 + 31)):
        problem(anna.call("GET", "/users/me/"), 401, "not-signed-in")


# -- problems -----------------------------------------------------------------------------------------------------------------

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
def test_another_kind_of_body_is_415(client: FlaskClient, anna: Program, kind: str) -> None:
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


def test_the_day_has_so_many_texts_to_one_number(program: Program, clock: time_machine.Traveller) -> None:
    for _ in range(5):
        program.told("POST", "/auth/signup/", {"telephone_number": ANNA})
        clock.shift(700)
    answer = program.call("POST", "/auth/signup/", {"telephone_number": "8 929 8284301"})
    found = problem(answer, 429, "too-many-requests")
    assert answer.headers["Retry-After"] == str(found["retry_after"])
    assert 80_000 < found["retry_after"] <= 86_400


def test_a_blocked_user_is_told_so_once_the_code_is_right(app: Flask, anna: Program, program: Program) -> None:
    with app.app_context():
        accounts.set_blocked(people.find(app.config["SETTINGS"], ANNA), True)
    assert not anna.is_signed_in()
    verification, code = ask(program, ANNA)
    problem(program.call("POST", "/auth/code/", {"verification_id": verification, "code": others_code(code)}), 401, "wrong-code")
    problem(program.call("POST", "/auth/code/", {"verification_id": verification, "code": code}), 403, "not-allowed")


@pytest.mark.requirement("API-04")
def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient) -> None:
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


# -- rubbish ------------------------------------------------------------------------------------------------------------------

WRONG_TYPES = [1, 1.5, True, None, [], {}, ["x"], {"x": 1}, 10**30]
STRANGE_TEXTS = {
    "nothing": "",
    "blank": "  ",
    "nul": "\x00",
    "nul inside": "+7929828\x004301",
    "full-width digits": "１２３４",
    "full-width number": "＋７９２９８２８４３０１",
    "arabic digits": "١٢٣٤",
    "emoji": "😀",
    "10 kB": "9" * 10_000,
    "brackets": "(" * 4000,
    "path": "../../etc/passwd",
    "me": "me",
    "markup": "<script>alert(1)</script>",
    "sql": "' or 1=1 --",
    "rtl": "\u202e1234",
    "format": "%(x)s {x} %s",
    "extension": "+79298284301;ext=5",
}
OTHER_DIGITS = ("full-width digits", "arabic digits")
"""They are digits like ours: a wrong code in them is a guess."""
BODIES = [
    ("POST", "/auth/signup/", ("telephone_number", "username", "phone", "invite_code")),
    ("POST", "/auth/resend/", ("verification_id",)),
    ("POST", "/auth/code/", ("verification_id", "code", "telephone_number")),
    ("POST", "/auth/refresh/", ("refresh_token",)),
    ("POST", "/users/", ("telephone_number", "username", "first_name", "last_name")),
    ("POST", "/users/me/", ("username", "first_name", "last_name")),
    ("PATCH", "/users/me/", ("username", "first_name", "last_name")),
    ("PUT", "/users/me/", ("username", "first_name", "last_name")),
    ("POST", "/users/me/invite/", ("invite_code",)),
]
GOOD = {
    "telephone_number": "+79298284399",
    "username": "ivan",
    "phone": "+79298284399",
    "code": "1234",
    "verification_id": "A" * 22,
    "refresh_token": "x",
    "invite_code": "Q9UK59",
    "first_name": "Иван",
    "last_name": "Петров",
}
FIELDS = [(method, path, field, fields) for method, path, fields in BODIES for field in fields]


def body_with(field: str, fields: tuple[str, ...], value: object) -> dict[str, object]:
    names = {"telephone_number", "username", "phone"} if "phone" in fields and field != "invite_code" else {"username", "phone"}
    return {name: GOOD[name] for name in fields if name not in names} | {field: value}


@pytest.mark.parametrize(("method", "path", "field", "fields"), FIELDS)
def test_every_wrong_type_in_every_field_is_an_invalid_field(
    staff: Program, method: str, path: str, field: str, fields: tuple[str, ...]
) -> None:
    shown = "telephone_number" if "phone" in fields and field in ("username", "phone") else field
    for value in WRONG_TYPES:
        answer = staff.call(method, path, body_with(field, fields, value))
        assert set(problem(answer, 422, "invalid-fields")["errors"]) == {shown}, value


@pytest.mark.parametrize(("method", "path", "field", "fields"), FIELDS)
def test_no_strange_text_in_any_field_is_a_fault_of_ours(
    staff: Program, demo: Program, method: str, path: str, field: str, fields: tuple[str, ...]
) -> None:
    for name, value in STRANGE_TEXTS.items():
        for somebody in (staff, demo):
            answer = somebody.call(method, path, body_with(field, fields, value))
            assert answer.status_code < 500, name
            if answer.status_code >= 400:
                problem(answer, answer.status_code, answer.json["type"].rpartition("/")[2])  # type: ignore[index]
            elif field not in ("first_name", "last_name"):
                assert value in ("", "  ", "me", "+79298284301;ext=5", "＋７９２９８２８４３０１"), (name, answer.text)


@pytest.mark.parametrize(("method", "path", "field", "fields"), [*FIELDS, ("POST", "/auth/signup/", "\ud800", ("invite_code",))])
def test_half_a_character_is_no_json(staff: Program, method: str, path: str, field: str, fields: tuple[str, ...]) -> None:
    body = json.dumps(body_with(field, fields, "\ud800"))
    headers = {"Authorization": f"Bearer {staff.tokens['access_token']}"}
    answer = staff.client.open(f"/api/v1{path}", method=method, data=body, content_type="application/json", headers=headers)
    problem(answer, 400, "invalid-request")


@pytest.mark.parametrize("text", [name for name in STRANGE_TEXTS if name not in ("nothing", "blank", *OTHER_DIGITS)])
def test_a_code_that_is_no_digits_takes_no_guess(program: Program, text: str) -> None:
    verification, code = ask(program, ANNA)
    for _ in range(4):
        answer = program.call("POST", "/auth/code/", {"verification_id": verification, "code": STRANGE_TEXTS[text]})
        assert set(problem(answer, 422, "invalid-fields")["errors"]) == {"code"}
    program.told("POST", "/auth/code/", {"verification_id": verification, "code": f"{code[:2]} {code[2:]}"})


def test_a_key_that_comes_twice_is_at_most_one_guess(client: FlaskClient, program: Program) -> None:
    verification, code = ask(program, ANNA)
    wrong = others_code(code)
    raw = f'{{"verification_id": "{verification}", "code": "{code}", "code": "{wrong}"}}'
    answer = client.post("/api/v1/auth/code/", data=raw, content_type="application/json")
    if answer.status_code == 401:
        assert problem(answer, 401, "wrong-code")["attempts_left"] == 2
    else:
        problem(answer, 400, "invalid-request")


@pytest.mark.parametrize(
    "part", ["%00", "%ff", "%F0%9F%98%80", "a" * 5000, "9" * 5000, "+", "%2B", "..", "%2e%2e", "a%2fb", "'", "%0a"]
)
def test_no_strange_path_is_a_fault_of_ours(anna: Program, staff: Program, part: str) -> None:
    for somebody in (anna, staff):
        for method, end in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "invitees/"), ("POST", "invite/")):
            body = {"invite_code": "Q9UK59"} if end == "invite/" else {} if method == "PATCH" else None
            problem(somebody.call(method, f"/users/{part}/{end}", body), 404, "not-found")
        problem(somebody.call("DELETE", f"/auth/sessions/{part}/"), 404, "not-found")


def test_deep_nesting_is_an_invalid_field(program: Program) -> None:
    raw = '{"telephone_number": ' + "[" * 900 + "]" * 900 + "}"
    answer = program.client.post("/api/v1/auth/signup/", data=raw, content_type="application/json")
    problem(answer, 422, "invalid-fields")


# -- nothing changes by looking -----------------------------------------------------------------------------------------------


def all_rows(app: Flask) -> dict[str, list[str]]:
    with app.app_context():
        return {table.name: sorted(repr(row) for row in db.session.execute(select(table))) for table in db.metadata.sorted_tables}


def test_no_get_of_any_route_changes_anything(app: Flask, anna: Program, boris: Program, staff: Program) -> None:
    browser = Browser(app)
    browser.sign_in(ANNA)
    boris.told("POST", "/users/me/invite/", {"invite_code": anna.tokens["invite_code"]})
    session = anna.told("GET", "/auth/sessions/")[0]["id"]
    ask(Program(app), STRANGER)
    values = {
        "username": [ANNA, "me", STRANGER],
        "session_id": [session],
        "invite_code": [anna.tokens["invite_code"], boris.tokens["invite_code"], "000000"],
        "name": ["redoc.js"],
        "filename": ["hammer.css"],
    }
    addresses = {"/i/", "/nothing/", "/?lang=en"}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            (argument, *more) = [*rule.arguments, ""]
            assert more in ([], [""]), "A route with two arguments: give this test both."
            with app.test_request_context():
                addresses |= {
                    app.url_for(rule.endpoint, **({argument: value} if argument else {})) for value in values.get(argument, [""])
                }
    before = all_rows(app)
    del before["events"]  # who looked at what may be noted
    assert sum(map(len, before.values())) > 10
    callers: list[tuple[FlaskClient, dict[str, str]]] = [(app.test_client(), {}), (browser.client, {})]
    callers += [(somebody.client, {"Authorization": f"Bearer {somebody.tokens['access_token']}"}) for somebody in (anna, staff)]
    assert len(addresses) > 20
    for client, headers in callers:
        for address in sorted(addresses):
            for method in ("GET", "HEAD"):
                with client.open(address, method=method, headers=headers) as answer:
                    assert answer.status_code < 500, address
    after = all_rows(app)
    del after["events"]
    assert after == before
