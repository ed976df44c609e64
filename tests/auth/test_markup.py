"""How pages are built: structure, accessibility, what is folded, what search engines and messengers read."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from hammer import auth
from hammer.web.pages import pictures
from tests.actions import wrong_code
from tests.auth.pages import (
    ANNA,
    BORIS,
    UNSAFE,
    CodeFor,
    Outline,
    assert_well_built,
    invite_code,
    plain,
    rows,
    send,
    sign_in,
    words,
)
from tests.people import Page


def test_what_was_typed_stays_and_the_error_belongs_to_its_field(client: FlaskClient) -> None:
    answer = send(client, "/login/", telephone_number="call me")

    field = Outline(answer).with_id("telephone_number")
    assert answer.status_code == 422
    assert (field["value"], field["aria-invalid"]) == ("call me", "true")
    assert "telephone_number-error" in (field["aria-describedby"] or "").split()
    assert Outline(answer).with_id("telephone_number-error")["role"] == "alert"
    assert "autofocus" in field
    assert "<title>Error: Sign in — Hammer</title>" in answer.text


READ = ["/", "/login/", "/login/code/", "/profile/", "/profile/delete/", "/profile/export/", "/i/Q9UK59", "/i/!", "/nowhere"]


def test_opening_any_page_changes_nothing(app: Flask, client: FlaskClient, other_client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    send(other_client, "/login/", telephone_number=BORIS)
    before = rows(app)

    for browser in (client, other_client, app.test_client()):
        for path in READ:
            browser.get(path)
            browser.head(path)
        for path in UNSAFE:
            browser.get(path)

    after = rows(app)
    assert all("'data-exported'" in noted for noted in set(after.pop("events")) - set(before.pop("events")))
    assert after == before


def each_page(client: FlaskClient, other_client: FlaskClient, code_for: CodeFor) -> Iterator[TestResponse]:
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
    send(other_client, "/login/", telephone_number=BORIS)
    typed = code_for(BORIS)
    for _ in range(3):
        typed = wrong_code(typed)
        over = send(other_client, "/login/code/", code=typed)
    yield over


def test_every_page_is_well_built(client: FlaskClient, other_client: FlaskClient, code_for: CodeFor) -> None:
    pages = list(each_page(client, other_client, code_for))

    for page in pages:
        assert_well_built(page)
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


def test_the_profile_draws_the_invite_link_for_cameras(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    page = client.get("/profile/").text
    link = re.search(r"http://localhost:5000/i/[A-Z0-9]{6}", page)
    assert link is not None
    assert pictures.qr(link[0]) in page


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
        shown = " ".join(cards)
        assert not [word for word in ("Анна", "Ковач", "anna", ANNA, code) if word in shown]
        assert re.search(r"http://localhost:5000/static/card\.png\?v=\w+", shown)


def folds(answer: TestResponse) -> list[bool]:
    """Whether each `details` element is open: the field for an invite, the names, ..."""
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
    """The texts of the filled buttons."""
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


def test_the_mark_is_the_same_in_the_tab_and_on_the_page(client: FlaskClient) -> None:
    mark = (Path(auth.__file__).parent.parent / "static" / "mark.svg").read_text()

    shapes = re.findall(r' d="([^"]+)"', mark)

    assert shapes
    assert all(shape in client.get("/login/").text for shape in shapes)
