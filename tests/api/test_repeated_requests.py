"""A request whose answer was lost can be repeated and does nothing twice: `Idempotency-Key` of the API, and the verbs behind
it. `auth/test_repeated_forms.py` does the same on pages."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from time_machine import Traveller
from werkzeug.test import TestResponse

from config import Settings
from hammer.api import document
from hammer.db.database import db
from hammer.login import by_code
from hammer.models import SessionKind, Verification
from hammer.operations import retention
from hammer.quotas import idempotency
from hammer.refusals import WrongCode
from hammer.sessions import devices, sessions
from hammer.users import accounts
from tests.actions import ANNA, BORIS, CLARA, HOME, ask, right, sign_in, wrong, wrong_code
from tests.people import Program

CodeFor = Callable[[str], str]
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
OTHER_KEY = "1c7f2a0e-95a6-4c0f-8a53-0a2a4ba3f0c1"


def call(program: Program, path: str, body: object, key: str = KEY) -> TestResponse:
    return program.call("POST", path, body, **{"Idempotency-Key": key})


def count(app: Flask, table: str) -> int:
    with app.app_context():
        return int(db.session.scalar(text(f"select count(*) from {table}")) or 0)


@pytest.fixture
def asked(program: Program) -> str:
    """The id of a verification of Anna's number."""
    verification_id: str = program.result("POST", "/auth/signup/", {"telephone_number": ANNA})["verification_id"]
    return verification_id


# The API


def test_a_repeated_signup_gets_the_same_verification_and_no_other_text(app: Flask, program: Program) -> None:
    answers = [call(program, "/auth/signup/", {"telephone_number": ANNA}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.text for answer in answers}) == 1
    assert count(app, "texts") == 1
    assert call(program, "/auth/signup/", {"telephone_number": ANNA}, OTHER_KEY).status_code == 429


def test_a_repeated_resend_sends_one_more_text(app: Flask, program: Program, asked: str, clock: Traveller) -> None:
    clock.shift(61)
    answers = [call(program, "/auth/resend/", {"verification_id": asked}) for _ in range(3)]
    assert [answer.json["verification_id"] for answer in answers if answer.json] == [asked] * 3
    assert count(app, "texts") == 2


@pytest.mark.parametrize("spelling", ["{}", '"{}"'])
def test_the_right_code_again_gives_the_same_session_with_new_tokens(
    app: Flask, program: Program, asked: str, code_for: CodeFor, spelling: str
) -> None:
    body = {"verification_id": asked, "code": code_for(ANNA)}
    answers = [call(program, "/auth/code/", body, how.format(KEY)) for how in ("{}", spelling, "{}")]
    assert [answer.status_code for answer in answers] == [200] * 3
    bodies: list[dict[str, Any]] = [answer.json or {} for answer in answers]
    for same in ("refresh_token", "invite_code", "created", "device_token"):
        assert len({str(one[same]) for one in bodies}) == 1, same
    assert len({one["access_token"] for one in bodies}) == 3
    assert (count(app, "sessions"), count(app, "users"), count(app, "devices")) == (1, 1, 1)
    for one in bodies:
        program.tokens = one
        assert program.is_signed_in()


def test_the_right_code_again_without_its_key_is_a_wrong_code(program: Program, asked: str, code_for: CodeFor) -> None:
    body = {"verification_id": asked, "code": code_for(ANNA)}
    assert call(program, "/auth/code/", body).status_code == 200
    assert call(program, "/auth/code/", body, OTHER_KEY).status_code == 401
    assert program.call("POST", "/auth/code/", body).status_code == 401


@pytest.mark.parametrize("since", ["ended", "refreshed", "blocked", "deleted", "late"])
def test_a_repeated_sign_in_is_refused_once_its_session_is_over_or_its_answer_arrived(
    app: Flask, settings: Settings, program: Program, asked: str, code_for: CodeFor, clock: Traveller, since: str
) -> None:
    body = {"verification_id": asked, "code": code_for(ANNA)}
    program.tokens = call(program, "/auth/code/", body).json or {}
    if since == "ended":
        program.sign_out()
    elif since == "refreshed":
        program.result("POST", "/auth/refresh/", {"refresh_token": program.tokens["refresh_token"]})
    elif since == "late":
        clock.shift(idempotency.LIFETIME)
    else:
        with app.app_context():
            user_id = db.session.scalar(text("select id from users")) or ""
            accounts.delete(settings, user_id) if since == "deleted" else accounts.set_blocked(user_id, True)
    program.tokens = {}
    again = call(program, "/auth/code/", body)
    assert (again.status_code, again.json and again.json["type"]) == (401, "/problems/wrong-code")
    assert count(app, "sessions") == (0 if since == "deleted" else 1)


