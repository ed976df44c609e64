"""What the contract of the JSON API names, and checks that most of its tests need."""

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from hammer.api.problems import PROBLEM_JSON
from tests.delivery import code_for
from tests.people import Program

ANNA, BORIS, STAFF, STRANGER = "+79298284301", "+79298284302", "+79298284303", "+79298284304"
USER = {
    "id",
    "username",
    "first_name",
    "last_name",
    "telephone_number",
    "invite_code",
    "invite_code_list",
    "activated_invite_code",
    "invite_count",
    "date_joined",
    "blocked_at",
    "metadata",
}
ASKED = {"verification_id", "telephone_number", "code_length", "expires_in", "resend_in"}
PAIR = {"access_token", "refresh_token", "token_type", "expires_in"}
SIGNED_IN = PAIR | {"Ваш токен", "Ваш инвайт код", "invite_code", "created", "device_token"}


def signed_in(app: Flask, telephone_number: str) -> Program:
    person = Program(app)
    person.sign_in(telephone_number)
    return person


def problem(answer: TestResponse, status: int, slug: str) -> Any:
    """The problem document of `answer`, after checking that it is complete, and has this status and slug."""
    assert (answer.status_code, answer.mimetype) == (status, PROBLEM_JSON), answer.text
    body = answer.json
    assert body is not None
    assert body["type"].rpartition("/")[2] == slug, body
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert set(body) <= {"type", "title", "status", "detail", "errors", "attempts_left", "retry_after", "scope"}
    assert r"\u" not in answer.text
    return body


def ask(person: Program, telephone_number: str) -> tuple[str, str]:
    """Asks for a code. Returns the id of the verification, and the code from the message."""
    asked = person.result("POST", "/auth/signup/", {"telephone_number": telephone_number})
    with person.app.app_context():
        return asked["verification_id"], code_for(person.app.config["SETTINGS"], asked["telephone_number"])
