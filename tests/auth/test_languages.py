"""The language of a page, and changing it without losing what was typed."""

import json
import re

import pytest
import time_machine
from flask import Flask, url_for
from flask.testing import FlaskClient

from tests.actions import wrong_code
from tests.auth.pages import (
    ANNA,
    BORIS,
    SHOWN,
    CodeFor,
    Outline,
    form_of,
    go_where_its_form_is,
    invite_code,
    other_language,
    rows,
    send,
    sign_in,
    words,
)
from tests.people import Page


def test_the_language_is_the_browsers_until_a_person_changes_it(client: FlaskClient, code_for: CodeFor) -> None:
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


def test_a_chosen_language_outlives_the_browser_and_identifies_no_person(client: FlaskClient) -> None:
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

    shown = [send(client, "/login/code/", code=code, lang="ru") for code in (wrong_code(code_for(ANNA)), code_for(ANNA))]

    assert [answer.status_code for answer in shown] == [200, 200]
    assert "Осталось попыток" not in words(client.get("/login/code/"))
    assert client.get("/profile/").status_code == 303


def test_the_question_before_an_activation_is_asked_in_another_language_and_activates_nothing(
    app: Flask, client: FlaskClient, other_client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(other_client, code_for, BORIS)
    sign_in(client, code_for)
    question = send(client, "/profile/invite/", invite_code=invite_code(other_client))
    form = Page(question.text).form_with("invite_code") or pytest.fail("no form")

    answer = client.post(other_language(question)["formaction"] or "", data=form.fields | {"lang": "ru"})

    assert "Активировать можно только один раз, отменить нельзя." in words(answer)
    assert "О вас" not in words(answer)
    asked = Page(answer.text).form_with("invite_code") or pytest.fail("no form")
    assert (asked.action, asked.fields["invite_code"]) == (form.action, form.fields["invite_code"])
    assert rows(app)["referrals"] == []


@pytest.mark.parametrize("over", [False, True])
def test_a_code_page_that_shows_a_refusal_changes_its_language_and_sends_no_text(
    app: Flask, client: FlaskClient, code_for: CodeFor, over: bool
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    code = code_for(ANNA)
    for _ in range(3 if over else 1):
        code = wrong_code(code)
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


def test_an_address_that_does_not_open_like_that_says_so_in_russian(client: FlaskClient) -> None:
    for path in ("/logout/", "/api/v1/auth/signup/"):
        answer = client.get(path, headers={"Accept-Language": "ru"})

        title = json.loads(answer.text)["title"] if answer.is_json else Page(answer.text).words.strip()
        assert answer.status_code == 405
        assert re.match("[А-Я]", title)