def test_a_repeated_wrong_code_costs_one_guess(app: Flask, program: Program, asked: str, code_for: CodeFor) -> None:
    body = {"verification_id": asked, "code": wrong_code(code_for(ANNA))}
    answers = [call(program, "/auth/code/", body) for _ in range(5)]
    assert {(answer.status_code, answer.json and answer.json["attempts_left"]) for answer in answers} == {(401, 2)}
    with app.app_context():
        assert db.session.scalar(text("select guesses from verifications")) == 1


def test_a_blocked_user_is_refused_again(app: Flask, settings: Settings, program: Program, asked: str, code_for: CodeFor) -> None:
    with app.app_context():
        accounts.set_blocked(accounts.create(settings, ANNA, {}), True)
    answers = [call(program, "/auth/code/", {"verification_id": asked, "code": code_for(ANNA)}) for _ in range(2)]
    assert {(answer.status_code, answer.json and answer.json["type"]) for answer in answers} == {(403, "/problems/not-allowed")}


def test_in_demo_mode_a_code_alone_can_be_repeated_too(
    settings: Settings, app: Flask, program: Program, code_for: CodeFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "SETTINGS", demo := replace(settings, demo=True))
    code = program.result("POST", "/auth/signup/", {"telephone_number": ANNA})["Ваш код активации"]
    answers = [call(program, "/auth/code/", {"code": code}) for _ in range(2)]
    assert demo.demo
    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_repeated_refresh_gives_the_same_successor_and_ends_nothing(app: Flask, program: Program, clock: Traveller) -> None:
    program.sign_in(ANNA)
    body = {"refresh_token": program.tokens["refresh_token"]}
    first = call(program, "/auth/refresh/", body).json or {}
    clock.shift(sessions.GRACE + timedelta(seconds=1))
    again = call(program, "/auth/refresh/", body).json or {}
    assert again["refresh_token"] == first["refresh_token"]
    assert program.result("POST", "/auth/refresh/", {"refresh_token": first["refresh_token"]})
    clock.shift(sessions.GRACE + timedelta(seconds=1))
    refused = call(program, "/auth/refresh/", body)
    assert refused.status_code == 401
    program.tokens = first
    assert program.is_signed_in(), "A repeated request ended the session."


def test_a_spent_refresh_token_without_its_key_still_ends_the_session(program: Program, clock: Traveller) -> None:
    program.sign_in(ANNA)
    body = {"refresh_token": program.tokens["refresh_token"]}
    call(program, "/auth/refresh/", body)
    clock.shift(sessions.GRACE + timedelta(seconds=1))
    assert call(program, "/auth/refresh/", body, OTHER_KEY).status_code == 401
    assert not program.is_signed_in()


