"""The pages, as a browser with scripts off meets them."""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

import config
from hammer import auth, phones
from hammer.auth import show
from hammer.database import db
from hammer.refusals import TooManyRequests, Unavailable
from tests.people import Browser, Page

ANNA, BORIS, VERA = "+79291234567", "+79297654321", "+79295550123"
CATALOGUE = Path(auth.__file__).parent.parent / "translations" / "ru" / "LC_MESSAGES" / "messages.po"
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
    """What a page is built of."""

    def __init__(self, answer: TestResponse) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(answer.text)

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


def test_the_code_form_needs_somebody_who_asked_for_a_code(client: FlaskClient) -> None:
    assert client.get("/login/code/").location == "/login/"
    assert send(client, "/login/code/", code="1234").location == "/login/"
    assert send(client, "/login/resend/").location == "/login/"


def test_the_code_form_shows_where_the_code_went_and_how_long_it_is_good(client: FlaskClient) -> None:
    send(client, "/login/", telephone_number="8 (929) 123-45-67")

    page = client.get("/login/code/")

    assert "Sent to +7 929 123-45-67." in words(page)
    assert "The code stops working in 5 minutes. No text? You can ask again in 1 minute." in words(page)


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
    for _ in range(2):
        send(client, "/login/code/", code=wrong(first))

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


