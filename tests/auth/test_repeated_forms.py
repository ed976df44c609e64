"""A form whose answer was lost is sent again unchanged. It does nothing twice, and leads where the lost answer would have led."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from time_machine import Traveller
from werkzeug.test import TestResponse

from config import Settings
from hammer.db.database import db
from hammer.sessions import sessions
from hammer.web.tokens import DEVICE_COOKIE, SESSION_COOKIE
from tests.actions import ANNA, BORIS, sign_in
from tests.api.test_repeated_requests import CodeFor, count
from tests.people import Page


class Lossy:
    """A browser that can lose an answer."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def form(self, path: str, field: str) -> dict[str, str]:
        form = Page(self.client.get(path).text).form_with(field)
        assert form is not None
        return form.fields

    def cookies(self) -> dict[str, str]:
        found = ((name, self.client.get_cookie(name)) for name in ("hammer_form", SESSION_COOKIE, DEVICE_COOKIE))
        return {name: cookie.value for name, cookie in found if cookie}

    def post_and_lose(self, path: str, fields: dict[str, str]) -> tuple[TestResponse, dict[str, str]]:
        """The answer that is lost, and the cookies that it would have set. The browser has its former cookies again."""
        before = self.cookies()
        answer = self.client.post(path, data=fields)
        after = self.cookies()
        for name in after:
            self.client.delete_cookie(name)
        for name, value in before.items():
            self.client.set_cookie(name, value)
        return answer, after


@pytest.fixture
def lossy(client: FlaskClient) -> Lossy:
    return Lossy(client)


def test_the_right_code_posted_twice_signs_in_with_the_same_session(app: Flask, lossy: Lossy, code_for: CodeFor) -> None:
    phone = lossy.form("/login/", "telephone_number") | {"telephone_number": ANNA}
    lost, _ = lossy.post_and_lose("/login/", phone)
    assert lossy.client.post("/login/", data=phone).location == lost.location == "/login/code/"
    assert count(app, "texts") == 1
    code = lossy.form("/login/code/", "code") | {"code": code_for(ANNA)}
    lost, would_have = lossy.post_and_lose("/login/code/", code)
    again = lossy.client.post("/login/code/", data=code)
    assert again.location == lost.location == "/profile/"
    assert lossy.cookies()[SESSION_COOKIE] == would_have[SESSION_COOKIE]
    assert lossy.client.get("/profile/").status_code == 200
    assert count(app, "sessions") == 1


def test_a_session_that_was_ended_is_not_opened_again_by_an_old_form(lossy: Lossy, code_for: CodeFor) -> None:
    lossy.client.post("/login/", data=lossy.form("/login/", "telephone_number") | {"telephone_number": ANNA})
    code = lossy.form("/login/code/", "code") | {"code": code_for(ANNA)}
    _, would_have = lossy.post_and_lose("/login/code/", code)
    with lossy.client.application.app_context():
        sessions.end(str(db.session.scalar(text("select id from users"))), would_have[SESSION_COOKIE].partition(".")[0])
    assert lossy.client.post("/login/code/", data=code).status_code == 401
    assert lossy.client.get("/profile/").status_code == 303


def test_another_browser_cannot_use_the_form(app: Flask, lossy: Lossy, code_for: CodeFor) -> None:
    """Also not with a token of its own in a header, which Flask-WTF reads too."""
    lossy.client.post("/login/", data=lossy.form("/login/", "telephone_number") | {"telephone_number": ANNA})
    code = lossy.form("/login/code/", "code") | {"code": code_for(ANNA)}
    assert lossy.client.post("/login/code/", data=code).location == "/profile/"
    stranger = Lossy(app.test_client())
    stranger.client.post("/login/", data=stranger.form("/login/", "telephone_number") | {"telephone_number": BORIS})
    own = stranger.form("/login/code/", "code")["csrf_token"]
    for fields, headers in ((code, {}), (code | {"csrf_token": own}, {}), ({"code": code["code"]}, {"X-CSRFToken": own})):
        stranger.client.post("/login/code/", data=fields, headers=headers)
        assert stranger.client.get("/profile/").status_code == 303


def test_a_resend_whose_answer_was_lost_texts_once(app: Flask, lossy: Lossy, clock: Traveller) -> None:
    lossy.client.post("/login/", data=lossy.form("/login/", "telephone_number") | {"telephone_number": ANNA})
    clock.shift(61)
    again = lossy.form("/login/code/", "code")
    lost, _ = lossy.post_and_lose("/login/resend/", again)
    assert lossy.client.post("/login/resend/", data=again).location == lost.location == "/login/code/"
    assert count(app, "texts") == 2


