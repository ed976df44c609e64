"""The profile page and its forms: names, devices, invitees, export, deletion."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from hammer.auth import profile_page
from hammer.db.database import db
from hammer.models import Scope
from hammer.web.pages import pictures
from tests.auth.pages import (
    ANNA,
    BORIS,
    CodeFor,
    Outline,
    form_of,
    invite_code,
    rows,
    send,
    sign_in,
    words,
)
from tests.backends import Backend
from tests.people import Page, Program


def test_the_profile_shows_the_code_on_a_ticket_with_its_link(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    page = client.get("/profile/")

    code = invite_code(client)
    assert f"Your invite code {code[:3]} {code[3:]}" in words(page)
    assert f'href="http://localhost:5000/i/{code}"' in page.text
    assert "Nobody yet." in words(page)


def test_a_device_says_the_app_that_it_signed_in_through(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    shop, program = Backend(app, Scope.CODES_SEND, name="Shop <b>"), Program(app)
    program.tokens = shop.tokens
    program.sign_in(ANNA)
    with app.app_context():
        db.session.execute(text("update send_allowances set next_send_at = day_began_at"))
    sign_in(client, code_for)

    page = client.get("/profile/")

    assert words(page).count("App: Shop <b>") == 1
    assert "Приложение: Shop &lt;b&gt;" in client.get("/profile/?lang=ru").text


def test_names_are_changed(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    answer = send(client, "/profile/", username="anna", first_name="Анна", last_name="Ковач")

    assert answer.location == "/profile/#about"
    page = words(client.get("/profile/"))
    assert "Анна Ковач +7 929 123-45-67" in page
    assert "About you Saved. Анна Ковач · anna Edit" in page
    assert "Saved." not in words(client.get("/profile/"))


def test_two_people_may_leave_the_username_empty(client: FlaskClient, other_client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    sign_in(other_client, code_for, BORIS)

    answers = [send(browser, "/profile/", username="", first_name="A", last_name="") for browser in (client, other_client)]

    assert [answer.status_code for answer in answers] == [303, 303]


def test_a_username_that_is_taken_is_said_on_its_field(client: FlaskClient, other_client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(other_client, code_for, BORIS)
    send(other_client, "/profile/", username="anna", first_name="", last_name="")
    sign_in(client, code_for)

    answer = send(client, "/profile/", username="Anna", first_name="A", last_name="K")

    assert answer.status_code == 409
    assert Outline(answer).with_id("username")["aria-invalid"] == "true"
    assert "This username is taken." in words(answer)
    assert [Outline(answer).with_id(name)["value"] for name in ("username", "first_name", "last_name")] == ["Anna", "A", "K"]


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


@pytest.mark.requirement("SES-06")
def test_a_device_can_be_signed_out_from_another(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    clock.shift(61)
    sign_in(other_client, code_for)

    page = client.get("/profile/")
    [end] = re.findall(r'formaction="(/profile/sessions/.+/)#devices"', page.text)
    answer = send(client, end)

    assert words(page).count("This device") == 1
    assert answer.location == "/profile/#devices"
    assert "Devices The device is signed out." in words(client.get("/profile/"))
    assert client.get("/profile/").status_code == 200
    assert other_client.get("/profile/").status_code == 303


def test_a_device_shows_when_it_was_last_used_once_that_differs_from_its_sign_in(
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
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, clock: Any
) -> None:
    sign_in(client, code_for)
    clock.shift(61)
    sign_in(other_client, code_for)

    send(client, "/profile/sessions/")

    assert client.get("/profile/").status_code == 200
    assert other_client.get("/profile/").status_code == 303


@pytest.mark.requirement("AZN-01")
def test_a_user_cannot_end_the_session_of_another_user(
    app: Flask, client: FlaskClient, other_client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    with app.app_context():
        theirs = db.session.scalar(text("select id from sessions"))
    sign_in(other_client, code_for, BORIS)

    answer = send(other_client, f"/profile/sessions/{theirs}/")

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


@pytest.mark.parametrize("path", ["/profile/sessions/", "/profile/sessions/{}/", "/profile/invite/decline/"])
def test_what_is_half_typed_on_the_profile_stays_when_another_button_is_pressed(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str
) -> None:
    sign_in(other_client, code_for)
    clock.shift(61)
    client.get("/i/Q9UK59")
    sign_in(client, code_for)
    send(other_client, "/profile/", first_name="Анна", last_name="Ковач")
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

    assert answer.headers["Content-Disposition"] == "attachment; filename=my-data.json"
    assert answer.mimetype == "application/json"
    assert '"first_name": "Анна"' in answer.text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.+", json.loads(answer.text)["profile"]["date_joined"])


@pytest.mark.parametrize("then", ["x" * 15_000, "auth.logout", "", "https://evil.example/", "\0"])
def test_a_proof_leads_to_no_page_but_those_that_ask_for_one(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, then: str
) -> None:
    sign_in(client, code_for)
    clock.shift(600)

    send(client, "/profile/proof/send/", then=then)

    assert send(client, "/profile/proof/", code=code_for(ANNA)).location == "/profile/"


def test_the_growth_ends_with_what_is_so_now() -> None:
    drawn = pictures.growth(10, [1, 0, 3])

    assert [count for _, count in drawn.weeks] == [7, 7, 10]
    assert drawn.outline == "M0,40H150V30H300V30H450V0H600"


@pytest.mark.parametrize(
    ("weeks", "shown", "russian"),
    [
        (12, "last 12 weeks", "Последние 12 недель"),
        (3, "last 3 weeks", "Последние 3 недели"),
        (1, "last 1 week", "Последняя 1 неделя"),
    ],
)
def test_the_growth_of_however_many_weeks_names_its_middle(
    client: FlaskClient,
    other_client: FlaskClient,
    code_for: CodeFor,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
    weeks: int,
    shown: str,
    russian: str,
) -> None:
    monkeypatch.setattr(profile_page, "WEEKS_OF_GROWTH", weeks)
    sign_in(client, code_for)
    sign_in(other_client, code_for, BORIS)
    send(other_client, "/profile/", invite_code=invite_code(client))

    page, in_russian = client.get("/profile/"), client.get("/profile/", headers={"Accept-Language": "ru"})

    axis = re.findall(r"<small>([A-Z][a-z]{2}\s\d+)</small>", page.text)
    middle = datetime.now(UTC) - timedelta(weeks=weeks // 2)
    assert axis[1] == f"{middle:%b}\N{NO-BREAK SPACE}{middle.day}"
    assert shown in words(page)
    assert russian in words(in_russian)


def test_no_invitees_are_drawn_as_a_flat_line() -> None:
    assert pictures.growth(0, [0, 0]).outline == "M0,100H200V100H400V100H600"


def test_the_number_that_was_typed_is_in_the_form_when_it_is_changed(
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
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(other_client, code_for, BORIS)
    sign_in(client, code_for)
    form = form_of(client, "/profile/", "username")

    by_button = client.post("/profile/invite/", data=form.fields | {"first_name": "Ан", "invite_code": invite_code(other_client)})
    by_enter = client.post(form.action, data=form.fields | {"first_name": "Анна", "invite_code": invite_code(other_client)})

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