def test_nothing_personal_is_in_the_cookie_between_the_forms(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    client.get("/i/Q9UK59")

    cookie = client.get_cookie("hammer_form")

    assert cookie
    payload = json.loads(urlsafe_b64decode(cookie.value.split(".")[0] + "=="))
    assert set(payload) == {"csrf_token", "verification", "invite"}
    assert ANNA[2:] not in str(payload)
    assert code_for(ANNA) not in payload.values()


def test_signing_in_leaves_nothing_of_before_in_the_form_cookie(client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59?lang=en")
    send(client, "/login/", telephone_number=ANNA)
    token = Page(client.get("/login/").text).forms[0].fields["csrf_token"]

    client.post("/login/code/", data={"csrf_token": token, "code": code_for(ANNA)})

    with client.session_transaction() as kept:
        assert set(kept) == {"language", "invite"}
    assert client.post("/profile/", data={"csrf_token": token, "first_name": "Eve"}).status_code == 400


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

    assert answer.status_code == 400
    assert "The form has expired" in words(answer)
    assert "blocking cookies" in words(answer)
    assert rows(app) == before


def test_a_token_of_another_browser_is_none(app: Flask, client: FlaskClient, another: FlaskClient) -> None:
    stolen = Page(another.get("/login/").text).forms[0].fields["csrf_token"]
    client.get("/login/")

    answer = client.post("/login/", data={"csrf_token": stolen, "telephone_number": ANNA})

    assert answer.status_code == 400
    assert rows(app)["verifications"] == []


def test_an_expired_form_leads_back_to_itself(client: FlaskClient) -> None:
    answer = client.post("/login/", data={"telephone_number": ANNA})

    [button] = [link for link in Outline(answer).all("a") if link.get("class") == "button"]
    assert button["href"] == "/login/"


def test_programs_need_no_form_token(client: FlaskClient) -> None:
    answer = client.post("/api/v1/auth/signup/", json={"telephone_number": ANNA})

    assert answer.status_code == 200


# Invites.


def test_an_invite_link_survives_the_login_and_asks_before_it_activates(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(another, code_for, BORIS)
    code = invite_code(another)

    landing = client.get(f"/i/{code.lower()}")
    phone_form = client.get("/login/")
    sign_in(client, code_for)
    asked = client.get("/profile/")
    answer = send(client, "/profile/", **(Page(asked.text).form_with("invite_code") or pytest.fail("no form")).fields)

    assert f"{code[:3]}\N{NO-BREAK SPACE}{code[3:]}" in landing.text
    assert f"You are invited: {code[:3]} {code[3:]}" in words(phone_form)
    assert f"Activate {code[:3]} {code[3:]}?" in words(asked)
    assert "The owner of the code will see your number, +7 929 123-45-67." in words(asked)
    assert answer.status_code == 303
    assert f"The invite that you activated {code[:3]} {code[3:]}, just now" in words(client.get("/profile/"))
    assert "You invited — 1" in words(another.get("/profile/"))


def test_not_now_forgets_the_invite_and_activates_nothing(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59")
    sign_in(client, code_for)

    answer = send(client, "/profile/invite/decline/")

    assert answer.location == "/profile/"
    assert "Q9U" not in words(client.get("/profile/"))
    assert rows(app)["referrals"] == []


def test_somebody_who_has_activated_one_is_not_asked_again(client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    sign_in(another, code_for, BORIS)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(another))

    client.get("/i/Q9UK59")
    page = client.get("/profile/")

    assert "Q9U" not in words(page)
    with client.session_transaction() as kept:
        assert "invite" not in kept


def test_nobody_is_asked_to_activate_their_own_code(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    client.get(f"/i/{invite_code(client)}")

    assert "You came by this invite." not in words(client.get("/profile/"))


def test_a_carried_code_that_nobody_owns_is_said_on_the_form_and_asked_no_more(client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59")
    sign_in(client, code_for)

    answer = send(client, "/profile/", invite_code="Q9UK59")

    assert answer.status_code == 422
    assert "There is no such invite code." in words(answer)
    assert "Activate Q9U" not in words(client.get("/profile/"))


def test_the_landing_of_a_link_tells_nobody_whether_its_code_exists(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    sign_in(another, code_for, BORIS)
    known, unknown = invite_code(another), "Q9UK59"

    with statements() as seen:
        pages = [words(client.get(f"/i/{code}")).replace(f"{code[:3]} {code[3:]}", "…") for code in (known, unknown)]

    assert pages[0] == pages[1]
    assert seen == []


@pytest.mark.parametrize(
    "path", ["/i/!", "/i/Q9UK5", "/i/%00", "/i/%F0%9F%94%A8", "/i/%EF%BC%91%EF%BC%92%EF%BC%93456", f"/i/{'A' * 5000}"]
)
def test_a_link_that_holds_no_code_says_so_and_lets_one_go_on(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert "This invite does not look right" in words(answer)
    assert "You can go on without it" in words(answer)
    assert "You are invited" not in words(client.get("/login/"))


@pytest.mark.parametrize("known", [True, False])
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

    assert answer.location == "/profile/"
    assert "Saved. Анна Ковач +7 929 123-45-67" in words(client.get("/profile/"))


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
    assert "<title>Error: Sign in — Hammer</title>" in answer.text


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
    assert "Has left Hammer just now +7 929 000-00-19 1 minute ago" in words(first)
    assert "To the newest +7 929 000-00-00 20 minutes ago" in words(rest)
    assert "Show more" not in words(rest)


def test_a_place_that_is_none_shows_the_newest(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    for after in ("x", "\0", "9" * 10_000, "1.x"):
        assert client.get("/profile/", query_string={"after": after}).status_code == 200


def test_a_device_can_be_signed_out_from_another(
    client: FlaskClient, another: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    clock.shift(61)
    sign_in(another, code_for)

    page = client.get("/profile/")
    [end] = [form for form in Page(page.text).forms if re.fullmatch(r"/profile/sessions/.+/", form.action)]
    answer = send(client, end.action)

    assert words(page).count("This device") == 1
    assert answer.location == "/profile/"
    assert client.get("/profile/").status_code == 200
    assert another.get("/profile/").status_code == 303


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


def test_nobody_ends_the_session_of_somebody_else(app: Flask, client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    with app.app_context():
        theirs = db.session.scalar(text("select id from sessions"))
    sign_in(another, code_for, BORIS)

    answer = send(another, f"/profile/sessions/{theirs}/")

    assert answer.status_code == 404
    assert client.get("/profile/").status_code == 200


def test_signing_out_ends_the_session_and_not_the_cookie_alone(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    copy = client.get_cookie("hammer")
    assert copy

    answer = send(client, "/logout/")

    assert answer.location == "/login/"
    assert "You are signed out." in words(client.get("/login/"))
    client.set_cookie("hammer", copy.value)
    assert client.get("/profile/").status_code == 303


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

    assert rows(app) == before


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
    for _ in range(3):
        over = send(another, "/login/code/", code=wrong(code_for(BORIS)))
    yield over


def test_every_page_is_well_built(client: FlaskClient, another: FlaskClient, code_for: CodeFor) -> None:
    pages = list(each_page(client, another, code_for))

    for page in pages:
        outline = Outline(page)
        ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
        labelled = {label["for"] for label in outline.all("label")}
        fields = [field for field in outline.all("input") if field.get("type") != "hidden"]
        assert outline.all("html") == [{"lang": "en"}]
        assert [len(outline.all(tag)) for tag in ("title", "h1", "main", "header", "footer", "nav")] == [1] * 6
        assert outline.tags[[tag for tag, _ in outline.tags].index("body") + 1] == ("a", {"href": "#main"})
        assert len(ids) == len(set(ids))
        assert {field["id"] for field in fields} <= labelled
        assert all(set((field.get("aria-describedby") or "").split()) <= set(ids) for field in fields)
        assert all((script["src"] or "").startswith("/static/") and "defer" in script for script in outline.all("script"))
        assert not outline.all("style")
        assert not [name for _, attributes in outline.tags for name in attributes if name == "style" or name.startswith("on")]
        assert {"name": "referrer", "content": "same-origin"} in outline.all("meta")
        assert page.headers["Cache-Control"] == "no-store"
    assert len(pages) == 15


def test_every_signed_in_page_can_sign_out(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    for path in ("/profile/", "/profile/delete/", "/i/Q9UK59"):
        assert [form for form in Page(client.get(path).text).forms if form.action == "/logout/"], path


def test_what_is_personal_stays_out_of_search_engines(client: FlaskClient, code_for: CodeFor) -> None:
    public = Outline(client.get("/login/")).all("meta")
    sign_in(client, code_for)

    assert not [meta for meta in public if meta.get("name") == "robots"]
    for path in ("/profile/", "/profile/delete/", "/i/Q9UK59"):
        assert {"name": "robots", "content": "noindex"} in Outline(client.get(path)).all("meta")


def test_the_language_is_the_browsers_until_somebody_switches(client: FlaskClient, code_for: CodeFor) -> None:
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de, ru;q=0.5"
    before = client.get("/login/")
    [switch] = [link for link in Outline(before).all("a") if link.get("hreflang")]

    client.get(switch["href"] or "")
    sign_in(client, code_for)

    assert (switch["href"], switch["lang"]) == ("/login/?lang=en", "en")
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
    assert {script.get("src") for script in Outline(page).all("script")} == {"/static/ticket.js"}


def test_no_template_lets_markup_through() -> None:
    templates = Path(auth.__file__).parent.parent / "templates"

    unsafe = [file.name for file in templates.rglob("*.html") if re.search(r"\|\s*safe|autoescape", file.read_text())]

    assert unsafe == []


@pytest.mark.parametrize(
    "typed", ["", "\0", "🔨" * 20, "１２３４", "../../etc/passwd", "%(x)s %s {0}", "' or 1=1 --", "\u202e\ufeff", "x" * 10_000]
)
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


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"csrf_token", b"csrf_token=%", b"a" * 16_000, b"=" * 3000, b"&" * 5000])
def test_a_body_that_is_no_form_is_answered_cleanly(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/login/", data=body, content_type="application/x-www-form-urlencoded")

    assert answer.status_code in (400, 413)
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
    assert "evil" not in answer.text
    assert [link["href"] for link in Outline(answer).all("a") if link.get("class") == "button"] == ["/"]


def test_an_address_never_becomes_a_link_to_another_site(client: FlaskClient) -> None:
    answer = client.get("/", environ_overrides={"PATH_INFO": "//evil.example/"})

    assert answer.status_code == 404
    assert "evil" not in answer.text


def test_an_address_that_does_not_open_like_that_names_what_it_takes(client: FlaskClient) -> None:
    answer = client.get("/logout/")

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_a_form_that_is_too_large_is_refused(client: FlaskClient) -> None:
    answer = send(client, "/login/", telephone_number="1" * 20_000)

    assert answer.status_code == 413
    assert "That is too much at once" in words(answer)


def test_a_fault_of_ours_is_a_page_too(app: Flask, client: FlaskClient) -> None:
    app.view_functions["auth.landing"] = lambda invite_code: str(len(invite_code) // 0)
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
        answer = auth.error_page(refusal)

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
    ],
)
def test_waits_are_rounded_up(app: Flask, seconds: int, russian: str, english: str) -> None:
    told = []
    for language in ("ru", "en"):
        with app.test_request_context(headers={"Accept-Language": language}):
            told.append(plain(show.wait(seconds)))

    assert told == [russian, english]


def test_a_number_is_shown_as_people_read_it() -> None:
    assert plain(show.phone(ANNA)) == phones.pretty(ANNA)


# Translations.


def catalogue() -> Any:
    with CATALOGUE.open("rb") as file:
        return read_po(file)


def spellings(sentence: str | tuple[str, ...]) -> tuple[str, ...]:
    """One sentence, or its forms for one, few and many."""
    return sentence if isinstance(sentence, tuple) else (sentence,)


def test_every_sentence_is_translated() -> None:
    keywords = {"_": None, "N_": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
    methods = [("**.py", "python"), ("**.html", "jinja2")]
    sentences = {found[2] for found in extract_from_dir(CATALOGUE.parents[3], methods, keywords=keywords)}

    translated = {message.id for message in catalogue() if message.id and all(spellings(message.string))}

    assert sentences - translated == set()
    assert translated - sentences == set()


def test_every_translation_keeps_the_values_of_its_sentence() -> None:
    for message in catalogue():
        originals, translations = spellings(message.id), spellings(message.string)
        values = set(re.findall(r"%\(\w+\)[sd]", originals[-1]))
        assert all(set(re.findall(r"%\(\w+\)[sd]", translation)) == values for translation in translations if message.id)


def test_the_compiled_catalogue_is_the_newest() -> None:
    compiled = BytesIO()

    write_mo(compiled, catalogue())

    assert compiled.getvalue() == CATALOGUE.with_suffix(".mo").read_bytes()


def test_russian_counts_as_russians_do(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "ru"
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code=wrong(code_for(ANNA)))

    assert "Код не подошёл или устарел. Осталось попыток: 2." in words(answer)
