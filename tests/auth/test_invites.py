"""Invite links and activation, in a browser with scripts off."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

import config
from tests.auth.pages import BORIS, VERA, CodeFor, Outline, form_of, invite_code, rows, send, sign_in, words
from tests.people import Page


@pytest.mark.requirement("INV-06")
def test_an_invite_link_survives_the_login_and_asks_before_it_activates(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(other_client, code_for, BORIS)
    code = invite_code(other_client)

    landing = client.get(f"/i/{code.lower()}")
    phone_form = client.get("/login/")
    sign_in(client, code_for)
    asked = client.get("/profile/")
    [opened] = {button["value"] for button in Outline(asked).all("button") if button.get("name") == "carried"}
    answer = send(client, "/profile/", carried=opened or "", first_name="", last_name="", username="", invite_code="")

    assert f"{code[:3]}\N{NO-BREAK SPACE}{code[3:]}" in landing.text
    assert f"You are invited: {code[:3]} {code[3:]}" in words(phone_form)
    assert f"Activate {code[:3]} {code[3:]}?" in words(asked)
    assert "The owner of the code will see your number as +7 929 123-45-67." in words(asked)
    assert answer.status_code == 303
    assert "The invite that you activated The invite is activated." in words(client.get("/profile/"))
    assert f"The invite that you activated {code[:3]} {code[3:]}, just now" in words(client.get("/profile/"))
    assert "You invited — 1" in words(other_client.get("/profile/"))


def test_not_now_forgets_the_invite_and_activates_nothing(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59")
    sign_in(client, code_for)

    answer = send(client, "/profile/invite/decline/")

    assert answer.location == "/profile/#activation"
    assert "Q9U" not in words(client.get("/profile/"))
    assert rows(app)["referrals"] == []


def test_a_user_who_has_activated_an_invite_is_not_asked_again(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(other_client, code_for, BORIS)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(other_client))

    client.get("/i/Q9UK59")
    page = client.get("/profile/")

    assert "Q9U" not in words(page)
    assert "You have already activated an invite code." in words(page)
    with client.session_transaction() as kept:
        assert "invites" not in kept


def test_no_user_is_asked_to_activate_their_own_code(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    own = invite_code(client)
    send(client, "/logout/")
    client.get(f"/i/{own}")
    sign_in(client, code_for)
    first, later = words(client.get("/profile/")), words(client.get("/profile/"))

    assert "You came by this invite." not in first
    assert ("This is your own invite code." in first, "This is your own invite code." in later) == (True, False)


def test_an_opened_invite_that_is_unknown_is_refused_on_the_form_and_not_asked_about_again(
    client: FlaskClient, code_for: CodeFor
) -> None:
    client.get("/i/Q9UK59")
    sign_in(client, code_for)

    answer = send(client, "/profile/", invite_code="Q9UK59")

    assert answer.status_code == 422
    assert "There is no such invite code." in words(answer)
    assert "Activate Q9U" not in words(client.get("/profile/"))


@pytest.mark.requirement("INV-04")
def test_the_landing_of_a_link_does_not_reveal_whether_its_code_exists(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    sign_in(other_client, code_for, BORIS)
    known, unknown = invite_code(other_client), "Q9UK59"

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
def test_an_unknown_code_does_not_replace_a_good_one(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, late: bool
) -> None:
    sign_in(other_client, code_for, BORIS)
    good = invite_code(other_client)
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


def test_an_unknown_code_that_was_typed_leaves_the_invite_that_was_opened(client: FlaskClient, code_for: CodeFor) -> None:
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
    app: Flask, client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, known: bool
) -> None:
    third = app.test_client()
    sign_in(other_client, code_for, BORIS)
    sign_in(third, code_for, VERA)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(other_client))

    answer = send(client, "/profile/", invite_code=invite_code(third) if known else "Q9UK59")

    assert answer.status_code == 409
    assert "You have already activated an invite code." in words(answer)


@pytest.mark.parametrize("spelling", ["{}", " {} ", "http://localhost:5000/i/{}"])
def test_people_paste_what_they_have(client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, spelling: str) -> None:
    sign_in(other_client, code_for, BORIS)
    sign_in(client, code_for)

    answer = send(client, "/profile/", invite_code=spelling.format(invite_code(other_client).lower()))

    assert answer.status_code == 303


def test_the_landing_says_for_whom_an_invite_is(client: FlaskClient) -> None:
    page = client.get("/i/Q9UK59")

    assert "For anybody with a mobile phone who has not activated another invite." in words(page)
    assert {"property": "og:title", "content": "An invite to Hammer"} in Outline(page).all("meta")


def test_the_landing_of_a_code_in_letters_that_are_not_read_says_which_ones_are(client: FlaskClient) -> None:
    english, russian = (client.get("/i/ЖQ5С3V", headers={"Accept-Language": language}) for language in ("en", "ru"))

    assert "six Latin letters or digits" in words(english)
    assert "латинские буквы и цифры" in words(russian)


def test_the_landing_says_what_one_is_invited_to_in_the_operators_words(
    settings: config.Settings, app_with: Callable[[config.Settings], Flask], client: FlaskClient
) -> None:
    ours = "The club of <b>cooks</b> & friends."
    own = app_with(replace(settings, invitation_default=ours, invitation_ru="Клуб поваров.")).test_client()

    english, russian = (own.get("/i/Q9UK59", headers={"Accept-Language": language}) for language in ("en", "ru"))

    assert "The club of <b>cooks</b> & friends." in words(english)
    assert "<b>cooks" not in english.text
    assert {"property": "og:description", "content": ours} in Outline(english).all("meta")
    assert "Клуб поваров." in words(russian)
    assert "A person who is here already invites you to join." in words(client.get("/i/Q9UK59"))


def test_the_way_on_from_an_invite_keeps_it_in_the_address_for_another_browser(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor
) -> None:
    [way_on] = [link["href"] or "" for link in Outline(client.get("/i/q9uk59")).all("a") if "button" in (link.get("class") or "")]

    opened = other_client.get(way_on)
    again = other_client.get(Page(opened.text).forms[0].action)
    refused = other_client.post(Page(again.text).forms[0].action, data=Page(again.text).forms[0].fields | {"telephone_number": "1"})
    sign_in(other_client, code_for)

    assert way_on == "/login/?invite=Q9UK59"
    assert all("You are invited: Q9U K59" in words(page) for page in (opened, again, refused))
    assert "Activate Q9U K59?" in words(other_client.get("/profile/"))


@pytest.mark.parametrize("rubbish", ["", "K7M", "<script>", "K7M2QX/T9RW4C", "%00" * 6, "x" * 5000])
def test_an_address_without_an_invite_keeps_none(client: FlaskClient, rubbish: str) -> None:
    answer = client.get("/login/", query_string={"invite": rubbish})

    assert answer.status_code == 200
    assert "You are invited" not in words(answer)


def test_a_signed_in_visitor_is_asked_about_the_invite_of_an_address(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    assert client.get("/login/?invite=Q9UK59").location == "/profile/"
    assert "Activate Q9U K59?" in words(client.get("/profile/"))


def test_the_error_of_a_typed_code_is_shown_although_another_invite_was_opened_since(
    client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    typed = form_of(client, "/profile/", "invite_code").fields | {"invite_code": "bad"}
    client.get("/i/ABCDEF")

    answer = client.post("/profile/invite/", data=typed)

    assert Outline(answer).with_id("invite_code")["value"] == "bad"
    assert "An invite code has six letters or digits" in words(answer)


def test_the_landing_of_ones_own_invite_says_to_share_it(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    page = client.get(f"/i/{invite_code(client)}")

    assert "This is your own invite" in words(page)
    assert "Send it to somebody whom you would like to invite." in words(page)
    with client.session_transaction() as kept:
        assert "invites" not in kept


def test_not_now_forgets_the_invite_that_it_stands_beside_alone(client: FlaskClient, code_for: CodeFor) -> None:
    client.get("/i/Q9UK59")
    sign_in(client, code_for)
    client.get("/i/K7M2QX")

    send(client, "/profile/invite/decline/", carried="Q9UK59")

    assert "Activate K7M 2QX?" in words(client.get("/profile/"))


def test_saying_yes_to_an_invite_keeps_the_names_that_are_half_typed(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(other_client, code_for, BORIS)
    client.get(f"/i/{(code := invite_code(other_client))}")
    sign_in(client, code_for)

    answer = send(client, "/profile/", carried=code, was_first_name="", first_name="Анн", last_name="", username="")

    assert "The invite is activated." in words(answer)
    assert Outline(answer).with_id("first_name")["value"] == "Анн"
    assert "You invited — 1" in words(other_client.get("/profile/"))


def test_an_invite_outlives_signing_out(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    client.get("/i/Q9UK59")

    send(client, "/logout/")

    assert "You are invited: Q9U K59" in words(client.get("/login/"))


def test_an_invite_is_not_offered_to_a_user_who_has_activated_one(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(other_client, code_for, BORIS)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(other_client))

    page = words(client.get("/i/Q9UK59"))

    assert "You have already activated an invite code." in page
    assert "Go on to activate" not in page