def test_a_repeated_creation_of_a_user_makes_one_user(app: Flask, program: Program) -> None:
    program.sign_in(ANNA)
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], db.session.scalar(text("select id from users")) or "", True)
    answers = [call(program, "/users/", {"telephone_number": BORIS, "username": "boris"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json == answers[1].json
    assert call(program, "/users/", {"telephone_number": BORIS, "username": "boris"}, OTHER_KEY).status_code == 409


def test_a_repeated_activation_takes_one_attempt(app: Flask, program: Program) -> None:
    program.sign_in(ANNA)
    body = {"invite_code": "Q9UK59"}
    answers = [call(program, "/users/me/invite/", body) for _ in range(9)]
    assert {(answer.status_code, answer.json and answer.json["type"]) for answer in answers} == {(422, "/problems/unknown-invite")}
    with app.app_context():
        assert db.session.scalar(text("select taken from counters where scope = 'invites/day'")) == 1


def test_a_repeated_change_of_number_is_one_change(app: Flask, program: Program, code_for: CodeFor) -> None:
    program.sign_in(ANNA)
    asked = [call(program, "/users/me/telephone_number/", {"telephone_number": BORIS}).json or {} for _ in range(2)]
    assert asked[0] == asked[1]
    code = code_for(BORIS)
    body = {"verification_id": asked[0]["verification_id"], "code": wrong_code(code)}
    wrong = [call(program, "/users/me/telephone_number/code/", body) for _ in range(2)]
    assert [answer.json and answer.json["attempts_left"] for answer in wrong] == [2, 2]
    right = [call(program, "/users/me/telephone_number/code/", body | {"code": code}, OTHER_KEY) for _ in range(2)]
    assert [answer.json and answer.json["telephone_number"] for answer in right] == [BORIS, BORIS]
    with app.app_context():
        assert db.session.scalar(text("select count(*) from events where kind = 'number-changed'")) == 1


def test_a_repeated_change_to_a_taken_number_is_refused_again(
    app: Flask, settings: Settings, program: Program, code_for: CodeFor
) -> None:
    program.sign_in(ANNA)
    asked = program.result("POST", "/users/me/telephone_number/", {"telephone_number": BORIS})
    with app.app_context():
        accounts.create(settings, BORIS, {})
    body = {"verification_id": asked["verification_id"], "code": code_for(BORIS)}
    answers = [call(program, "/users/me/telephone_number/code/", body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [409, 409]


def test_another_body_with_the_same_key_is_refused(app: Flask, program: Program, asked: str, code_for: CodeFor) -> None:
    code = code_for(ANNA)
    body = {"verification_id": asked, "code": wrong_code(code)}
    call(program, "/auth/code/", body)
    changed = call(program, "/auth/code/", body | {"code": code})
    assert changed.status_code == 422
    assert changed.json
    assert list(changed.json["errors"]) == ["Idempotency-Key"]
    assert (call(program, "/auth/code/", body).json or {})["attempts_left"] == 2
    assert call(program, "/auth/code/", body | {"code": code}, OTHER_KEY).status_code == 200


def test_a_request_that_changed_nothing_leaves_its_key_free(program: Program, asked: str, code_for: CodeFor) -> None:
    code = code_for(ANNA)
    for nonsense in ("none", "123456"):
        assert call(program, "/auth/code/", {"verification_id": asked, "code": nonsense}).status_code == 422
    assert call(program, "/auth/signup/", {"telephone_number": ANNA}).status_code == 429
    assert call(program, "/auth/signup/", {"telephone_number": BORIS}).status_code == 200
    assert call(program, "/auth/code/", {"verification_id": asked, "code": code}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/auth/code/", {"verification_id": "A" * 22, "code": "1234"}),
        ("/auth/code/", {"verification_id": "A" * 22, "code": "123"}),
        ("/auth/resend/", {"verification_id": "A" * 22}),
        ("/auth/signup/", {"telephone_number": "112"}),
        ("/auth/refresh/", {"refresh_token": "none"}),
        ("/users/me/telephone_number/code/", {"verification_id": "A" * 22, "code": "1234"}),
        ("/users/me/telephone_number/", {"telephone_number": "+79290000001"}),
        ("/users/me/invite/", {"invite_code": "?"}),
        ("/users/", {"telephone_number": BORIS}),
    ],
)
def test_refused_requests_that_cost_nothing_store_no_key(app: Flask, program: Program, path: str, body: object) -> None:
    program.sign_in(ANNA)
    assert call(program, path, body).status_code >= 400
    assert count(app, "idempotency_keys") == 0


def test_activating_the_same_code_again_stores_no_key(app: Flask, settings: Settings, program: Program) -> None:
    with app.app_context():
        code = sign_in(settings, BORIS).user.invite_code
    program.sign_in(ANNA)
    for nth in range(4):
        assert call(program, "/users/me/invite/", {"invite_code": code}, f"0123456789abcdef-{nth}").status_code < 300
    assert count(app, "idempotency_keys") == 1


def test_an_ended_session_leaves_no_keys(app: Flask, program: Program) -> None:
    program.sign_in(ANNA)
    token = program.tokens["refresh_token"]
    program.sign_out()
    assert call(program, "/auth/refresh/", {"refresh_token": token}).status_code == 401
    assert count(app, "idempotency_keys") == 0


def test_a_key_belongs_to_one_caller_and_one_call(app: Flask, code_for: CodeFor) -> None:
    anna, boris = Program(app), Program(app)
    anna.sign_in(ANNA)
    boris.sign_in(BORIS)
    for person, number in ((anna, CLARA), (boris, ANNA)):
        assert call(person, "/users/me/telephone_number/", {"telephone_number": number}).status_code == 200
        assert call(person, "/users/me/invite/", {"invite_code": "Q9UK59"}).status_code == 422


@pytest.mark.parametrize(
    "key",
    [
        "",
        "short",
        "x" * 15,
        "x" * 256,
        '"' + "x" * 15 + '"',
        "with a space in it",
        '"' + "x" * 20,
        "x" * 20 + '"',
        "x" * 20 + "\\",
        "x" * 10 + "," + "x" * 10,
        "ключ" * 5,
        '"' + "x" * 20 + '";a=1',
    ],
)
def test_a_malformed_key_is_an_error_of_its_header(app: Flask, program: Program, key: str) -> None:
    answer = call(program, "/auth/signup/", {"telephone_number": ANNA}, key.encode().decode("latin-1"))
    assert answer.status_code == 422
    assert answer.json
    assert list(answer.json["errors"]) == ["Idempotency-Key"]
    assert count(app, "texts") == 0


@pytest.mark.parametrize("key", ["x" * 16, "x" * 255, "!#$%&'()*+-./:;<=>?@[]^_`{|}~", '"' + "a,b" * 6 + '"'])
def test_a_key_is_any_16_to_255_visible_characters(program: Program, key: str) -> None:
    assert call(program, "/auth/signup/", {"telephone_number": ANNA}, key).status_code == 200


def test_every_post_that_costs_something_takes_a_key(app: Flask) -> None:
    paths = document(app)["paths"]
    takes = {
        path.removeprefix("/api/v1")
        for path, methods in paths.items()
        if {"$ref": "#/components/parameters/IdempotencyKey"} in methods.get("post", {}).get("parameters", ())
    }
    costs_nothing = {
        "/auth/logout/",
        "/texts/search/",
        "/users/{username}/",
        "/users/{username}/block/",
        "/users/{username}/unblock/",
    }
    costs_nothing |= {f"/webhooks/{{endpoint_id}}/{call}" for call in ("", "test/", "enable/", "disable/", "replay/")}
    assert takes == {path.removeprefix("/api/v1") for path, methods in paths.items() if "post" in methods} - costs_nothing


def test_after_two_minutes_a_key_is_free_again_and_prune_forgets_it(app: Flask, program: Program, clock: Traveller) -> None:
    first = call(program, "/auth/signup/", {"telephone_number": ANNA}).json or {}
    clock.shift(idempotency.LIFETIME)
    again = call(program, "/auth/signup/", {"telephone_number": ANNA}).json or {}
    assert again["verification_id"] != first["verification_id"]
    clock.shift(idempotency.LIFETIME)
    with app.app_context():
        assert retention.prune(app.config["SETTINGS"])["idempotency keys"] == 1


def test_a_clock_that_was_ahead_leaves_no_key_that_never_expires(app: Flask, program: Program, clock: Traveller) -> None:
    clock.shift(timedelta(hours=5))
    call(program, "/auth/signup/", {"telephone_number": ANNA})
    clock.shift(timedelta(hours=-5))
    assert call(program, "/auth/signup/", {"telephone_number": BORIS}).status_code == 200


@pytest.mark.requirement("OTP-04")
def test_a_copy_of_the_table_does_not_help_to_guess_codes(app: Flask, settings: Settings, program: Program, asked: str) -> None:
    """Also for an attacker who has the server's secret and all ids, but not the key."""
    with app.app_context():
        code = right(settings, db.session.get_one(Verification, asked))
    call(program, "/auth/code/", {"verification_id": asked, "code": code})
    with app.app_context():
        stored = set(db.session.execute(text("select body_hash from idempotency_keys")).scalars())
    bodies = [json.dumps({"code": f"{n:04d}", "verification_id": asked}, sort_keys=True) for n in range(10_000)]
    tried = {idempotency.make_key(settings, "", call="api.confirm_code", body=body).fingerprint for body in bodies}
    assert stored
    assert not stored & tried


# The verbs


@pytest.mark.usefixtures("context")
def test_a_login_without_a_key_sends_no_extra_statement(settings: Settings, statements: Callable[[], Any]) -> None:
    verification = ask(settings)
    with statements() as seen:
        by_code.confirm_code(
            settings, verification.id, right(settings, verification), kind=SessionKind.PROGRAM, device="", address=HOME.address
        )
    assert not [statement for statement in seen if "idempotency" in statement]


@pytest.mark.usefixtures("context")
def test_a_repeated_sign_in_costs_three_statements(settings: Settings, statements: Callable[[], Any]) -> None:
    verification, key = ask(settings), idempotency.make_key(settings, KEY, call="code")
    sent = settings, verification.id, right(settings, verification)
    first = by_code.confirm_code(*sent, kind=SessionKind.PROGRAM, device="", address=HOME.address, key=key)
    with statements() as seen:
        again = by_code.confirm_code(*sent, kind=SessionKind.PROGRAM, device="", address=HOME.address, key=key)
    assert (again.session.id, again.created) == (first.session.id, first.created)
    assert devices.token(settings, again.device) == devices.token(settings, first.device)
    assert len([statement for statement in seen if re.match("(?i)select|insert|update|delete", statement)]) == 3


@pytest.mark.usefixtures("context")
def test_a_request_that_fails_leaves_its_key_free(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    verification, key = ask(settings), idempotency.make_key(settings, KEY, call="code")
    sent = settings, verification.id, wrong(settings, verification)
    with monkeypatch.context() as broken:
        broken.setattr(idempotency, "keep", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            by_code.confirm_code(*sent, kind=SessionKind.PROGRAM, device="", address=HOME.address, key=key)
    with pytest.raises(WrongCode) as refused:
        by_code.confirm_code(*sent, kind=SessionKind.PROGRAM, device="", address=HOME.address, key=key)
    assert refused.value.attempts_left == 2
