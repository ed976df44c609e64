"""The phone form and the code form, in a browser with scripts off."""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

import config
from hammer.db.database import db
from tests.actions import wrong_code
from tests.auth.pages import (
    ANNA,
    BORIS,
    CodeFor,
    Outline,
    rows,
    send,
    sign_in,
    words,
)
from tests.people import Browser, Page


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
def test_a_signed_in_visitor_is_led_to_their_profile(client: FlaskClient, code_for: CodeFor, path: str) -> None:
    sign_in(client, code_for)

    answer = client.get(path)

    assert (answer.status_code, answer.location) == (303, "/profile/")


@pytest.mark.requirement("OTP-03")
def test_the_code_form_needs_a_browser_that_asked_for_a_code(client: FlaskClient) -> None:
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
    ("passed", "shown"), [(0, "in 5 minutes"), (59, "in 4 minutes"), (180, "in 2 minutes"), (241, "in 59 seconds")]
)
def test_the_code_form_never_says_that_the_code_is_good_for_longer_than_it_is(
    client: FlaskClient, clock: time_machine.Traveller, passed: int, shown: str
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    clock.shift(passed)

    assert f"The code stops working {shown}." in words(client.get("/login/code/"))


def test_the_code_is_on_the_page_in_demo_mode_alone(
    settings: config.Settings, app_with: Callable[[config.Settings], Flask], client: FlaskClient, code_for: CodeFor
) -> None:
    demo = app_with(replace(settings, demo=True)).test_client()

    for browser in (demo, client):
        send(browser, "/login/", telephone_number=ANNA if browser is demo else BORIS)

    assert re.search(r"Демо: код \d{4}", words(demo.get("/login/code/")))
    assert code_for(BORIS) not in client.get("/login/code/").text


def test_a_wrong_code_says_how_many_guesses_are_left(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code=wrong_code(code_for(ANNA)))

    assert answer.status_code == 401
    assert "That code is wrong or has expired. 2 tries left." in words(answer)
    assert "2 tries left." in words(client.get("/login/code/"))
    assert client.get("/profile/").status_code == 303


def test_a_code_without_guesses_left_is_replaced_without_typing_the_number_again(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    first = code_for(ANNA)
    for _ in range(3):
        last = send(client, "/login/code/", code=wrong_code(first))
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


def test_a_number_that_was_sent_too_much_hears_it_on_the_form(client: FlaskClient, other_client: FlaskClient) -> None:
    send(other_client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/", telephone_number=ANNA)

    assert answer.status_code == 429
    assert "You can try again in 1 minute." in words(answer)
    assert f'value="{ANNA}"' in answer.text


def test_a_blocked_user_learns_it_only_with_the_right_code(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
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


@pytest.mark.requirement("OTP-07")
def test_a_code_of_another_length_takes_no_guess(client: FlaskClient) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code="123456")

    assert answer.status_code == 422
    assert Outline(answer).with_id("code")["value"] == "123456"
    assert "tries left" not in words(client.get("/login/code/"))


def test_going_back_shows_the_number_in_the_form(client: FlaskClient) -> None:
    send(client, "/login/", telephone_number="89291234567")

    assert Outline(client.get("/login/")).with_id("telephone_number")["value"] == "+7 929 123-45-67"


@pytest.mark.requirement("ACC-01")
def test_the_fields_state_their_purpose_for_phones_and_browsers(client: FlaskClient) -> None:
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


def test_asking_for_another_text_too_early_keeps_the_digits_that_were_typed(client: FlaskClient) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/resend/", code="12")

    assert answer.status_code == 429
    assert Outline(answer).with_id("code")["value"] == "12"


def test_letters_typed_as_a_code_hear_how_many_digits_it_has(
    settings: config.Settings, app_with: Callable[[config.Settings], Flask], client: FlaskClient
) -> None:
    guessed = app_with(replace(settings, guess_budgets={4: 0, 6: 250, 8: 10_000})).test_client()
    guessed.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"

    for browser, shown in ((client, "4 digits"), (guessed, "6 digits")):
        send(browser, "/login/", telephone_number=ANNA if browser is client else BORIS)
        for typed in ("abcd", "12345", ""):
            assert f"The code in the text is {shown}. Please enter them alone." in words(send(browser, "/login/code/", code=typed))


@pytest.mark.parametrize("text", ["Hammer: {} — код для входа.@localhost #{}", "G-{}", "{}."])
def test_a_text_that_is_pasted_whole_signs_in(client: FlaskClient, code_for: CodeFor, text: str) -> None:
    send(client, "/login/", telephone_number=ANNA)

    assert send(client, "/login/code/", code=text.format(code_for(ANNA), code_for(ANNA))).location == "/profile/"


def test_a_pasted_text_is_shown_as_the_code_that_was_read_in_it(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    code = wrong_code(code_for(ANNA))

    assert Page(send(client, "/login/code/", code=f"Hammer: {code} — код").text).forms[0].fields["code"] == code


@pytest.mark.requirement("OTP-07")
def test_a_text_with_two_codes_costs_no_guess(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    code = code_for(ANNA)
    for _ in range(4):
        assert send(client, "/login/code/", code=f"{wrong_code(code)}, {code}").status_code == 422

    assert send(client, "/login/code/", code=code).location == "/profile/"


def test_the_page_after_the_last_guess_says_once_what_to_do(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    code = code_for(ANNA)
    for _ in range(3):
        code = wrong_code(code)
        answer = send(client, "/login/code/", code=code)

    assert "This code is no longer good We can text a new one to +7 929 123-45-67. Send a new code" in words(answer)


def test_an_empty_phone_form_asks_for_a_number(client: FlaskClient) -> None:
    assert "Enter your telephone number." in words(send(client, "/login/", telephone_number=" "))


def test_going_back_to_the_first_number_leads_to_the_code_that_it_has(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    send(client, "/login/", telephone_number=BORIS)

    answer = send(client, "/login/", telephone_number=ANNA)

    assert answer.location == "/login/code/"
    assert "+7 929 123-45-67" in words(client.get("/login/code/"))
    assert send(client, "/login/code/", code=code_for(ANNA)).location == "/profile/"


def test_a_text_that_is_asked_for_too_early_is_refused_with_the_reason(client: FlaskClient, other_client: FlaskClient) -> None:
    send(other_client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/", telephone_number=ANNA)

    assert answer.status_code == 429
    assert "We have texted this number just now. You can try again in" in words(answer)
