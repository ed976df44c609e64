"""The pages, as a browser with scripts off meets them."""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask, url_for
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

import config
from hammer import auth
from hammer.auth import pictures, profile
from hammer.db.database import db
from hammer.parsing import phones
from hammer.refusals import TooManyRequests, Unavailable
from hammer.web.pages import errors, filters
from tests.people import Browser, Form, Page

ANNA, BORIS, VERA = "+79291234567", "+79297654321", "+79295550123"
CodeFor = Callable[[str], str]


@pytest.fixture(autouse=True)
def english(client: FlaskClient) -> None:
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"


@pytest.fixture
def another(app: Flask) -> FlaskClient:
    """Somebody else's browser."""
    client = app.test_client()
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
    return client


def send(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Sends a form with the token that this browser was given."""
    token = Page(client.get("/login/", follow_redirects=True).text).forms[0].fields["csrf_token"]
    return client.post(path, data={"csrf_token": token} | fields)


def sign_in(client: FlaskClient, code_for: CodeFor, number: str = ANNA) -> None:
    send(client, "/login/", telephone_number=number)
    assert send(client, "/login/code/", code=code_for(number)).location == "/profile/"


def invite_code(client: FlaskClient) -> str:
    found = re.search(r"/i/([0-9A-Z]{6})", client.get("/profile/").text)
    assert found
    return found[1]


def plain(written: str) -> str:
    """On one line, with the spaces and hyphens of a keyboard."""
    return re.sub(r"\s+", " ", written).replace("\N{NON-BREAKING HYPHEN}", "-")


def words(answer: TestResponse) -> str:
    """What a person reads."""
    return plain(Page(answer.text).words)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"


def rows(app: Flask) -> dict[str, list[Any]]:
    """Everything that the database holds."""
    with app.app_context():
        tables = db.metadata.sorted_tables
        return {table.name: sorted(map(repr, db.session.execute(table.select()).all())) for table in tables}


class Outline(HTMLParser):
    """What a page is built of, without what a `template` keeps for scripts."""

    def __init__(self, answer: TestResponse) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(re.sub(r"<template.*?</template>", "", answer.text, flags=re.DOTALL))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def with_id(self, name: str | None) -> dict[str, str | None]:
        [found] = [attributes for _, attributes in self.tags if attributes.get("id") == name]
        return found


# The way in.


def test_two_people_come_in_by_phone_and_one_activates_the_others_invite(app: Flask) -> None:
    anna, boris = Browser(app), Browser(app)
    anna.sign_in(ANNA)
    boris.sign_in(BORIS)

    boris.activate(anna.profile().invite_code)

    assert "+7 929 765-43-21" in anna.get("/profile/").words.replace("\N{NO-BREAK SPACE}", " ").replace(
        "\N{NON-BREAKING HYPHEN}", "-"
    )
    assert boris.profile().has_activated
    assert anna.profile().invite_count == 1


@pytest.mark.parametrize("path", ["/profile/", "/profile/delete/", "/profile/export/"])
def test_a_stranger_is_led_to_the_phone_form(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.location) == (303, "/login/")


@pytest.mark.parametrize(
    "path",
    [
        "/profile/",
        "/profile/invite/",
        "/profile/invite/decline/",
        "/profile/sessions/",
        "/profile/sessions/x/",
        "/profile/delete/",
        "/logout/",
    ],
)
def test_what_a_stranger_sends_is_led_to_the_phone_form(app: Flask, client: FlaskClient, path: str) -> None:
    before = rows(app)

    answer = send(client, path, username="anna")

    assert (answer.status_code, answer.location) == (303, "/login/")
    assert rows(app) == before


@pytest.mark.parametrize("path", ["/", "/login/", "/login/code/"])
def test_whoever_is_signed_in_is_led_to_their_profile(client: FlaskClient, code_for: CodeFor, path: str) -> None:
    sign_in(client, code_for)

    answer = client.get(path)

    assert (answer.status_code, answer.location) == (303, "/profile/")


@pytest.mark.requirement("OTP-03")
def test_the_code_form_needs_somebody_who_asked_for_a_code(client: FlaskClient) -> None:
    assert client.get("/login/code/").location == "/login/"
    assert send(client, "/login/code/", code="1234").location == "/login/"
    assert send(client, "/login/resend/").location == "/login/"


def test_the_code_form_shows_where_the_code_went_and_how_long_it_is_good(client: FlaskClient) -> None:
    send(client, "/login/", telephone_number="8 (929) 123-45-67")

    page = client.get("/login/code/")

    assert "Sent to +7 929 123-45-67, Russia." in words(page)
    assert "The code stops working in 5 minutes." in words(page)
    assert "No text yet? You can send it again in 1 minute: the same code comes once more." in words(page)


@pytest.mark.parametrize(
    ("passed", "told"), [(0, "in 5 minutes"), (59, "in 4 minutes"), (180, "in 2 minutes"), (241, "in 59 seconds")]
)
def test_the_code_form_never_says_that_the_code_is_good_for_longer_than_it_is(
    client: FlaskClient, clock: time_machine.Traveller, passed: int, told: str
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    clock.shift(passed)

    assert f"The code stops working {told}." in words(client.get("/login/code/"))


def test_the_code_is_on_the_page_in_demo_mode_alone(
    settings: config.Settings, app_with: Callable[[config.Settings], Flask], client: FlaskClient, code_for: CodeFor
) -> None:
    demo = app_with(replace(settings, demo=True)).test_client()

    for browser in (demo, client):
        send(browser, "/login/", telephone_number=ANNA if browser is demo else BORIS)

    assert re.search(r"Демо: код \d{4}", words(demo.get("/login/code/")))
    assert code_for(BORIS) not in client.get("/login/code/").text


def test_a_wrong_code_says_how_many_tries_are_left(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code=wrong(code_for(ANNA)))

    assert answer.status_code == 401
    assert "That code is wrong or has expired. 2 tries left." in words(answer)
    assert "2 tries left." in words(client.get("/login/code/"))
    assert client.get("/profile/").status_code == 303


def test_a_code_that_is_out_of_tries_gives_way_to_a_new_one_without_typing_the_number_again(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    first = code_for(ANNA)
    for _ in range(3):
        last = send(client, "/login/code/", code=wrong(first))
        clock.shift(61)

    answer = send(client, "/login/resend/")

    assert "This code is no longer good" in words(last)
    assert "We can text a new one to +7 929 123-45-67." in words(last)
    assert answer.location == "/login/code/"
    assert send(client, "/login/code/", code=code_for(ANNA)).location == "/profile/"


def test_a_code_that_expired_gives_way_to_a_new_one(client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller) -> None:
    send(client, "/login/", telephone_number=ANNA)
    late = code_for(ANNA)
    clock.shift(301)

    answer = send(client, "/login/code/", code=late)
    send(client, "/login/resend/")

    assert answer.status_code == 401
    assert "This code is no longer good" in words(answer)
    assert send(client, "/login/code/", code=code_for(ANNA)).location == "/profile/"


def test_asking_for_another_text_too_early_says_when_it_is_not(client: FlaskClient, clock: time_machine.Traveller) -> None:
    send(client, "/login/", telephone_number=ANNA)
    clock.shift(12)

    answer = send(client, "/login/resend/")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "48")
    assert "You can try again in 48 seconds." in words(answer)
    assert words(answer).count("48 seconds") == 1
    assert Page(answer.text).form_with("code")


def test_another_text_brings_the_same_code(
    client: FlaskClient, code_for: CodeFor, memory: list[Any], clock: time_machine.Traveller
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    first = code_for(ANNA)
    clock.shift(61)

    answer = send(client, "/login/resend/")

    assert answer.location == "/login/code/"
    assert code_for(ANNA) == first
    assert len(memory) == 2


def test_sending_the_same_number_again_leads_back_to_the_code_that_is_on_its_way(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/", telephone_number="89291234567")

    assert answer.location == "/login/code/"
    assert send(client, "/login/code/", code=code_for(ANNA)).location == "/profile/"


def test_a_form_that_is_sent_twice_texts_once_and_leads_on_although_the_first_answer_was_lost(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, memory: list[object]
) -> None:
    form = Page(client.get("/login/").text).form_with("telephone_number") or pytest.fail("no form")
    cookie = client.get_cookie("hammer_form") or pytest.fail("no cookie")
    another.set_cookie(cookie.key, cookie.value)

    twice = [who.post(form.action, data=form.fields | {"telephone_number": ANNA}) for who in (client, another)]

    assert [answer.location for answer in twice] == ["/login/code/"] * 2
    code = code_for(ANNA)
    assert len(memory) == 1
    assert send(another, "/login/code/", code=code).location == "/profile/"


def test_a_code_typed_in_the_tab_of_another_number_costs_that_number_no_guess(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    form = Page(client.get("/login/code/").text).form_with("code") or pytest.fail("no form")
    anna = code_for(ANNA)
    send(client, "/login/", telephone_number=BORIS)

    answer = client.post(form.action, data=form.fields | {"code": anna}, follow_redirects=True)

    assert "Another code was asked for in another tab." in words(answer)
    assert "tries left" not in words(answer)
    assert send(client, "/login/code/", code=code_for(BORIS)).location == "/profile/"


def test_a_number_that_was_sent_too_much_hears_it_on_the_form(client: FlaskClient, another: FlaskClient) -> None:
    send(another, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/", telephone_number=ANNA)

    assert answer.status_code == 429
    assert "You can try again in 1 minute." in words(answer)
    assert f'value="{ANNA}"' in answer.text


def test_somebody_who_is_blocked_learns_it_only_with_the_right_code(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    send(client, "/logout/")
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("update users set blocked_at = date_joined"))
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code=code_for(ANNA))

    assert answer.status_code == 403
    assert client.get("/profile/").status_code == 303


@pytest.mark.requirement("LOG-02")
def test_nothing_personal_is_in_the_cookie_between_the_forms(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    client.get("/i/Q9UK59")

    cookie = client.get_cookie("hammer_form")

    assert cookie
    payload = json.loads(urlsafe_b64decode(cookie.value.split(".")[0] + "=="))
    assert set(payload) == {"csrf_token", "verification", "invites"}
    assert ANNA[2:] not in str(payload)
    assert code_for(ANNA) not in payload.values()


@pytest.mark.requirement("SES-03")
def test_signing_in_leaves_nothing_of_before_in_the_form_cookie(client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59")
    send(client, "/login/", telephone_number=ANNA)
    token = Page(client.get("/login/").text).forms[0].fields["csrf_token"]

    client.post("/login/code/", data={"csrf_token": token, "code": code_for(ANNA)})

    with client.session_transaction() as kept:
        assert set(kept) == {"invites"}
    assert client.post("/profile/", data={"csrf_token": token, "first_name": "Eve"}).status_code == 403


@pytest.mark.requirement("SES-02")
def test_the_cookie_of_a_session_is_out_of_reach_of_scripts_and_other_sites(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code=code_for(ANNA))

    [cookie] = [line for line in answer.headers.getlist("Set-Cookie") if line.startswith("hammer=")]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))


# Forged forms.

UNSAFE = [
    "/login/",
    "/login/code/",
    "/login/resend/",
    "/profile/",
    "/profile/invite/",
    "/profile/invite/decline/",
    "/profile/sessions/",
    "/profile/sessions/x/",
    "/profile/delete/",
    "/profile/proof/",
    "/profile/proof/send/",
    "/profile/number/",
    "/profile/number/code/",
    "/profile/number/resend/",
    "/logout/",
]


def test_the_list_of_unsafe_pages_is_whole(app: Flask) -> None:
    unsafe = {rule.rule.replace("<session_id>", "x") for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}

    assert {path for path in unsafe if not path.startswith("/api/")} == set(UNSAFE)


@pytest.mark.parametrize("path", UNSAFE)
def test_a_form_without_its_token_does_nothing(app: Flask, client: FlaskClient, code_for: CodeFor, path: str) -> None:
    sign_in(client, code_for)
    before = rows(app)

    answer = client.post(path, data={"telephone_number": BORIS, "code": "1234", "first_name": "Eve"})

    assert answer.status_code == 403
    assert "The form has expired" in words(answer)
    assert "Open it anew and send it once more." in words(answer)
    assert rows(app) == before


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("signed_in", [True, False])
def test_files_and_json_are_no_fields_of_a_form(client: FlaskClient, code_for: CodeFor, path: str, signed_in: bool) -> None:
    send(client, "/login/", telephone_number=ANNA)
    if signed_in:
        send(client, "/login/code/", code=code_for(ANNA))
    token = Page(client.get("/login/", follow_redirects=True).text).forms[0].fields["csrf_token"]
    fields = ("telephone_number", "code", "username", "first_name", "last_name", "invite_code", "verification", "then", "whose")
    files = {field: (BytesIO(b"1"), "x") for field in fields}

    answer = client.post(path, data={"csrf_token": token} | files)
    answers = [
        client.post(path, json=json, headers={"X-CSRFToken": token}) for json in (dict.fromkeys(fields, 1), [1, 2], "x", None)
    ]

    assert {answer.status_code for answer in (answer, *answers)} <= {302, 303, 403, 404, 422, 429}


def test_a_token_of_another_browser_is_none(app: Flask, client: FlaskClient, another: FlaskClient) -> None:
    stolen = Page(another.get("/login/").text).forms[0].fields["csrf_token"]
    client.get("/login/")

    answer = client.post("/login/", data={"csrf_token": stolen, "telephone_number": ANNA})

    assert answer.status_code == 403
    assert rows(app)["verifications"] == []


def test_an_expired_form_leads_back_to_itself(client: FlaskClient) -> None:
    client.get("/login/")

    answer = client.post("/login/", data={"telephone_number": ANNA})

    [button] = [link for link in Outline(answer).all("a") if link.get("class") == "button"]
    assert button["href"] == "/login/"


def test_programs_need_no_form_token(client: FlaskClient) -> None:
    answer = client.post("/api/v1/auth/signup/", json={"telephone_number": ANNA})

    assert answer.status_code == 200


# Invites.


@pytest.mark.requirement("INV-06")
def test_an_invite_link_survives_the_login_and_asks_before_it_activates(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(another, code_for, BORIS)
    code = invite_code(another)

    landing = client.get(f"/i/{code.lower()}")
    phone_form = client.get("/login/")
    sign_in(client, code_for)
    asked = client.get("/profile/")
    [carried] = {button["value"] for button in Outline(asked).all("button") if button.get("name") == "carried"}
    answer = send(client, "/profile/", carried=carried or "", first_name="", last_name="", username="", invite_code="")

    assert f"{code[:3]}\N{NO-BREAK SPACE}{code[3:]}" in landing.text
    assert f"You are invited: {code[:3]} {code[3:]}" in words(phone_form)
    assert f"Activate {code[:3]} {code[3:]}?" in words(asked)
    assert "The owner of the code will see your number as +7 929 123-45-67." in words(asked)
    assert answer.status_code == 303
    assert "The invite that you activated The invite is activated." in words(client.get("/profile/"))
    assert f"The invite that you activated {code[:3]} {code[3:]}, just now" in words(client.get("/profile/"))
    assert "You invited — 1" in words(another.get("/profile/"))


def test_not_now_forgets_the_invite_and_activates_nothing(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59")
    sign_in(client, code_for)

    answer = send(client, "/profile/invite/decline/")

    assert answer.location == "/profile/#activation"
    assert "Q9U" not in words(client.get("/profile/"))
    assert rows(app)["referrals"] == []


def test_somebody_who_has_activated_one_is_not_asked_again(client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    sign_in(another, code_for, BORIS)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(another))

    client.get("/i/Q9UK59")
    page = client.get("/profile/")

    assert "Q9U" not in words(page)
    assert "You have already activated an invite code." in words(page)
    with client.session_transaction() as kept:
        assert "invites" not in kept


def test_nobody_is_asked_to_activate_their_own_code(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    own = invite_code(client)
    send(client, "/logout/")
    client.get(f"/i/{own}")
    sign_in(client, code_for)
    told, later = words(client.get("/profile/")), words(client.get("/profile/"))

    assert "You came by this invite." not in told
    assert ("This is your own invite code." in told, "This is your own invite code." in later) == (True, False)


def test_a_carried_code_that_nobody_owns_is_said_on_the_form_and_asked_no_more(client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59")
    sign_in(client, code_for)

    answer = send(client, "/profile/", invite_code="Q9UK59")

    assert answer.status_code == 422
    assert "There is no such invite code." in words(answer)
    assert "Activate Q9U" not in words(client.get("/profile/"))


@pytest.mark.requirement("INV-04")
def test_the_landing_of_a_link_tells_nobody_whether_its_code_exists(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    sign_in(another, code_for, BORIS)
    known, unknown = invite_code(another), "Q9UK59"

    with statements() as seen:
        pages = [words(client.get(f"/i/{code}")).replace(f"{code[:3]} {code[3:]}", "…") for code in (known, unknown)]

    assert pages[0] == pages[1]
    assert seen == []


@pytest.mark.parametrize("path", ["/i/!", "/i/Q9UK5", "/i/%00", "/i/%F0%9F%94%A8", "/i/Q9UK591", "/i/", f"/i/{'A' * 5000}"])
def test_a_link_that_holds_no_code_says_so_and_lets_one_go_on(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert "This invite does not look right" in words(answer)
    assert "You can go on without it" in words(answer)
    assert "You are invited" not in words(client.get("/login/"))


@pytest.mark.parametrize("glued", [".", ",", ")", "%C2%BB", "!", "%E2%80%A6", "*", "_", "'", "%E2%80%8B"])
def test_what_a_messenger_glues_onto_a_link_does_not_lose_the_invite(client: FlaskClient, glued: str) -> None:
    assert "You are invited Q9U K59" in words(client.get(f"/i/Q9UK59{glued}"))
    assert "You are invited: Q9U K59" in words(client.get("/login/"))


@pytest.mark.parametrize(
    "path",
    ["/I/Q9UK59", "/i/q9uk59/", "//i/Q9UK59", "/i//Q9UK59", "//I//Q9UK59//", "/%2Fi%2FQ9UK59", "/i/Q9UK59/)", "/i/Q9UK59/more",
     "/i/Q9UK59%D0%B7%D0%B0%D1%85%D0%BE%D0%B4%D0%B8", "/i/Q9UK59and", "/i/Q9U%D0%9A59", "/i/Q9U-K59", "/i/%20Q9U%20K59"],
)  # fmt: skip
def test_a_misspelled_link_shows_the_invite_that_it_surely_means(client: FlaskClient, path: str) -> None:
    answer = client.get(f"http://evil.example{path}", base_url="http://evil.example")

    assert answer.status_code == 200
    assert "You are invited Q9U K59" in words(answer)
    assert "You are invited: Q9U K59" in words(client.get("/login/", base_url="http://evil.example"))


def asked_about(client: FlaskClient) -> str | None:
    """The invite code that the profile asks about."""
    asked = [button["value"] for button in Outline(client.get("/profile/")).all("button") if button.get("name") == "carried"]
    return asked[0] if asked else None


@pytest.mark.parametrize("late", [True, False])
def test_a_code_of_nobody_does_not_push_a_good_one_out(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, late: bool
) -> None:
    sign_in(another, code_for, BORIS)
    good = invite_code(another)
    for code in (good, "ZZZZZZ") if late else ("ZZZZZZ", good):
        client.get(f"/i/{code}")
    sign_in(client, code_for)

    if late:
        assert asked_about(client) == "ZZZZZZ"
        assert "There is no such invite code." in words(send(client, "/profile/", carried="ZZZZZZ"))
    assert asked_about(client) == good
    send(client, "/profile/", carried=good)
    assert "The invite is activated." in words(client.get("/profile/"))
    assert asked_about(client) is None


def test_each_invite_that_was_opened_is_asked_about_once(client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/ZZZZZZ")
    client.get("/i/K7M2QX")
    client.get("/i/ZZZZZZ")
    sign_in(client, code_for)

    asked = []
    while code := asked_about(client):
        asked.append(code)
        send(client, "/profile/invite/decline/", carried=code)

    assert asked == ["ZZZZZZ", "K7M2QX"]


def test_a_code_that_was_typed_and_is_nobodys_leaves_the_invite_that_was_opened(client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/K7M2QX")
    sign_in(client, code_for)

    assert send(client, "/profile/", invite_code="ZZZZZZ").status_code == 422

    assert asked_about(client) == "K7M2QX"


def test_the_cookie_does_not_grow_with_the_links_that_are_opened(client: FlaskClient) -> None:
    for n in range(40):
        client.get(f"/i/ZZZZ{n:02d}")

    with client.session_transaction() as kept:
        assert kept["invites"] == [f"ZZZZ{n:02d}" for n in (39, 38, 37, 36, 35)]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.requirement("INV-03")
def test_a_second_activation_is_refused_before_the_code_is_looked_up(
    app: Flask, client: FlaskClient, another: FlaskClient, code_for: CodeFor, known: bool
) -> None:
    third = app.test_client()
    sign_in(another, code_for, BORIS)
    sign_in(third, code_for, VERA)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(another))

    answer = send(client, "/profile/", invite_code=invite_code(third) if known else "Q9UK59")

    assert answer.status_code == 409
    assert "You have already activated an invite code." in words(answer)


@pytest.mark.parametrize("spelling", ["{}", " {} ", "http://127.0.0.1:5000/i/{}"])
def test_people_paste_what_they_have(client: FlaskClient, another: FlaskClient, code_for: CodeFor, spelling: str) -> None:
    sign_in(another, code_for, BORIS)
    sign_in(client, code_for)

    answer = send(client, "/profile/", invite_code=spelling.format(invite_code(another).lower()))

    assert answer.status_code == 303


# The profile.


def test_the_profile_shows_the_code_on_a_ticket_with_its_link(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    page = client.get("/profile/")

    code = invite_code(client)
    assert f"Your invite code {code[:3]} {code[3:]}" in words(page)
    assert f'href="http://127.0.0.1:5000/i/{code}"' in page.text
    assert "Nobody yet." in words(page)


def test_names_are_changed(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    answer = send(client, "/profile/", username="anna", first_name="Анна", last_name="Ковач")

    assert answer.location == "/profile/#about"
    page = words(client.get("/profile/"))
    assert "Анна Ковач +7 929 123-45-67" in page
    assert "About you Saved. Анна Ковач · anna Edit" in page
    assert "Saved." not in words(client.get("/profile/"))


def test_two_people_may_leave_the_username_empty(client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    sign_in(another, code_for, BORIS)

    answers = [send(browser, "/profile/", username="", first_name="A", last_name="") for browser in (client, another)]

    assert [answer.status_code for answer in answers] == [303, 303]


def test_a_username_that_is_taken_is_said_on_its_field(client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    sign_in(another, code_for, BORIS)
    send(another, "/profile/", username="anna", first_name="", last_name="")
    sign_in(client, code_for)

    answer = send(client, "/profile/", username="Anna", first_name="A", last_name="K")

    assert answer.status_code == 409
    assert Outline(answer).with_id("username")["aria-invalid"] == "true"
    assert "This username is taken." in words(answer)
    assert [Outline(answer).with_id(name)["value"] for name in ("username", "first_name", "last_name")] == ["Anna", "A", "K"]


def test_what_was_typed_stays_and_the_error_belongs_to_its_field(client: FlaskClient) -> None:
    answer = send(client, "/login/", telephone_number="call me")

    field = Outline(answer).with_id("telephone_number")
    assert answer.status_code == 422
    assert (field["value"], field["aria-invalid"]) == ("call me", "true")
    assert "telephone_number-error" in (field["aria-describedby"] or "").split()
    assert Outline(answer).with_id("telephone_number-error")["role"] == "alert"
    assert "autofocus" in field
    assert "<title>Error: Sign in — Hammer</title>" in answer.text


@pytest.mark.requirement("OTP-07")
def test_a_code_of_another_length_takes_no_guess(client: FlaskClient) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code="123456")

    assert answer.status_code == 422
    assert Outline(answer).with_id("code")["value"] == "123456"
    assert "tries left" not in words(client.get("/login/code/"))


def test_the_list_of_invitees_goes_on_page_by_page_newest_first(
    app: Flask, client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    code = invite_code(client)
    for n in range(21):
        clock.shift(timedelta(minutes=1))
        friend = app.test_client()
        sign_in(friend, code_for, f"+792900000{n:02}")
        send(friend, "/profile/", invite_code=code)
    send(friend, "/profile/delete/")

    first = client.get("/profile/")
    [more] = [a["href"] for a in Outline(first).all("a") if "after=" in (a["href"] or "")]
    rest = client.get(more or "")

    assert "You invited — 21" in words(first)
    assert "Account deleted just now +7 929 000-00-19 1 minute ago" in words(first)
    assert "To the newest +7 929 000-00-00 20 minutes ago" in words(rest)
    assert "Show more" not in words(rest)


def test_a_place_that_is_none_shows_the_newest(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    for after in ("x", "\0", "9" * 10_000, "1.x"):
        assert client.get("/profile/", query_string={"after": after}).status_code == 200


@pytest.mark.requirement("SES-06")
def test_a_device_can_be_signed_out_from_another(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    clock.shift(61)
    sign_in(another, code_for)

    page = client.get("/profile/")
    [end] = re.findall(r'formaction="(/profile/sessions/.+/)#devices"', page.text)
    answer = send(client, end)

    assert words(page).count("This device") == 1
    assert answer.location == "/profile/#devices"
    assert "Devices The device is signed out." in words(client.get("/profile/"))
    assert client.get("/profile/").status_code == 200
    assert another.get("/profile/").status_code == 303


def test_a_device_tells_when_it_was_last_used_once_that_is_another_time(
    app: Flask, client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    clock.shift(timedelta(hours=5))

    client.get("/profile/")

    assert "Signed in 5 hours ago Last used just now This device" in words(client.get("/profile/"))


def test_a_device_that_says_nothing_of_itself_is_listed_too(client: FlaskClient, code_for: CodeFor) -> None:
    client.environ_base["HTTP_USER_AGENT"] = ""

    sign_in(client, code_for)

    assert "Devices Unknown device Signed in just now This device" in words(client.get("/profile/"))


def test_all_other_devices_can_be_signed_out_at_once(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, clock: Any
) -> None:
    sign_in(client, code_for)
    clock.shift(61)
    sign_in(another, code_for)

    send(client, "/profile/sessions/")

    assert client.get("/profile/").status_code == 200
    assert another.get("/profile/").status_code == 303


@pytest.mark.requirement("AZN-01")
def test_nobody_ends_the_session_of_somebody_else(app: Flask, client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    with app.app_context():
        theirs = db.session.scalar(text("select id from sessions"))
    sign_in(another, code_for, BORIS)

    answer = send(another, f"/profile/sessions/{theirs}/")

    assert answer.status_code == 404
    assert client.get("/profile/").status_code == 200


@pytest.mark.requirement("SES-01")
def test_signing_out_ends_the_session_and_not_the_cookie_alone(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    copy = client.get_cookie("hammer")
    assert copy

    answer = send(client, "/logout/")

    assert answer.location == "/login/"
    assert "You are signed out." in words(client.get("/login/"))
    client.set_cookie("hammer", copy.value)
    assert client.get("/profile/").status_code == 303


def test_signing_out_twice_is_no_fault(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    form = Page(client.get("/profile/").text).forms[0].fields

    for _ in range(2):
        answer = client.post("/logout/", data=form, headers={"Sec-Fetch-Site": "same-origin"})
        assert (answer.status_code, answer.location) == (303, "/login/")

    assert "You are signed out." in words(client.get("/login/"))


@pytest.mark.parametrize("path", ["/profile/sessions/", "/profile/sessions/{}/", "/profile/invite/decline/"])
def test_what_is_half_typed_on_the_profile_outlives_a_deed_beside_it(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str
) -> None:
    sign_in(another, code_for)
    clock.shift(61)
    client.get("/i/Q9UK59")
    sign_in(client, code_for)
    send(another, "/profile/", first_name="Анна", last_name="Ковач")
    [theirs] = re.findall(r'formaction="/profile/sessions/(.+)/#devices"', client.get("/profile/").text)

    as_shown = {"was_first_name": "", "first_name": "", "was_username": "", "username": "", "invite_code": ""}
    page = send(client, path.format(theirs), was_last_name="", last_name="Ковачева", **as_shown)

    assert page.status_code == 200
    fields = {field.get("name"): field.get("value") for field in Outline(page).all("input")}
    assert (fields["last_name"], fields["was_last_name"], fields["was_first_name"]) == ("Ковачева", "", "")
    assert "signed out" in words(page) or "decline" in path
    assert client.get(path.format(theirs)).location == "/profile/"


@pytest.mark.requirement("PRV-03")
def test_deleting_asks_once_more_and_then_forgets(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    send(client, "/profile/", username="anna", first_name="Анна", last_name="Ковач")

    question = client.get("/profile/delete/")
    answer = send(client, "/profile/delete/")

    assert "Delete everything about you?" in words(question)
    assert answer.location == "/login/"
    assert "Your data is deleted." in words(client.get("/login/"))
    assert ANNA not in str(rows(app))
    assert "Ковач" not in str(rows(app))


@pytest.mark.requirement("PRV-02")
def test_the_export_is_a_file_that_people_can_read(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    send(client, "/profile/", username="", first_name="Анна", last_name="")

    answer = client.get("/profile/export/")

    assert answer.headers["Content-Disposition"] == "attachment; filename=hammer.json"
    assert answer.mimetype == "application/json"
    assert '"first_name": "Анна"' in answer.text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.+", json.loads(answer.text)["profile"]["date_joined"])


# What holds on every page.

READ = ["/", "/login/", "/login/code/", "/profile/", "/profile/delete/", "/profile/export/", "/i/Q9UK59", "/i/!", "/nowhere"]


def test_opening_any_page_changes_nothing(app: Flask, client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    send(another, "/login/", telephone_number=BORIS)
    before = rows(app)

    for browser in (client, another, app.test_client()):
        for path in READ:
            browser.get(path)
            browser.head(path)
        for path in UNSAFE:
            browser.get(path)

    after = rows(app)
    assert all("'data-exported'" in noted for noted in set(after.pop("events")) - set(before.pop("events")))
    assert after == before


def each_page(client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> Iterator[TestResponse]:
    yield client.get("/login/")
    yield send(client, "/login/", telephone_number="x")
    yield client.get("/i/Q9UK59")
    yield client.get("/i/!")
    send(client, "/login/", telephone_number=ANNA)
    yield client.get("/login/code/")
    yield send(client, "/login/code/", code="x")
    yield send(client, "/login/resend/")
    send(client, "/login/code/", code=code_for(ANNA))
    yield client.get("/profile/")
    yield send(client, "/profile/", username="1", first_name="A" * 200, last_name="\x07")
    yield send(client, "/profile/", invite_code="1")
    yield client.get("/profile/delete/")
    yield client.get("/nowhere")
    yield client.get("/logout/")
    yield client.post("/login/")
    send(another, "/login/", telephone_number=BORIS)
    typed = code_for(BORIS)
    for _ in range(3):
        typed = wrong(typed)
        over = send(another, "/login/code/", code=typed)
    yield over


def test_every_page_is_well_built(client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    pages = list(each_page(client, another, code_for))

    for page in pages:
        outline = Outline(page)
        ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
        ownerless = {one["form"] for tag in ("button", "input") for one in outline.all(tag) if "form" in one} - set(ids)
        labelled = {label["for"] for label in outline.all("label")}
        fields = [field for field in outline.all("input") if field.get("type") != "hidden"]
        assert outline.all("html") == [{"lang": "en"}]
        assert [len(outline.all(tag)) for tag in ("title", "h1", "main", "header", "footer", "nav")] == [1] * 6
        assert outline.tags[[tag for tag, _ in outline.tags].index("body") + 1] == ("a", {"href": "#main"})
        assert len(ids) == len(set(ids))
        assert not ownerless
        assert {field["id"] for field in fields} <= labelled
        assert all(set((field.get("aria-describedby") or "").split()) <= set(ids) for field in fields)
        assert all((script["src"] or "").startswith("/static/") and "defer" in script for script in outline.all("script"))
        assert not outline.all("style")
        assert not [name for _, attributes in outline.tags for name in attributes if name == "style" or name.startswith("on")]
        assert {"name": "referrer", "content": "same-origin"} in outline.all("meta")
        assert page.headers["Cache-Control"] == "no-store"
    assert len(pages) == 15


@pytest.mark.requirement("SES-05")
def test_every_signed_in_page_can_sign_out(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    for path in ("/profile/", "/profile/delete/", "/i/Q9UK59"):
        assert [form for form in Page(client.get(path).text).forms if form.action == "/logout/"], path


@pytest.mark.requirement("SES-05")
def test_what_is_personal_stays_out_of_search_engines(client: FlaskClient, code_for: CodeFor) -> None:
    public = Outline(client.get("/login/")).all("meta")
    sign_in(client, code_for)

    assert not [meta for meta in public if meta.get("name") == "robots"]
    for path in ("/profile/", "/profile/delete/", "/i/Q9UK59"):
        assert {"name": "robots", "content": "noindex"} in Outline(client.get(path)).all("meta")


def test_the_language_is_the_browsers_until_somebody_switches(client: FlaskClient, code_for: CodeFor) -> None:
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de, ru;q=0.5"
    before = client.get("/login/")
    [switch] = [link for link in Outline(client.get("/i/Q9UK59")).all("a") if link.get("hreflang")]

    client.get(switch["href"] or "")
    sign_in(client, code_for)

    assert (switch["href"], switch["lang"]) == ("/i/Q9UK59?lang=en", "en")
    assert "Получить код" in words(before)
    assert 'lang="en"' in client.get("/profile/").text
    send(client, "/logout/")
    assert "Get the code" in words(client.get("/login/"))


def test_a_language_that_we_do_not_speak_changes_nothing(client: FlaskClient) -> None:
    answer = client.get("/login/?lang=%00xx")

    assert Outline(answer).all("html") == [{"lang": "en"}]


def test_names_are_shown_as_text_and_never_as_markup(client: FlaskClient, code_for: CodeFor) -> None:
    payload = "\"><script>alert(1)</script>{{7*7}}%(x)s'"
    sign_in(client, code_for)

    send(client, "/profile/", username="", first_name=payload, last_name=payload)
    page = client.get("/profile/")

    assert payload in words(page)
    assert Outline(page).with_id("first_name")["value"] == payload
    assert len(Outline(page).all("script")) == 3
    assert all((script["src"] or "").startswith("/static/") for script in Outline(page).all("script"))


def test_no_template_lets_markup_through() -> None:
    templates = Path(auth.__file__).parent.parent / "templates"

    unsafe = [file.name for file in templates.rglob("*.html") if re.search(r"\|\s*safe|autoescape", file.read_text())]

    assert unsafe == []


RUBBISH = ["", "\0", "🔨" * 20, "①②③④", "../../etc/passwd", "%(x)s %s {0}", "' or 1=1 --", "\u202e\ufeff", "x" * 10_000]


@pytest.mark.parametrize("typed", RUBBISH)
@pytest.mark.parametrize("field", ["telephone_number", "code", "username", "first_name", "last_name", "invite_code"])
def test_whatever_is_typed_is_answered_cleanly(client: FlaskClient, code_for: CodeFor, field: str, typed: str) -> None:
    path = {"telephone_number": "/login/", "code": "/login/code/"}.get(field, "/profile/")
    if path == "/profile/":
        sign_in(client, code_for)
    else:
        send(client, "/login/", telephone_number=ANNA)

    answer = send(client, path, **{field: typed})

    assert answer.status_code in (303, 413, 422)
    assert answer.status_code == 303 or len(Outline(answer).all("h1")) == 1


@pytest.mark.parametrize("typed", RUBBISH)
@pytest.mark.parametrize("path", ["/profile/invite/", "/profile/number/", "/profile/number/code/", "/profile/proof/"])
def test_whatever_is_typed_further_in_is_answered_cleanly(client: FlaskClient, code_for: CodeFor, path: str, typed: str) -> None:
    sign_in(client, code_for)
    send(client, "/profile/number/", telephone_number=BORIS)
    send(client, "/profile/proof/send/", then="auth.delete")

    answer = send(client, path, invite_code=typed, telephone_number=typed, code=typed, end_other_sessions=typed)

    assert answer.status_code in (200, 303, 413, 422)
    assert answer.status_code == 303 or len(Outline(answer).all("h1")) == 1


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"csrf_token", b"csrf_token=%", b"a" * 16_000, b"=" * 3000, b"&" * 5000])
def test_a_body_that_is_no_form_is_answered_cleanly(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/login/", data=body, content_type="application/x-www-form-urlencoded")

    assert answer.status_code in (403, 413)
    assert len(Outline(answer).all("h1")) == 1


@pytest.mark.parametrize("path", ["/profile/sessions/%00/", f"/profile/sessions/{'x' * 5000}/", "/profile/sessions/%F0%9F%94%A8/"])
def test_a_session_that_cannot_be_is_not_there(client: FlaskClient, code_for: CodeFor, path: str) -> None:
    sign_in(client, code_for)

    assert send(client, path).status_code == 404


# When it does not go well.


@pytest.mark.parametrize("path", ["/nowhere", "/%00", "/login/x", f"/{'x' * 5000}", "/static/../../config.py"])
def test_a_page_that_is_not_there_leads_to_the_first_one(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert "There is no such page" in words(answer)
    assert "evil.example" not in answer.text
    assert [link["href"] for link in Outline(answer).all("a") if link.get("class") == "button"] == ["/"]


def test_an_address_never_becomes_a_link_to_another_site(client: FlaskClient) -> None:
    answer = client.get("/", environ_overrides={"PATH_INFO": "//evil.example/"})

    assert answer.status_code == 404
    assert "evil.example" not in answer.text


def test_an_address_that_does_not_open_like_that_names_what_it_takes(client: FlaskClient) -> None:
    answer = client.get("/logout/")

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_a_form_that_is_too_large_is_refused(client: FlaskClient) -> None:
    answer = send(client, "/login/", telephone_number="1" * 20_000)

    assert answer.status_code == 413
    assert "That is too much at once" in words(answer)


@pytest.mark.requirement("LOG-03")
def test_a_fault_of_ours_is_a_page_too(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.view_functions, "auth.landing", lambda invite_code: str(len(invite_code) // 0))
    app.config["PROPAGATE_EXCEPTIONS"] = False

    answer = client.get("/i/Q9UK59")

    assert answer.status_code == 500
    assert "Something broke on our side" in words(answer)
    assert "ZeroDivision" not in answer.text


@pytest.mark.parametrize(("refusal", "status"), [(TooManyRequests(retry_after=75), 429), (Unavailable(retry_after=2), 503)])
def test_a_page_that_asks_to_wait_says_how_long_and_asks_nothing_of_the_database(
    app: Flask,
    refusal: TooManyRequests | Unavailable,
    status: int,
    statements: Callable[[], AbstractContextManager[list[str]]],
) -> None:
    with statements() as seen, app.test_request_context("/profile/", headers={"Accept-Language": "en", "Cookie": "hammer=x"}):
        answer = errors.error_page(refusal)

    assert (answer.status_code, answer.headers["Retry-After"]) == (status, str(refusal.retry_after))
    assert "You can try again" in answer.get_data(as_text=True)
    assert 'href="/profile/"' in answer.get_data(as_text=True)
    assert seen == []


# How things are written.


@pytest.mark.parametrize(
    ("seconds", "russian", "english"),
    [
        (1, "через 1 секунду", "in 1 second"),
        (48, "через 48 секунд", "in 48 seconds"),
        (60, "через 1 минуту", "in 1 minute"),
        (61, "через 2 минуты", "in 2 minutes"),
        (300, "через 5 минут", "in 5 minutes"),
        (3601, "через 2 часа", "in 2 hours"),
        (80_000, "через 23 часа", "in 23 hours"),
        (86_400, "через 1 день", "in 1 day"),
        (86_401, "через 2 дня", "in 2 days"),
        (7 * 86_400, "через 7 дней", "in 7 days"),
        (11 * 86_400 + 1, "через 12 дней", "in 12 days"),
        (30 * 86_400, "через 30 дней", "in 30 days"),
    ],
)
def test_waits_are_rounded_up(app: Flask, seconds: int, russian: str, english: str) -> None:
    told = []
    for language in ("ru", "en"):
        with app.test_request_context(headers={"Accept-Language": language}):
            told.append(plain(filters.wait(seconds)))

    assert told == [russian, english]


def test_a_number_is_shown_as_people_read_it() -> None:
    assert plain(filters.phone(ANNA)) == phones.pretty(ANNA)


def test_russian_counts_as_russians_do(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "ru"
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code=wrong(code_for(ANNA)))

    assert "Код не подошёл или устарел. Осталось попыток: 2." in words(answer)


def test_the_profile_draws_the_invite_link_for_cameras(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    page = client.get("/profile/").text
    link = re.search(r"http://127\.0\.0\.1:5000/i/[A-Z0-9]{6}", page)
    assert link is not None
    assert pictures.qr(link[0]) in page


# What is shown of what was understood, and what to wait for.


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("8 (929) 123-45-67", "+7 929 123-45-67, Russia."),
        ("8 701 123 45 67", "+7 701 123 4567, Kazakhstan."),
        ("+49 1512 3456789", "+49 1512 3456789, Germany."),
    ],
)
def test_the_next_page_says_what_number_was_understood_and_of_which_country(client: FlaskClient, typed: str, shown: str) -> None:
    send(client, "/login/", telephone_number=typed)

    assert f"Sent to {shown}" in words(client.get("/login/code/"))


def test_the_wait_for_another_text_is_a_sentence_that_scripts_count_down(
    client: FlaskClient, clock: time_machine.Traveller
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    clock.shift(12)

    page = client.get("/login/code/")
    early = send(client, "/login/resend/")
    clock.shift(48)
    later = client.get("/login/code/")

    [button] = [button for button in Outline(page).all("button") if "data-wait" in button]
    assert (button["data-wait"], button["data-waiting"]) == ("48", "Send again in 0:00")
    assert "No text yet? You can send it again in 48 seconds: the same code comes once more." in words(page)
    assert (
        '<span data-wait="48" data-waiting="in 0:00" data-ready="now">in\N{NO-BREAK SPACE}48\N{NO-BREAK SPACE}seconds</span>'
        in early.text
    )
    assert "No text yet? Send it again: the same code comes once more." in words(later)
    assert "You can send it again" not in words(later)
    assert not [button for button in Outline(later).all("button") if "data-wait" in button]


def test_whoever_goes_back_finds_their_number_in_the_form(client: FlaskClient) -> None:
    send(client, "/login/", telephone_number="89291234567")

    assert Outline(client.get("/login/")).with_id("telephone_number")["value"] == "+7 929 123-45-67"


@pytest.mark.requirement("ACC-01")
def test_the_fields_tell_phones_and_browsers_what_they_are_for(client: FlaskClient) -> None:
    number = Outline(client.get("/login/")).with_id("telephone_number")
    send(client, "/login/", telephone_number=ANNA)
    code = Outline(client.get("/login/code/")).with_id("code")

    assert (number["type"], number["inputmode"], number["autocomplete"]) == ("tel", "tel", "tel")
    assert (code["type"], code["inputmode"], code["autocomplete"]) == ("text", "numeric", "one-time-code")
    assert (code["size"], "maxlength" in code) == ("4", False)


def test_a_longer_code_has_as_many_places_and_says_calmly_why(
    settings: config.Settings, app_with: Callable[[config.Settings], Flask]
) -> None:
    guessed = app_with(replace(settings, guess_budgets={4: 0, 6: 250, 8: 10_000})).test_client()
    guessed.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
    send(guessed, "/login/", telephone_number=ANNA)

    page = guessed.get("/login/code/")

    assert Outline(page).with_id("code")["size"] == "6"
    assert "This time the code has 6 digits, to keep your account safe." in words(page)
    assert not re.search("somebody|attack|trying", words(page), re.IGNORECASE)


def test_a_button_says_what_it_does(client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller) -> None:
    send(client, "/login/", telephone_number=ANNA)
    to_sign_in = words(client.get("/login/code/"))
    send(client, "/login/code/", code=code_for(ANNA))
    clock.shift(600)
    send(client, "/profile/proof/send/", then="auth.delete")
    to_prove = words(client.get("/profile/proof/"))

    assert ("Sign in" in to_sign_in, "Confirm" in to_sign_in) == (True, False)
    assert "Confirm" in to_prove


@pytest.mark.parametrize("then", ["x" * 15_000, "auth.logout", "", "https://evil.example/", "\0"])
def test_a_proof_leads_to_no_page_but_those_that_ask_for_one(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, then: str
) -> None:
    sign_in(client, code_for)
    clock.shift(600)

    send(client, "/profile/proof/send/", then=then)

    assert send(client, "/profile/proof/", code=code_for(ANNA)).location == "/profile/"


# Cookies and languages.


@pytest.mark.parametrize("sent_by", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}])
def test_a_browser_without_cookies_hears_so_and_keeps_its_number(
    client: FlaskClient, app: Flask, sent_by: dict[str, str], memory: list[object]
) -> None:
    form = Page(client.get("/login/").text).forms[0].fields
    without = app.test_client(use_cookies=False)
    typed = {"telephone_number": "8 929 123-45-67"}

    answer = without.post("/login/", data=form | typed, headers={"Accept-Language": "en"} | sent_by)
    again = without.post("/login/", data=form | typed | {"lang": "ru"}, headers={"Accept-Language": "en"} | sent_by)

    assert (answer.status_code, again.status_code) == (403, 403)
    assert "It looks as if your browser blocks cookies" in words(answer)
    assert ("браузер" in words(again)) is bool(sent_by)  # what another site may have sent chooses no language
    for page in (answer, again):
        assert Outline(page).with_id("telephone_number")["value"] == typed["telephone_number"]
        assert Outline(page).with_id("form")["action"] == "/login/"
    assert memory == []


def test_a_number_that_met_no_cookies_is_sent_once_they_are_allowed(client: FlaskClient, code_for: CodeFor) -> None:
    typed = {"telephone_number": ANNA}
    client.get("/login/")
    client.delete_cookie("hammer_form")

    kept = Page(client.post("/login/", data=typed).text)
    sent = client.post("/login/", data=kept.forms[0].fields)

    assert sent.location == "/login/code/"
    assert code_for(ANNA)


@pytest.mark.parametrize("path", ["/login/code/", "/login/resend/", "/profile/"])
def test_other_forms_without_cookies_lead_back(app: Flask, path: str) -> None:
    answer = app.test_client(use_cookies=False).post(path, data={"code": "1234"}, headers={"Accept-Language": "en"})

    assert answer.status_code == 403
    assert "It looks as if your browser blocks cookies" in words(answer)
    assert "telephone_number" not in answer.text


def test_a_chosen_language_outlives_the_browser_and_names_nobody(client: FlaskClient) -> None:
    answer = client.get("/login/?lang=ru")

    [kept] = [line for line in answer.headers.getlist("Set-Cookie") if line.startswith("hammer_language=")]
    assert {"hammer_language=ru", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"} <= set(kept.split("; "))
    client.delete_cookie("hammer_form")
    assert Outline(client.get("/login/")).all("html") == [{"lang": "ru"}]


def test_what_caches_keep_sets_no_language(app: Flask, client: FlaskClient) -> None:
    with app.test_request_context():
        style = url_for("static", filename="hammer.css", lang="en")
    for address in (style, "/.well-known/jwks.json?lang=en"):
        answer = client.get(address, buffered=True)
        assert answer.headers["Cache-Control"].startswith("public")
        assert answer.headers.getlist("Set-Cookie") == []


def test_a_page_that_went_wrong_keeps_the_language(client: FlaskClient) -> None:
    client.get("/login/?lang=ru")

    assert "Такой страницы нет" in words(client.get("/nowhere"))


# What others see of a page.


def test_the_card_of_a_page_says_nothing_of_a_person(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    send(client, "/profile/", username="anna", first_name="Анна", last_name="Ковач")
    code = invite_code(client)

    for path in ("/profile/", "/profile/delete/", f"/i/{code}"):
        cards = [
            meta["content"] or ""
            for meta in Outline(client.get(path)).all("meta")
            if (meta.get("property") or "").startswith("og:")
        ]
        told = " ".join(cards)
        assert not [word for word in ("Анна", "Ковач", "anna", ANNA, code) if word in told]
        assert re.search(r"http://127\.0\.0\.1:5000/static/card\.png\?v=\w+", told)


def test_the_landing_says_for_whom_an_invite_is(client: FlaskClient) -> None:
    page = client.get("/i/Q9UK59")

    assert "For anybody with a mobile phone who has not activated another invite." in words(page)
    assert {"property": "og:title", "content": "An invite to Hammer"} in Outline(page).all("meta")


def test_the_landing_of_a_code_in_letters_that_are_not_read_says_which_ones_are(client: FlaskClient) -> None:
    english, russian = (client.get("/i/ЖQ5С3V", headers={"Accept-Language": language}) for language in ("en", "ru"))

    assert "six Latin letters or digits" in words(english)
    assert "латинские буквы и цифры" in words(russian)


@pytest.mark.parametrize("typed", ["12345", "447911123456"])
def test_a_refused_number_meets_an_example_once(client: FlaskClient, typed: str) -> None:
    assert words(send(client, "/login/", telephone_number=typed)).count("+") == 1


def test_the_landing_says_what_one_is_invited_to_in_the_operators_words(
    settings: config.Settings, app_with: Callable[[config.Settings], Flask], client: FlaskClient
) -> None:
    words_of_ours = {"": "The club of <b>cooks</b> & friends.", "ru": "Клуб поваров."}
    own = app_with(replace(settings, invitations=words_of_ours)).test_client()

    english, russian = (own.get("/i/Q9UK59", headers={"Accept-Language": language}) for language in ("en", "ru"))

    assert "The club of <b>cooks</b> & friends." in words(english)
    assert "<b>cooks" not in english.text
    assert {"property": "og:description", "content": words_of_ours[""]} in Outline(english).all("meta")
    assert "Клуб поваров." in words(russian)
    assert "A person who is here already invites you to join." in words(client.get("/i/Q9UK59"))


def test_the_way_on_from_an_invite_keeps_it_in_the_address_for_another_browser(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor
) -> None:
    [way_on] = [link["href"] or "" for link in Outline(client.get("/i/q9uk59")).all("a") if "button" in (link.get("class") or "")]

    opened = another.get(way_on)
    again = another.get(Page(opened.text).forms[0].action)
    refused = another.post(Page(again.text).forms[0].action, data=Page(again.text).forms[0].fields | {"telephone_number": "1"})
    sign_in(another, code_for)

    assert way_on == "/login/?invite=Q9UK59"
    assert all("You are invited: Q9U K59" in words(page) for page in (opened, again, refused))
    assert "Activate Q9U K59?" in words(another.get("/profile/"))


@pytest.mark.parametrize("rubbish", ["", "K7M", "<script>", "K7M2QX/T9RW4C", "%00" * 6, "x" * 5000])
def test_an_address_that_holds_no_invite_carries_none(client: FlaskClient, rubbish: str) -> None:
    answer = client.get("/login/", query_string={"invite": rubbish})

    assert answer.status_code == 200
    assert "You are invited" not in words(answer)


def test_somebody_who_is_signed_in_is_asked_about_the_invite_of_an_address(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    assert client.get("/login/?invite=Q9UK59").location == "/profile/"
    assert "Activate Q9U K59?" in words(client.get("/profile/"))


def folds(answer: TestResponse) -> list[bool]:
    """Whether each thing that can be folded is open: the field for an invite, the names, ..."""
    return ["open" in attributes for attributes in Outline(answer).all("details")]


def test_what_most_people_never_need_is_folded_until_it_is_opened_or_refused(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    page = client.get("/profile/")
    bad_name = send(client, "/profile/", username="7", first_name="", last_name="")
    bad_code = send(client, "/profile/invite/", invite_code="?")
    half_typed = send(client, "/profile/sessions/", first_name="A", last_name="", username="", invite_code="K7M")

    assert [folds(answer) for answer in (page, bad_name, bad_code, half_typed)] == [
        [False, False],
        [False, True],
        [True, False],
        [True, True],
    ]
    assert "About you No name yet Edit" in words(page)


def loud(answer: TestResponse) -> list[str]:
    """The words of the buttons that are filled."""
    buttons = re.findall(r"<main.*</main>", answer.text, re.DOTALL)[0].split("<button")[1:]
    return [
        plain(re.sub(r"<[^>]*>", "", one.partition(">")[2].partition("</button>")[0]))
        for one in buttons
        if "quiet" not in one.partition(">")[0]
    ]


def test_the_one_loud_button_of_the_profile_shares_the_invite_but_while_one_is_asked_about(
    client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    usual = client.get("/profile/")
    client.get("/i/K7M2QX")

    assert loud(usual) == ["Share"]
    assert loud(client.get("/profile/")) == ["Activate"]
    assert "<h1>Your profile</h1>" in usual.text


def test_devices_are_folded_after_three_and_this_one_never(
    app: Flask, client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    for _ in range(3):
        clock.shift(timedelta(minutes=3))
        newer = app.test_client()
        sign_in(newer, code_for)

    page = words(client.get("/profile/"))

    shown, _, folded = page.partition("1 more device")
    assert [part.count("Signed in") for part in (shown, folded)] == [3, 1]
    assert "This device" in shown
    assert [len(re.findall(r"\bEnd\b", part)) for part in (shown, folded)] == [2, 2]  # one of them ends all others
    assert page.count("Sign out") == 1


def test_moments_are_there_for_scripts_to_tell_in_the_readers_time(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(another, code_for, BORIS)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(another))
    clock.shift(timedelta(days=3))
    sign_in(another, code_for, BORIS)

    [moment] = re.findall(r'<li>.*?<time datetime="([^"]+)">([^<]+)</time>', another.get("/profile/").text, re.DOTALL)[:1]

    assert datetime.fromisoformat(moment[0]) == datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    assert re.fullmatch(r"[A-Z][a-z]+ \d+(, \d{4})?", moment[1])  # a year where it is another one


# Pictures.


def test_the_growth_ends_with_what_is_so_now() -> None:
    drawn = pictures.growth(10, [1, 0, 3])

    assert [count for _, count in drawn.weeks] == [7, 7, 10]
    assert drawn.outline == "M0,40H150V30H300V30H450V0H600"


@pytest.mark.parametrize(
    ("weeks", "told", "russian"),
    [
        (12, "last 12 weeks", "Последние 12 недель"),
        (3, "last 3 weeks", "Последние 3 недели"),
        (1, "last 1 week", "Последняя 1 неделя"),
    ],
)
def test_the_growth_of_however_many_weeks_names_its_middle(
    client: FlaskClient,
    another: FlaskClient,
    code_for: CodeFor,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
    weeks: int,
    told: str,
    russian: str,
) -> None:
    monkeypatch.setattr(profile, "WEEKS_OF_GROWTH", weeks)
    sign_in(client, code_for)
    sign_in(another, code_for, BORIS)
    send(another, "/profile/", invite_code=invite_code(client))

    page, in_russian = client.get("/profile/"), client.get("/profile/", headers={"Accept-Language": "ru"})

    axis = re.findall(r"<small>([A-Z][a-z]{2}\s\d+)</small>", page.text)
    middle = datetime.now(UTC) - timedelta(weeks=weeks // 2)
    assert axis[1] == f"{middle:%b}\N{NO-BREAK SPACE}{middle.day}"
    assert told in words(page)
    assert russian in words(in_russian)


def test_nobody_yet_is_drawn_flat() -> None:
    assert pictures.growth(0, [0, 0]).outline == "M0,100H200V100H400V100H600"


def test_the_mark_is_the_same_in_the_tab_and_on_the_page(client: FlaskClient) -> None:
    mark = (Path(auth.__file__).parent.parent / "static" / "mark.svg").read_text()

    shapes = re.findall(r' d="([^"]+)"', mark)

    assert shapes
    assert all(shape in client.get("/login/").text for shape in shapes)


# Nothing that was typed is lost, and no reload costs anything.


def form_of(client: FlaskClient, path: str, field: str) -> Form:
    return Page(client.get(path).text).form_with(field) or pytest.fail("no form")


def other_language(answer: TestResponse) -> dict[str, str | None]:
    """The button that shows a form in Russian."""
    [switch] = [button for button in Outline(answer).all("button") if button.get("name") == "lang"]
    return switch


SHOWN = [
    ("/login/", {"telephone_number": "8 929"}),
    ("/login/code/", {"code": "12"}),
    ("/profile/", {"username": "an", "first_name": "Ан", "last_name": "Ко", "invite_code": "K7M"}),
    ("/profile/number/", {"telephone_number": "8 929"}),
    ("/profile/number/code/", {"code": "12"}),
    ("/profile/proof/", {"code": "12"}),
]


def go_where_its_form_is(client: FlaskClient, code_for: CodeFor, path: str, clock: time_machine.Traveller) -> None:
    if path == "/login/code/":
        send(client, "/login/", telephone_number=ANNA)
    elif path != "/login/":
        sign_in(client, code_for)
    if path == "/profile/number/code/":
        send(client, "/profile/number/", telephone_number=BORIS)
    if path == "/profile/proof/":
        clock.shift(600)
        send(client, "/profile/proof/send/", then="auth.delete")


@pytest.mark.parametrize(("path", "typed"), SHOWN)
def test_another_language_keeps_what_was_typed_and_does_nothing(
    app: Flask, client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str, typed: dict[str, str]
) -> None:
    go_where_its_form_is(client, code_for, path, clock)
    form, switch = form_of(client, path, next(iter(typed))), other_language(client.get(path))
    before = rows(app)

    answer = client.post(switch["formaction"] or "", data=form.fields | typed | {"lang": "ru"})

    assert (form.name, switch["form"], switch["lang"]) == ("form", "form", "ru")
    assert "formnovalidate" in switch
    assert answer.status_code == 200
    assert Outline(answer).all("html") == [{"lang": "ru"}]
    assert {name: Outline(answer).with_id(name)["value"] for name in typed} == typed
    assert rows(app) == before
    assert "hammer_language=ru" in str(answer.headers.getlist("Set-Cookie"))
    assert Outline(client.get("/nowhere")).all("html") == [{"lang": "ru"}]


def test_another_language_takes_no_guess_although_the_code_is_complete(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)

    shown = [send(client, "/login/code/", code=code, lang="ru") for code in (wrong(code_for(ANNA)), code_for(ANNA))]

    assert [answer.status_code for answer in shown] == [200, 200]
    assert "Осталось попыток" not in words(client.get("/login/code/"))
    assert client.get("/profile/").status_code == 303


def test_the_question_before_an_activation_is_asked_in_another_language_and_activates_nothing(
    app: Flask, client: FlaskClient, another: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(another, code_for, BORIS)
    sign_in(client, code_for)
    question = send(client, "/profile/invite/", invite_code=invite_code(another))
    form = Page(question.text).form_with("invite_code") or pytest.fail("no form")

    answer = client.post(other_language(question)["formaction"] or "", data=form.fields | {"lang": "ru"})

    assert "Активировать можно только один раз, отменить нельзя." in words(answer)
    assert "О вас" not in words(answer)
    asked = Page(answer.text).form_with("invite_code") or pytest.fail("no form")
    assert (asked.action, asked.fields["invite_code"]) == (form.action, form.fields["invite_code"])
    assert rows(app)["referrals"] == []


@pytest.mark.parametrize("over", [False, True])
def test_a_code_page_that_answers_a_refusal_changes_its_language_and_texts_nobody(
    app: Flask, client: FlaskClient, code_for: CodeFor, over: bool
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    code = code_for(ANNA)
    for _ in range(3 if over else 1):
        code = wrong(code)
        refused = send(client, "/login/code/", code=code)

    answer = send(client, other_language(refused)["formaction"] or "", lang="ru", code=code)

    assert ("Этот код больше не действует" if over else "Осталось попыток: 2.") in words(answer)
    assert len(rows(app)["texts"]) == 1


def test_another_language_needs_the_token_of_the_form_too(client: FlaskClient) -> None:
    answer = client.post("/login/", data={"lang": "ru"})

    assert answer.status_code == 403
    assert "hammer_language" not in str(answer.headers.getlist("Set-Cookie"))


def test_enter_in_a_field_does_not_press_a_language(client: FlaskClient) -> None:
    first = next(button for button in Outline(client.get("/login/")).all("button") if button.get("form") == "form")

    assert "name" not in first
    assert "formaction" not in first
    assert (first["tabindex"], first["aria-hidden"]) == ("-1", "true")


def test_a_wrong_code_that_is_sent_again_by_reloading_costs_no_second_guess(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    form, kept = form_of(client, "/login/code/", "code"), client.get_cookie("hammer_form") or pytest.fail("no cookie")
    sent = form.fields | {"code": wrong(code_for(ANNA))}

    answers = []
    for _ in range(4):
        client.set_cookie("hammer_form", kept.value)
        answers.append(client.post(form.action, data=sent))

    assert {(answer.status_code, words(answer)) for answer in answers} == {(401, words(answers[0]))}
    assert "2 tries left." in words(client.get("/login/code/"))


def test_another_wrong_code_in_the_same_form_does_cost_a_guess(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    form = form_of(client, "/login/code/", "code")
    first = wrong(code_for(ANNA))

    for code in (first, wrong(first), first, wrong(wrong(first))):
        answer = client.post(form.action, data=form.fields | {"code": code})

    assert "This code is no longer good" in words(answer)


@pytest.mark.parametrize("path", ["/profile/proof/", "/profile/number/code/"])
def test_a_wrong_code_further_in_costs_one_guess_too(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str
) -> None:
    go_where_its_form_is(client, code_for, path, clock)
    form = form_of(client, path, "code")
    sent = form.fields | {"code": wrong(code_for(BORIS if "number" in path else ANNA))}
    first = client.post(path, data=sent)

    again = client.post(path, data=sent)

    assert (again.status_code, words(again)) == (401, words(first))
    assert "2 tries left." in words(client.get(path))


def test_an_invite_code_that_nobody_owns_costs_one_try_however_often_it_is_reloaded(
    app: Flask, client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    question = send(client, "/profile/invite/", invite_code="Q9UK59")
    form = Page(question.text).form_with("invite_code") or pytest.fail("no form")
    refused = client.post(form.action, data=form.fields)
    counted = rows(app)["counters"]

    again = [client.post(form.action, data=form.fields) for _ in range(6)]

    assert refused.status_code == 422
    assert {(answer.status_code, words(answer)) for answer in again} == {(422, words(refused))}
    assert rows(app)["counters"] == counted


@pytest.mark.requirement("LOG-02")
def test_the_memory_of_a_refusal_tells_nothing_of_what_was_typed(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    send(client, "/login/code/", code=wrong(code_for(ANNA)))

    kept = rows(app)["idempotency_keys"]

    assert len(kept) == 2
    for row in kept:
        answer = r'\{"verification": "[\w-]{22}"\}|\{"refusal": "wrong-code", "attempts_left": 2\}'
        assert re.match(rf"\('[0-9a-f]{{64}}', '[0-9a-f]{{64}}', '({answer})', datetime", row)


def test_another_text_keeps_the_digits_that_were_typed_and_a_reload_texts_nobody(
    app: Flask, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    clock.shift(61)
    page = client.get("/login/code/")
    [again] = [button for button in Outline(page).all("button") if button.get("formaction") == "/login/resend/"]
    sent = form_of(client, "/login/code/", "code").fields | {"code": "12"}

    answer = client.post(again["formaction"] or "", data=sent)
    clock.shift(300)
    reloaded = client.post(again["formaction"] or "", data=sent)

    assert answer.status_code == 200
    assert Outline(answer).with_id("code")["value"] == "12"
    assert "We have sent you another text." in words(answer)
    assert (reloaded.status_code, reloaded.location) == (303, "/login/code/")
    assert len(rows(app)["texts"]) == 2


def test_asking_for_another_text_too_early_keeps_the_digits_that_were_typed(client: FlaskClient) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/resend/", code="12")

    assert answer.status_code == 429
    assert Outline(answer).with_id("code")["value"] == "12"


def test_whoever_changes_the_number_finds_the_one_they_typed(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    send(client, "/profile/number/", telephone_number="8 929 765 43 21")

    live = Outline(client.get("/profile/number/")).with_id("telephone_number")
    clock.shift(301)
    send(client, "/logout/")
    send(client, "/login/", telephone_number=BORIS)
    clock.shift(301)
    over = Outline(client.get("/login/")).with_id("telephone_number")

    assert (live["value"], over["value"]) == ("+7 929 765-43-21", "+7 929 765-43-21")


def test_names_half_typed_are_kept_when_an_invite_is_asked_about(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(another, code_for, BORIS)
    sign_in(client, code_for)
    form = form_of(client, "/profile/", "username")

    by_button = client.post("/profile/invite/", data=form.fields | {"first_name": "Ан", "invite_code": invite_code(another)})
    by_enter = client.post(form.action, data=form.fields | {"first_name": "Анна", "invite_code": invite_code(another)})

    assert form.fields["invite_code"] == ""
    for question in (by_button, by_enter):
        assert words(question).startswith(" Activate an invite")
        assert set((Page(question.text).form_with("invite_code") or pytest.fail("no form")).fields) == {
            "csrf_token",
            "whose",
            "invite_code",
        }
    assert Outline(client.get("/profile/")).with_id("first_name")["value"] == "Анна"


def test_an_invite_half_typed_is_kept_when_a_name_is_refused(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    for path in ("/profile/", "/profile/invite/"):
        answer = send(client, path, username="1", first_name="Ан", last_name="", invite_code="K7M")

        assert answer.status_code == 422
        fields = [Outline(answer).with_id(name) for name in ("username", "first_name", "invite_code")]
        assert [field["value"] for field in fields] == ["1", "Ан", "K7M"]
        assert ["aria-invalid" in field for field in fields] == [True, False, False]


OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.mark.parametrize(("path", "typed"), SHOWN)
def test_a_form_that_came_too_late_is_shown_anew_with_what_was_typed(
    app: Flask, client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str, typed: dict[str, str]
) -> None:
    go_where_its_form_is(client, code_for, path, clock)
    client.get(path)
    before = rows(app)

    answer = client.post(path, data=typed | {"csrf_token": "stale"}, headers=OURS)

    assert answer.status_code == 403
    assert "This form was open for too long" in words(answer)
    assert {name: Outline(answer).with_id(name)["value"] for name in typed} == typed
    assert rows(app) == before
    form = Page(answer.text).form_with(next(iter(typed))) or pytest.fail("no form")
    assert client.post(path, data=form.fields | {"lang": "en"}).status_code == 200


FROM_THERE = [
    ("/profile/", "/profile/invite/"),
    ("/login/code/", "/login/resend/"),
    ("/profile/number/code/", "/profile/number/resend/"),
]


@pytest.mark.parametrize(("path", "deed"), FROM_THERE)
def test_a_deed_that_came_too_late_is_shown_on_the_form_that_it_came_from(
    app: Flask, client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str, deed: str
) -> None:
    typed = dict(SHOWN)[path]
    go_where_its_form_is(client, code_for, path, clock)
    client.get(path)
    before = rows(app)

    answer = client.post(deed, data=typed | {"csrf_token": "stale"}, headers=OURS)

    assert answer.status_code == 403
    assert {name: Outline(answer).with_id(name)["value"] for name in typed} == typed
    assert rows(app) == before


@pytest.mark.parametrize(("path", "deed"), FROM_THERE)
def test_the_address_of_a_deed_leads_to_the_form_that_it_comes_from(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str, deed: str
) -> None:
    go_where_its_form_is(client, code_for, path, clock)
    assert client.get(deed).location == path


def test_an_older_tab_changes_only_what_was_changed_in_it(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    older = form_of(client, "/profile/", "first_name").fields
    client.post("/profile/", data=older | {"first_name": "Anna", "username": "anna"})

    client.post("/profile/invite/", data=older | {"invite_code": "K7M2QX"})
    client.post("/profile/", data=older | {"last_name": "Koval"})

    now = form_of(client, "/profile/", "first_name").fields
    assert [now[name] for name in ("first_name", "last_name", "username")] == ["Anna", "Koval", "anna"]


@pytest.mark.parametrize(("path", "more"), [("/login/resend/", {}), ("/login/code/", {"lang": "ru"})])
def test_a_form_of_another_tab_texts_nobody_and_takes_no_digits_along(
    app: Flask, client: FlaskClient, code_for: CodeFor, path: str, more: dict[str, str]
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    older = form_of(client, "/login/code/", "code").fields
    send(client, "/login/", telephone_number=BORIS)
    before = rows(app)

    answer = client.post(path, data=older | {"code": "12"} | more)

    assert answer.location == "/login/code/"
    assert rows(app) == before
    assert form_of(client, "/login/code/", "code").fields["code"] == ""


def test_a_code_that_is_over_in_another_tab_is_not_sent_anew_to_the_number_of_this_one(
    app: Flask, client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    clock.shift(301)
    [older] = [form for form in Page(client.get("/login/code/").text).forms if form.action == "/login/resend/"]
    send(client, "/login/", telephone_number=BORIS)
    before = rows(app)

    answer = client.post(older.action, data=older.fields, follow_redirects=True)

    assert "Another code was asked for in another tab." in words(answer)
    assert rows(app) == before


def test_the_same_new_number_again_leads_to_the_code_that_it_has(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    asked = {"telephone_number": BORIS, "end_other_sessions": "y"}
    send(client, "/profile/number/", **asked)

    assert "checked" in Outline(client.get("/profile/number/")).with_id("end_other_sessions")
    assert send(client, "/profile/number/", **asked).location == "/profile/number/code/"


def test_what_is_wrong_with_a_code_is_said_although_another_was_carried_along_meanwhile(
    client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    typed = form_of(client, "/profile/", "invite_code").fields | {"invite_code": "bad"}
    client.get("/i/ABCDEF")

    answer = client.post("/profile/invite/", data=typed)

    assert Outline(answer).with_id("invite_code")["value"] == "bad"
    assert "An invite code has six letters or digits" in words(answer)


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("more", [{}, {"lang": "ru"}])
def test_no_form_that_came_too_late_does_its_deed(
    app: Flask, client: FlaskClient, code_for: CodeFor, path: str, more: dict[str, str]
) -> None:
    sign_in(client, code_for)
    send(client, "/profile/number/", telephone_number=BORIS)
    typed = {"telephone_number": VERA, "code": code_for(BORIS), "first_name": "Eve", "invite_code": "Q9UK59"}
    before = rows(app)

    answer = client.post(path, data=typed | more, headers=OURS)

    assert answer.status_code in (303, 403) or (answer.status_code == 200 and more)
    assert rows(app) == before
    assert client.get("/profile/").status_code == 200


def test_a_right_code_that_came_too_late_signs_nobody_in(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = client.post("/login/code/", data={"code": code_for(ANNA)}, headers=OURS)

    assert answer.status_code == 403
    assert client.get("/profile/").status_code == 303


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
@pytest.mark.requirement("WEB-01")
def test_nothing_that_another_site_typed_is_shown(client: FlaskClient, headers: dict[str, str]) -> None:
    client.get("/login/")

    answer = client.post("/login/", data={"telephone_number": "typed elsewhere"}, headers=headers)

    assert answer.status_code == 403
    assert "typed elsewhere" not in answer.text


# Small things that are said rightly.


def test_letters_typed_as_a_code_hear_how_many_digits_it_has(
    settings: config.Settings, app_with: Callable[[config.Settings], Flask], client: FlaskClient
) -> None:
    guessed = app_with(replace(settings, guess_budgets={4: 0, 6: 250, 8: 10_000})).test_client()
    guessed.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"

    for browser, told in ((client, "4 digits"), (guessed, "6 digits")):
        send(browser, "/login/", telephone_number=ANNA if browser is client else BORIS)
        for typed in ("abcd", "12345", ""):
            assert f"The code in the text is {told}. Please enter them alone." in words(send(browser, "/login/code/", code=typed))


@pytest.mark.parametrize("text", ["Hammer: {} — код для входа.@127.0.0.1:5000 #{}", "G-{}", "{}."])
def test_a_text_that_is_pasted_whole_signs_in(client: FlaskClient, code_for: CodeFor, text: str) -> None:
    send(client, "/login/", telephone_number=ANNA)

    assert send(client, "/login/code/", code=text.format(code_for(ANNA), code_for(ANNA))).location == "/profile/"


def test_a_pasted_text_is_shown_as_the_code_that_was_read_in_it(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    code = wrong(code_for(ANNA))

    assert Page(send(client, "/login/code/", code=f"Hammer: {code} — код").text).forms[0].fields["code"] == code


@pytest.mark.requirement("OTP-07")
def test_a_text_with_two_codes_costs_no_try(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    code = code_for(ANNA)
    for _ in range(4):
        assert send(client, "/login/code/", code=f"{wrong(code)}, {code}").status_code == 422

    assert send(client, "/login/code/", code=code).location == "/profile/"


def test_the_page_after_the_last_guess_says_once_what_to_do(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    code = code_for(ANNA)
    for _ in range(3):
        code = wrong(code)
        answer = send(client, "/login/code/", code=code)

    assert "This code is no longer good We can text a new one to +7 929 123-45-67. Send a new code" in words(answer)


def test_whoever_opens_their_own_invite_is_told_to_share_it(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    page = client.get(f"/i/{invite_code(client)}")

    assert "This is your own invite" in words(page)
    assert "Send it to somebody whom you would like to invite." in words(page)
    with client.session_transaction() as kept:
        assert "invites" not in kept


def test_an_empty_phone_form_asks_for_a_number(client: FlaskClient) -> None:
    assert "Enter your telephone number." in words(send(client, "/login/", telephone_number=" "))


def test_two_devices_of_a_kind_are_told_apart_by_the_minute(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    clock.move_to(datetime(2026, 11, 20, 12, 5, tzinfo=UTC))
    sign_in(client, code_for)
    clock.shift(timedelta(minutes=3))
    sign_in(another, code_for)
    clock.shift(timedelta(days=2))
    client.get("/profile/")

    page = client.get("/profile/")
    [end] = [button for button in Outline(page).all("button") if (button.get("aria-label") or "").startswith("End ")]

    assert "Signed in November 20 at 12:05 UTC" in words(page)
    assert "Signed in November 20 at 12:08 UTC" in words(page)
    assert Outline(page).with_id(end["aria-describedby"])


def test_an_address_that_does_not_open_like_that_says_so_in_russian(client: FlaskClient) -> None:
    for path in ("/logout/", "/api/v1/auth/signup/"):
        answer = client.get(path, headers={"Accept-Language": "ru"})

        title = json.loads(answer.text)["title"] if answer.is_json else Page(answer.text).words.strip()
        assert answer.status_code == 405
        assert re.match("[А-Я]", title)


# Several people, devices and tabs.


def test_names_that_were_saved_beside_an_invite_that_was_not_read_can_be_changed_back(
    client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    form = form_of(client, "/profile/", "username")
    page = client.post("/profile/", data=form.fields | {"first_name": "Ханна", "invite_code": "abc"})
    assert page.status_code == 422

    fields = (Page(page.text).form_with("username") or pytest.fail("no form")).fields
    client.post("/profile/", data=fields | {"first_name": "", "invite_code": ""})

    assert fields["first_name"] == "Ханна"
    assert Outline(client.get("/profile/")).with_id("first_name")["value"] == ""


def test_a_login_that_comes_after_somebody_else_signed_in_says_whose_profile_it_is(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    left_open = form_of(client, "/login/code/", "code").fields
    sign_in(client, code_for, BORIS)
    ours = {"Sec-Fetch-Site": "same-origin"}

    for path, form in (("/login/code/", left_open | {"code": code_for(ANNA)}), ("/login/", {"telephone_number": ANNA})):
        assert client.post(path, data=form, headers=ours).location == "/profile/"
        assert "You are signed in with another number now, so nothing was done." in words(client.get("/profile/"))
    assert client.post("/login/", data={"telephone_number": BORIS}, headers=ours).location == "/profile/"
    assert "another number" not in words(client.get("/profile/"))


@pytest.mark.parametrize("rubbish", ["\0", "x" * 5000, "🔨", "\u202e", "' or 1=1 --"])
def test_rubbish_in_what_forms_carry_unseen_is_answered_cleanly(client: FlaskClient, code_for: CodeFor, rubbish: str) -> None:
    sign_in(client, code_for)
    seen = ("first_name", "last_name", "username")
    hidden = dict.fromkeys(("verification", "then", "carried", "whose", *(f"was_{name}" for name in seen)), rubbish)

    for path in UNSAFE:
        if path != "/logout/":
            for fields in (hidden, {name: value for name, value in hidden.items() if name != "whose"}):
                assert send(client, path, **fields, telephone_number=rubbish).status_code in (200, 303, 404, 413, 422, 429), path


def test_not_now_forgets_the_invite_that_it_stands_beside_alone(client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59")
    sign_in(client, code_for)
    client.get("/i/K7M2QX")

    send(client, "/profile/invite/decline/", carried="Q9UK59")

    assert "Activate K7M 2QX?" in words(client.get("/profile/"))


def test_what_one_person_typed_is_never_saved_with_another(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    typed = form_of(client, "/profile/", "username").fields | {"first_name": "Анна"}
    send(client, "/logout/")
    sign_in(client, code_for, BORIS)
    token = form_of(client, "/profile/", "username").fields["csrf_token"]

    for stale in (typed, typed | {"csrf_token": token}):
        answer = client.post("/profile/", data=stale, headers={"Sec-Fetch-Site": "same-origin"})

        assert (answer.status_code, answer.location) == (303, "/profile/")
        page = client.get("/profile/")
        assert "You are signed in with another number now, so nothing was done." in words(page)
        assert Outline(page).with_id("first_name")["value"] == ""


def test_whoever_is_signed_out_while_typing_is_told_so(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    clock.shift(61)
    sign_in(another, code_for)
    typed = form_of(client, "/profile/", "username").fields | {"first_name": "Анна"}
    send(another, "/profile/sessions/")

    assert client.post("/profile/", data=typed).location == "/login/"
    assert "You are not signed in here any more, so nothing was done." in words(client.get("/login/"))


def test_signing_a_device_out_that_is_out_already_says_so_and_keeps_what_is_typed(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    answer = send(client, f"/profile/sessions/{'A' * 22}/", was_last_name="", last_name="Ковач")

    assert answer.status_code == 404
    assert "That device is not signed in any more." in words(answer)
    assert Outline(answer).with_id("last_name")["value"] == "Ковач"


def test_saying_yes_to_an_invite_keeps_the_names_that_are_half_typed(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(another, code_for, BORIS)
    client.get(f"/i/{(code := invite_code(another))}")
    sign_in(client, code_for)

    answer = send(client, "/profile/", carried=code, was_first_name="", first_name="Анн", last_name="", username="")

    assert "The invite is activated." in words(answer)
    assert Outline(answer).with_id("first_name")["value"] == "Анн"
    assert "You invited — 1" in words(another.get("/profile/"))


def test_an_invite_outlives_signing_out(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    client.get("/i/Q9UK59")

    send(client, "/logout/")

    assert "You are invited: Q9U K59" in words(client.get("/login/"))


def test_an_invite_is_offered_to_nobody_who_has_activated_one(client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    sign_in(another, code_for, BORIS)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(another))

    page = words(client.get("/i/Q9UK59"))

    assert "You have already activated an invite code." in page
    assert "Go on to activate" not in page


def test_going_back_to_the_first_number_leads_to_the_code_that_it_has(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    send(client, "/login/", telephone_number=BORIS)

    answer = send(client, "/login/", telephone_number=ANNA)

    assert answer.location == "/login/code/"
    assert "+7 929 123-45-67" in words(client.get("/login/code/"))
    assert send(client, "/login/code/", code=code_for(ANNA)).location == "/profile/"


def test_whoever_asks_for_a_text_too_early_is_told_that_there_was_one(client: FlaskClient, another: FlaskClient) -> None:
    send(another, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/", telephone_number=ANNA)

    assert answer.status_code == 429
    assert "We have texted this number just now. You can try again in" in words(answer)


def test_a_proof_that_was_asked_for_is_not_asked_for_twice_and_leads_where_its_tab_was(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    clock.shift(timedelta(minutes=6))
    send(client, "/profile/proof/send/", then="auth.delete")
    first_tab = form_of(client, "/profile/proof/", "code")

    again = send(client, "/profile/proof/send/", then="auth.number")

    assert (again.status_code, again.location) == (303, "/profile/proof/")
    answer = client.post("/profile/proof/", data=first_tab.fields | {"code": code_for(ANNA)})
    assert answer.location == "/profile/delete/"


@pytest.mark.parametrize("path", ["/profile/delete/", "/profile/number/"])
def test_a_deed_whose_proof_has_become_too_old_says_so(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str
) -> None:
    sign_in(client, code_for)
    clock.shift(timedelta(minutes=6))

    answer = send(client, path, telephone_number=BORIS)

    page = client.get(path) if answer.status_code == 303 else answer
    assert "Your last code is more than five minutes old, so nothing was done." in words(page)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("full", "only the person whose invite code you activate sees it."),
        ("masked", "only the person whose invite code you activate sees a part of it."),
        ("count", "Nobody besides you sees it."),
    ],
)
def test_the_phone_form_says_who_will_see_the_number(
    app_with: Callable[[config.Settings], Flask], settings: config.Settings, how: str, told: str
) -> None:
    client = app_with(replace(settings, invitee_numbers=how)).test_client()

    assert told in words(client.get("/login/?lang=en"))
