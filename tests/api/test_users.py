"""The calls of one user: who may make them and what they answer, and the activation of invites."""

import json
from datetime import datetime
from urllib.parse import quote

import jwt
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from hammer.parsing.phones import masked
from tests.api.contract import ANNA, BORIS, STAFF, STRANGER, USER, problem, signed_in
from tests.delivery import code_for
from tests.people import Program

ON_ONE_USER = [
    ("GET", "", None),
    ("POST", "", {"first_name": "Иван"}),
    ("PATCH", "", {"first_name": "Иван"}),
    ("PUT", "", {"first_name": "Иван"}),
    ("DELETE", "", None),
    ("GET", "invitees/", None),
]
"""Calls below `/users/{username}/` that the user and staff may make: method, path below, body."""


def test_a_new_user_has_exactly_these_fields(anna: Program) -> None:
    me = anna.result("GET", "/users/me/")
    assert set(me) == USER
    assert datetime.fromisoformat(me.pop("date_joined")).tzinfo is not None
    assert jwt.decode(anna.tokens["access_token"], options={"verify_signature": False})["sub"] == me.pop("id")
    assert me == {
        "username": "",
        "first_name": "",
        "last_name": "",
        "telephone_number": ANNA,
        "invite_code": anna.tokens["invite_code"],
        "invite_code_list": [],
        "activated_invite_code": None,
        "invite_count": 0,
        "metadata": {},
        "blocked_at": None,
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
    anna.result("PATCH", "/users/me/", {"username": "Anna"})
    assert anna.result("GET", f"/users/{quote(spelling)}/")["telephone_number"] == ANNA
    found = staff.result("GET", f"/users/{quote(spelling)}/")["telephone_number"]
    assert found == (STAFF if spelling.lower() == "me" else masked(ANNA))


@pytest.mark.parametrize(("method", "below", "body"), ON_ONE_USER)
@pytest.mark.requirement("AZN-01")
def test_the_user_and_staff_may_and_others_see_nothing(
    anna: Program, boris: Program, staff: Program, method: str, below: str, body: object
) -> None:
    stranger = boris.call(method, f"/users/{ANNA}/{below}", body)
    unknown = boris.call(method, f"/users/{STRANGER}/{below}", body)
    problem(stranger, 404, "not-found")
    assert stranger.data == unknown.data
    expected = 204 if method == "DELETE" else 200
    assert staff.call(method, f"/users/{ANNA}/{below}", body).status_code == expected
    assert boris.call(method, f"/users/me/{below}", body).status_code == expected


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_post_and_patch_change_what_is_sent(anna: Program, method: str) -> None:
    anna.result("PUT", "/users/me/", {"username": "anna", "first_name": "Анна", "last_name": "Петрова"})
    changed = anna.result(method, "/users/me/", {"last_name": "Иванова"})
    assert set(changed) == USER
    assert (changed["username"], changed["first_name"], changed["last_name"]) == ("anna", "Анна", "Иванова")
    assert anna.result(method, "/users/me/", {}) == changed


def test_put_replaces_all_three_names(anna: Program) -> None:
    anna.result("PUT", "/users/me/", {"username": "anna", "first_name": "Анна", "last_name": "Петрова"})
    replaced = anna.result("PUT", "/users/me/", {"first_name": "Аня"})
    assert (replaced["username"], replaced["first_name"], replaced["last_name"]) == ("", "Аня", "")


def test_two_people_may_have_no_username(anna: Program, boris: Program) -> None:
    for person in (anna, boris):
        assert person.result("PUT", "/users/me/", {"username": ""})["username"] == ""


def test_a_username_is_taken_in_any_case(anna: Program, boris: Program) -> None:
    anna.result("PATCH", "/users/me/", {"username": "Anna"})
    problem(boris.call("PATCH", "/users/me/", {"username": "aNNA"}), 409, "username-taken")


@pytest.mark.parametrize(
    "username", ["me", "Me", "1anna", "+79298284301", "анна", "an na", "a" * 31, "anna\x00", "../x", "😀", "ａnna"]
)
def test_a_username_cannot_look_like_a_number_or_be_me(anna: Program, username: str) -> None:
    found = problem(anna.call("PATCH", "/users/me/", {"username": username}), 422, "invalid-fields")
    assert set(found["errors"]) == {"username"}


@pytest.mark.parametrize("field", ["telephone_number", "invite_code", "is_staff", "activated_invite_code", "hat"])
def test_only_names_can_be_changed(anna: Program, field: str) -> None:
    found = problem(anna.call("PATCH", "/users/me/", {field: "x"}), 422, "invalid-fields")
    assert set(found["errors"]) == {field}


@pytest.mark.requirement("PRV-03")
def test_delete_forgets_the_person_and_keeps_the_count(anna: Program, boris: Program, program: Program) -> None:
    boris.result("POST", "/users/me/invite/", {"invite_code": anna.tokens["invite_code"]})
    answer = boris.call("DELETE", "/users/me/")
    assert (answer.status_code, answer.data) == (204, b"")
    problem(boris.call("GET", "/users/me/"), 401, "not-signed-in")
    me = anna.result("GET", "/users/me/")
    assert (me["invite_count"], me["invite_code_list"]) == (1, [])
    assert [invitee["telephone_number"] for invitee in anna.result("GET", "/users/me/invitees/")] == [None]
    program.sign_in(BORIS)
    assert program.tokens["created"] is True


def test_only_staff_create_users(anna: Program, staff: Program) -> None:
    body = {"telephone_number": "8 929 828 43 04", "username": "ivan", "first_name": "Иван"}
    problem(anna.call("POST", "/users/", body), 403, "not-allowed")
    answer = staff.call("POST", "/users/", body)
    assert answer.status_code == 201
    made = answer.json or {}
    assert set(made) == USER
    assert (made["telephone_number"], made["username"], made["first_name"]) == (masked(STRANGER), "ivan", "Иван")
    assert "Иван" in answer.text
    problem(staff.call("POST", "/users/", body), 409, "telephone-number-taken")
    problem(staff.call("POST", "/users/", body | {"telephone_number": "+79298284305"}), 409, "username-taken")
    problem(staff.call("POST", "/users/", {}), 422, "invalid-fields")
    problem(staff.call("POST", "/users/", {"telephone_number": "+74951234567"}), 422, "region-not-served")
    problem(staff.call("POST", "/users/", body | {"is_staff": True}), 422, "invalid-fields")


def test_a_user_created_by_staff_signs_in_as_the_same_user(staff: Program, program: Program) -> None:
    made = staff.result("POST", "/users/", {"telephone_number": STRANGER})
    program.sign_in(STRANGER)
    assert (program.tokens["created"], program.tokens["invite_code"]) == (False, made["invite_code"])


@pytest.mark.requirement("PRV-02")
def test_export_is_everything_about_the_caller(anna: Program, boris: Program) -> None:
    boris.result("POST", "/users/me/invite/", {"invite_code": anna.tokens["invite_code"]})
    found = anna.result("GET", "/users/me/export/")
    assert set(found) == {
        "profile",
        "activated_at",
        "activation_closed",
        "invitees",
        "sessions",
        "consents",
        "second_factors",
        "passkeys",
        "devices",
        "verifications",
        "limits",
        "texts",
        "left_before",
        "events",
    }
    assert set(found["profile"]) == USER | {"is_staff"}
    assert found["profile"]["telephone_number"] == ANNA
    assert BORIS not in json.dumps(found)
    assert [set(invitee) for invitee in found["invitees"]] == [{"telephone_number", "activated_at"}]
    assert len(found["sessions"]) == len(found["verifications"]) == 1


def test_activating_answers_the_user(anna: Program, boris: Program) -> None:
    code = anna.tokens["invite_code"]
    me = boris.result("POST", "/users/me/invite/", {"invite_code": f" {code[:3].lower()}-{code[3:]} "})
    assert set(me) == USER
    assert me["activated_invite_code"] == code
    assert boris.result("POST", f"/users/{BORIS}/invite/", {"invite_code": f"http://localhost:5000/i/{code}"}) == me
    owner = anna.result("GET", "/users/me/")
    assert (owner["invite_count"], owner["invite_code_list"]) == (1, [BORIS])
    invitees = anna.result("GET", "/users/me/invitees/")
    assert [set(invitee) for invitee in invitees] == [{"telephone_number", "activated_at"}]
    assert invitees[0]["telephone_number"] == BORIS


def test_every_refusal_of_an_invite_code_has_its_slug(app: Flask, anna: Program, boris: Program) -> None:
    carla = signed_in(app, STRANGER)
    codes = {person: person.tokens["invite_code"] for person in (anna, boris, carla)}

    def activate(person: Program, code: str) -> TestResponse:
        return person.call("POST", "/users/me/invite/", {"invite_code": code})

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
def test_no_caller_activates_for_another_user(anna: Program, boris: Program, staff: Program) -> None:
    body = {"invite_code": anna.tokens["invite_code"]}
    problem(anna.call("POST", f"/users/{BORIS}/invite/", body), 404, "not-found")
    problem(staff.call("POST", f"/users/{BORIS}/invite/", body), 403, "not-allowed")
    problem(staff.call("POST", f"/users/{STRANGER}/invite/", body), 404, "not-found")
    assert boris.result("GET", "/users/me/")["activated_invite_code"] is None


def test_an_invite_code_can_be_sent_with_the_signup(anna: Program, program: Program) -> None:
    asked = program.result("POST", "/auth/signup/", {"telephone_number": BORIS, "invite_code": anna.tokens["invite_code"]})
    with program.app.app_context():
        code = code_for(program.app.config["SETTINGS"], BORIS)
    program.tokens = program.result("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": code})
    assert program.result("GET", "/users/me/")["activated_invite_code"] == anna.tokens["invite_code"]
