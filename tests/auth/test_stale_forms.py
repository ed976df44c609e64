"""Forms that are sent too late, from an older tab, or after another person signed in."""

from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from tests.auth.pages import (
    ANNA,
    BORIS,
    OURS,
    SHOWN,
    UNSAFE,
    VERA,
    CodeFor,
    Outline,
    form_of,
    go_where_its_form_is,
    rows,
    send,
    sign_in,
    words,
)
from tests.people import Page


def test_a_code_typed_in_the_tab_of_another_number_costs_that_number_no_guess(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    form = Page(client.get("/login/code/").text).form_with("code") or pytest.fail("no form")
    anna = code_for(ANNA)
    send(client, "/login/", telephone_number=BORIS)

    answer = client.post(form.action, data=form.fields | {"code": anna}, follow_redirects=True)

    assert "Another code was asked for in another tab." in words(answer)
    assert "tries left" not in words(answer)
    assert send(client, "/login/code/", code=code_for(BORIS)).location == "/profile/"


@pytest.mark.parametrize(("path", "typed"), SHOWN)
def test_a_form_that_came_too_late_is_shown_again_with_what_was_typed(
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


@pytest.mark.parametrize(("path", "address"), FROM_THERE)
def test_a_button_that_was_pressed_too_late_shows_the_form_that_it_belongs_to(
    app: Flask, client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str, address: str
) -> None:
    typed = dict(SHOWN)[path]
    go_where_its_form_is(client, code_for, path, clock)
    client.get(path)
    before = rows(app)

    answer = client.post(address, data=typed | {"csrf_token": "stale"}, headers=OURS)

    assert answer.status_code == 403
    assert {name: Outline(answer).with_id(name)["value"] for name in typed} == typed
    assert rows(app) == before


@pytest.mark.parametrize(("path", "address"), FROM_THERE)
def test_an_address_that_only_takes_a_form_leads_to_the_page_with_that_form(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str, address: str
) -> None:
    go_where_its_form_is(client, code_for, path, clock)
    assert client.get(address).location == path


def test_an_older_tab_changes_only_what_was_changed_in_it(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    older = form_of(client, "/profile/", "first_name").fields
    client.post("/profile/", data=older | {"first_name": "Anna", "username": "anna"})

    client.post("/profile/invite/", data=older | {"invite_code": "K7M2QX"})
    client.post("/profile/", data=older | {"last_name": "Koval"})

    now = form_of(client, "/profile/", "first_name").fields
    assert [now[name] for name in ("first_name", "last_name", "username")] == ["Anna", "Koval", "anna"]


@pytest.mark.parametrize(("path", "more"), [("/login/resend/", {}), ("/login/code/", {"lang": "ru"})])
def test_a_form_of_another_tab_sends_no_text_and_keeps_no_digits(
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


def test_a_form_of_another_tab_does_not_send_a_new_code_to_the_number_of_this_one(
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


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("more", [{}, {"lang": "ru"}])
def test_no_form_that_came_too_late_changes_anything(
    app: Flask, client: FlaskClient, code_for: CodeFor, path: str, more: dict[str, str]
) -> None:
    sign_in(client, code_for)
    send(client, "/profile/number/", telephone_number=BORIS)
    typed = {"telephone_number": VERA, "code": code_for(BORIS), "first_name": "Eve", "invite_code": "Q9UK59"}
    before = rows(app)

    answer = client.post(path, data=typed | more, headers=OURS)

    fine = (404,) if path == "/oauth/continue" else (303, 403)  # there is no sign-in to an app to continue
    assert answer.status_code in fine or (answer.status_code == 200 and more)
    assert rows(app) == before
    assert client.get("/profile/").status_code == 200


def test_a_right_code_that_came_too_late_does_not_sign_in(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)

    answer = client.post("/login/code/", data={"code": code_for(ANNA)}, headers=OURS)

    assert answer.status_code == 403
    assert client.get("/profile/").status_code == 303


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


def test_a_login_form_sent_after_another_person_signed_in_says_whose_profile_it_is(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    left_open = form_of(client, "/login/code/", "code").fields
    sign_in(client, code_for, BORIS)
    ours = {"Sec-Fetch-Site": "same-origin"}

    for path, form in (("/login/code/", left_open | {"code": code_for(ANNA)}), ("/login/", {"telephone_number": ANNA})):
        assert client.post(path, data=form, headers=ours).location == "/profile/"
        assert "You are signed in with another number now, so nothing was done." in words(client.get("/profile/"))
    assert client.post("/login/", data={"telephone_number": BORIS}, headers=ours).location == "/profile/"
    assert "another number" not in words(client.get("/profile/"))


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


def test_a_person_who_was_signed_out_while_typing_reads_so(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    clock.shift(61)
    sign_in(other_client, code_for)
    typed = form_of(client, "/profile/", "username").fields | {"first_name": "Анна"}
    send(other_client, "/profile/sessions/")

    assert client.post("/profile/", data=typed).location == "/login/"
    assert "You are not signed in here any more, so nothing was done." in words(client.get("/login/"))


def test_signing_a_device_out_that_is_out_already_says_so_and_keeps_what_is_typed(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    answer = send(client, f"/profile/sessions/{'A' * 22}/", was_last_name="", last_name="Ковач")

    assert answer.status_code == 404
    assert "That device is not signed in any more." in words(answer)
    assert Outline(answer).with_id("last_name")["value"] == "Ковач"


@pytest.mark.parametrize("path", ["/profile/delete/", "/profile/number/"])
def test_a_form_whose_proof_has_become_too_old_says_so(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str
) -> None:
    sign_in(client, code_for)
    clock.shift(timedelta(minutes=6))

    answer = send(client, path, telephone_number=BORIS)

    page = client.get(path) if answer.status_code == 303 else answer
    assert "Nothing was changed. Confirm your number again first: your last code is more than five minutes old." in words(page)