def test_a_new_code_for_one_that_is_over_is_asked_for_once(app: Flask, lossy: Lossy, clock: Traveller) -> None:
    lossy.client.post("/login/", data=lossy.form("/login/", "telephone_number") | {"telephone_number": ANNA})
    clock.shift(301)
    again = lossy.form("/login/code/", "verification")
    _, would_have = lossy.post_and_lose("/login/resend/", again)
    assert lossy.client.post("/login/resend/", data=again).location == "/login/code/"
    assert count(app, "verifications") == 2
    assert "Code from the text" in lossy.client.get("/login/code/").text
    assert would_have


def sign_in_on_pages(lossy: Lossy, code_for: CodeFor) -> None:
    lossy.client.post("/login/", data=lossy.form("/login/", "telephone_number") | {"telephone_number": ANNA})
    code = lossy.form("/login/code/", "code") | {"code": code_for(ANNA)}
    assert lossy.client.post("/login/code/", data=code).location == "/profile/"


def test_a_change_of_number_whose_answers_were_lost_goes_on(app: Flask, lossy: Lossy, code_for: CodeFor) -> None:
    sign_in_on_pages(lossy, code_for)
    number = lossy.form("/profile/number/", "telephone_number") | {"telephone_number": BORIS}
    lossy.post_and_lose("/profile/number/", number)
    assert lossy.client.post("/profile/number/", data=number).location == "/profile/number/code/"
    assert count(app, "texts") == 2
    code = lossy.form("/profile/number/code/", "code") | {"code": code_for(BORIS)}
    lost, _ = lossy.post_and_lose("/profile/number/code/", code)
    assert lossy.client.post("/profile/number/code/", data=code).location == lost.location == "/profile/#about"
    assert "+7 929 000-00-02" in lossy.client.get("/profile/").text.replace("\u00a0", " ").replace("\u2011", "-")
    with app.app_context():
        assert db.session.scalar(text("select count(*) from events where kind = 'number-changed'")) == 1


def test_a_proof_whose_answer_was_lost_leads_to_what_waits_for_it(
    app: Flask, lossy: Lossy, code_for: CodeFor, clock: Traveller
) -> None:
    sign_in_on_pages(lossy, code_for)
    clock.shift(301)
    page = Page(lossy.client.get("/profile/delete/").text)
    send = next(form for form in page.forms if form.action == "/profile/proof/send/").fields
    lossy.post_and_lose("/profile/proof/send/", send)
    assert lossy.client.post("/profile/proof/send/", data=send).location == "/profile/proof/"
    assert count(app, "texts") == 2
    code = lossy.form("/profile/proof/", "code") | {"code": code_for(ANNA)}
    lost, would_have = lossy.post_and_lose("/profile/proof/", code)
    assert lossy.client.get("/profile/").status_code == 303, "The session of before has ended."
    again = lossy.client.post("/profile/proof/", data=code)
    assert again.location == lost.location == "/profile/delete/"
    assert lossy.cookies()[SESSION_COOKIE] == would_have[SESSION_COOKIE]
    assert lossy.client.get("/profile/delete/").status_code == 200


def test_a_deletion_whose_answer_was_lost_says_that_it_was_done(app: Flask, lossy: Lossy, code_for: CodeFor) -> None:
    sign_in_on_pages(lossy, code_for)
    page = Page(lossy.client.get("/profile/delete/").text)
    form = next(form for form in page.forms if form.action in ("", "/profile/delete/")).fields
    lossy.post_and_lose("/profile/delete/", form)
    again = lossy.client.post("/profile/delete/", data=form, follow_redirects=True)
    assert "Your data is deleted." in again.text
    assert "nothing was done" not in again.text
    with app.app_context():
        assert db.session.scalar(text("select count(*) from events where kind = 'user-deleted'")) == 1


def test_an_activation_whose_answer_was_lost_is_shown(app: Flask, settings: Settings, lossy: Lossy, code_for: CodeFor) -> None:
    with app.app_context():
        invite_code = sign_in(settings, BORIS).user.invite_code
    sign_in_on_pages(lossy, code_for)
    fields = lossy.form("/profile/", "invite_code") | {"invite_code": invite_code}
    question = Page(lossy.client.post("/profile/invite/", data=fields).text).form_with("invite_code")
    assert question
    lost, _ = lossy.post_and_lose("/profile/", question.fields)
    assert lossy.client.post("/profile/", data=question.fields).location == lost.location == "/profile/#activation"
    with app.app_context():
        assert db.session.scalar(text("select count(*) from referrals")) == 1
