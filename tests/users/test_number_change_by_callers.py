"""Change of number through the pages and the JSON API."""

from dataclasses import replace

import pytest
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer.db.database import db
from hammer.models import Message, User, Verification
from hammer.sessions import sessions
from hammer.users import accounts
from tests import delivery
from tests.actions import ANNA, CLARA, no_wait, user, wrong_code
from tests.people import Browser, Program

pytestmark = pytest.mark.requirement("OTP-08")


NEW = CLARA


def test_programs_change_their_number(program: Program, code_for: object, app: Flask) -> None:
    program.sign_in(ANNA)
    asked = program.result("POST", "/users/me/telephone_number/", {"phone": "8 929 000 00 03"})
    assert set(asked) == {"verification_id", "telephone_number", "code_length", "expires_in", "resend_in"}
    assert asked["telephone_number"] == NEW
    with app.app_context():
        code = delivery.code_for(app.config["SETTINGS"], NEW)
    me = program.result(
        "POST",
        "/users/me/telephone_number/code/",
        {"verification_id": asked["verification_id"], "code": code, "end_other_sessions": True},
    )
    assert me["telephone_number"] == NEW
    assert program.is_signed_in()


def test_programs_without_a_fresh_proof_must_sign_in_again(program: Program, clock: Traveller) -> None:
    program.sign_in(ANNA)
    clock.shift(300)
    answer = program.call("POST", "/users/me/telephone_number/", {"telephone_number": NEW})
    assert (answer.status_code, answer.json["type"], answer.json["detail"]) == (  # type: ignore[index]
        403,
        "/problems/not-allowed",
        accounts.SIGN_IN_AGAIN,
    )
    in_russian = program.call("POST", "/users/me/telephone_number/", {"telephone_number": NEW}, **{"Accept-Language": "ru"})
    assert "войдите" in in_russian.json["detail"]  # type: ignore[index]


@pytest.mark.parametrize("wish", ["yes", 1, None, []])
def test_end_other_sessions_is_true_or_false(program: Program, wish: object) -> None:
    program.sign_in(ANNA)
    body = {"verification_id": "A" * 22, "code": "1234", "end_other_sessions": wish}
    answer = program.call("POST", "/users/me/telephone_number/code/", body)
    assert (answer.status_code, set(answer.json["errors"])) == (422, {"end_other_sessions"})  # type: ignore[index]


def test_pages_change_a_number_right_after_signing_in(browser: Browser, app: Flask) -> None:
    browser.sign_in(ANNA)
    other = Browser(app)
    with app.app_context():
        no_wait()
    other.sign_in(ANNA)

    form = browser.get("/profile/number/").form_with("telephone_number")
    assert form is not None
    page = browser.send(form, telephone_number="8 929 000 00 03", end_other_sessions="y")
    assert browser.at == "/profile/number/code/"
    code_form = page.form_with("code")
    assert code_form is not None
    with app.app_context():
        code = delivery.code_for(app.config["SETTINGS"], NEW)
    page = browser.send(code_form, code=code)

    assert browser.at == "/profile/"
    assert "Your number is +7 929 000‑00‑03 now." in page.words.replace("\N{NO-BREAK SPACE}", " ")
    assert not other.is_signed_in()


def test_pages_ask_for_a_fresh_code_first(browser: Browser, app: Flask, clock: Traveller) -> None:
    browser.sign_in(ANNA)
    clock.shift(3600)
    page = browser.get("/profile/number/")
    assert page.form_with("telephone_number") is None
    prove = page.form_with("then")
    assert prove is not None
    with app.app_context():
        [before] = [device.id for device in sessions.devices(db.session.query(User.id).scalar())]

    code_form = browser.send(prove).form_with("code")
    assert browser.at == "/profile/proof/"
    assert code_form is not None
    again = browser.send(code_form, code=wrong_code(answer(app))).form_with("code")
    assert again is not None
    page = browser.send(again, code=answer(app))

    assert browser.at == "/profile/number/"
    assert page.form_with("telephone_number") is not None
    with app.app_context():  # a new session instead of the old one, not in addition
        [after] = [device.id for device in sessions.devices(db.session.query(User.id).scalar())]
    assert after != before


def answer(app: Flask) -> str:
    with app.app_context():
        return delivery.code_for(app.config["SETTINGS"], ANNA)


def test_a_page_left_open_for_too_long_asks_for_a_fresh_code(browser: Browser, clock: Traveller) -> None:
    browser.sign_in(ANNA)
    form = browser.get("/profile/number/").form_with("telephone_number")
    clock.shift(300)
    assert form is not None
    page = browser.send(form, telephone_number=NEW)
    assert page.form_with("then") is not None
    assert page.form_with("code") is None


def test_pages_send_the_message_to_the_new_number_again(browser: Browser, app: Flask, clock: Traveller) -> None:
    browser.sign_in(ANNA)
    form = browser.get("/profile/number/").form_with("telephone_number")
    assert form is not None
    page = browser.send(form, telephone_number=NEW)
    again = replace(page.form_with("code") or pytest.fail("no form"), action="/profile/number/resend/")
    assert "You can try again" in browser.send(again).words
    clock.shift(60)
    assert "another text" in browser.send(again).words
    with app.app_context():
        first, second = db.session.query(Message).join(Verification).filter(Verification.telephone_number == NEW).all()
        assert first.verification_id == second.verification_id


def test_a_new_code_for_the_new_number_needs_a_fresh_proof_too(browser: Browser, clock: Traveller) -> None:
    browser.sign_in(ANNA)
    form = browser.get("/profile/number/").form_with("telephone_number")
    assert form is not None
    page = browser.send(form, telephone_number=NEW)
    again = replace(page.form_with("code") or pytest.fail("no form"), action="/profile/number/resend/")
    clock.shift(400)
    assert "no longer good" in browser.get("/profile/number/code/").words
    browser.send(again)
    assert browser.at == "/profile/number/"


def test_a_taken_number_is_refused_at_the_field_for_another(browser: Browser, app: Flask, settings: Settings) -> None:
    with app.app_context():
        user(settings, NEW)
    with app.app_context():
        no_wait()
    browser.sign_in(ANNA)
    form = browser.get("/profile/number/").form_with("telephone_number")
    assert form is not None
    code_form = browser.send(form, telephone_number=NEW).form_with("code")
    assert code_form is not None
    with app.app_context():
        code = delivery.code_for(app.config["SETTINGS"], NEW)
    page = browser.send(code_form, code=code)
    assert "already a user with this number" in page.words
    assert page.form_with("telephone_number")
    browser.get("/profile/number/code/")
    assert browser.at == "/profile/number/"


@pytest.mark.parametrize("path", ["/profile/number/code/", "/profile/proof/"])
def test_code_pages_redirect_when_no_code_was_asked_for(browser: Browser, path: str) -> None:
    browser.sign_in(ANNA)
    browser.get(path)
    assert browser.at in ("/profile/number/", "/profile/")


def test_a_proof_redirects_only_to_our_own_pages(browser: Browser, app: Flask, clock: Traveller) -> None:
    browser.sign_in(ANNA)
    clock.shift(3600)
    form = browser.get("/profile/number/").form_with("then")
    assert form is not None
    code_form = browser.send(form, then="https://evil.example/").form_with("code")
    assert code_form is not None
    browser.send(code_form, code=answer(app))
    assert browser.at == "/profile/"
