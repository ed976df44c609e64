"""The profile's list of apps that the person signed in to: what it says, and how they leave an app."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from config import Settings
from hammer.db.database import db
from hammer.models import Client, Consent, Session, SessionKind, User
from tests import apps
from tests.auth.pages import ANNA, BORIS, CodeFor, Outline, invite_code, send, sign_in, words

HEADING = "Apps that you signed in to"
EVERYTHING = "openid phone profile invites offline_access"


def sign_in_to(app: Flask, settings: Settings, scopes: str, number: str = ANNA, **client: object) -> str:
    """Signs the person of this number in to a new app, in the session of their browser. Returns the client's id."""
    with app.app_context():
        made: Client = apps.add_app(**client)  # type: ignore[arg-type]
        of_browser = select(Session).join(User).where(User.telephone_number == number, Session.kind == SessionKind.BROWSER)
        apps.sign_in(settings, made, db.session.scalars(of_browser).one(), scopes)
        return made.id


def is_signed_in_to(app: Flask, client_id: str) -> bool:
    with app.app_context():
        live = select(Session.id).where(Session.client_id == client_id, Session.ended_at.is_(None))
        return db.session.scalars(live).first() is not None


def buttons(client: FlaskClient) -> list[str]:
    """What the buttons of the list are called."""
    every = Outline(client.get("/profile/")).all("button")
    return [button.get("aria-label") or "" for button in every if "/profile/apps/" in (button.get("formaction") or "")]


def test_a_person_without_apps_sees_no_list(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    assert HEADING not in words(client.get("/profile/"))


@pytest.mark.parametrize(
    ("scopes", "known"),
    [
        ("openid", "Knows you only by an id."),
        ("openid phone", "May know your number."),
        ("openid profile invites", "May know your names, your invites."),
        (EVERYTHING, "May know your number, your names, your invites, even when you are not using it."),
        ("openid offline_access", "Knows you only by an id."),
    ],
)
def test_the_profile_says_what_an_app_may_know(
    app: Flask, settings: Settings, client: FlaskClient, code_for: CodeFor, scopes: str, known: str
) -> None:
    sign_in(client, code_for)
    sign_in_to(app, settings, scopes, name="Shop <b>")

    page = client.get("/profile/")

    assert f"{HEADING} Shop <b> {known} Last used just now Sign out Sign out and forget" in words(page)
    assert buttons(client) == ["Sign out of Shop <b>", "Sign out of Shop <b> and forget it"]
    assert words(page).count("Signed in") == 1  # on this device: the app is no device


def test_the_operators_own_app_is_never_asked_about_and_cannot_be_forgotten(
    app: Flask, settings: Settings, client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    sign_in_to(app, settings, "openid phone", name="Wiki", first_party=True)

    assert f"{HEADING} Wiki Belongs to Hammer. May know your number. Last used just now" in words(client.get("/profile/"))
    assert buttons(client) == ["Sign out of Wiki"]


def test_leaving_an_app_keeps_what_it_was_allowed(app: Flask, settings: Settings, client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    shop = sign_in_to(app, settings, "openid phone")

    answer = send(client, f"/profile/apps/{shop}/end/")

    assert (answer.status_code, answer.location) == (303, "/profile/#apps")
    assert not is_signed_in_to(app, shop)
    page = words(client.get("/profile/"))
    assert f"{HEADING} You are signed out of the app. Shop May know your number. You are not signed in to it now. Forget" in page
    assert "This device" in page
    assert buttons(client) == ["Forget Shop"]


def test_forgetting_an_app_also_signs_out_of_it_and_is_said_where_the_list_was(
    app: Flask, settings: Settings, client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    shop = sign_in_to(app, settings, "openid phone")

    answer = send(client, f"/profile/apps/{shop}/forget/")

    assert (answer.status_code, answer.location) == (303, "/profile/#apps")
    assert not is_signed_in_to(app, shop)
    with app.app_context():
        assert db.session.scalars(select(Consent)).all() == []
    assert f"{HEADING} The app is forgotten. Next time it asks you again. Your data" in words(client.get("/profile/"))
    assert HEADING not in words(client.get("/profile/"))


@pytest.mark.parametrize("what", ["end", "forget"])
@pytest.mark.parametrize("client_id", ["x", "A" * 22, "%00", "A" * 500])
def test_an_app_that_is_none_is_not_found(client: FlaskClient, code_for: CodeFor, client_id: str, what: str) -> None:
    sign_in(client, code_for)

    answer = send(client, f"/profile/apps/{client_id}/{what}/")

    assert answer.status_code == 404
    assert "You are not signed in to that app any more." in words(answer)


@pytest.mark.parametrize("what", ["end", "forget"])
def test_the_apps_of_others_are_out_of_reach(
    app: Flask, settings: Settings, client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, what: str
) -> None:
    sign_in(other_client, code_for, BORIS)
    shop = sign_in_to(app, settings, "openid phone", BORIS)
    sign_in(client, code_for)

    answer = send(client, f"/profile/apps/{shop}/{what}/")

    assert answer.status_code == 404
    assert is_signed_in_to(app, shop)
    assert buttons(other_client) == ["Sign out of Shop", "Sign out of Shop and forget it"]


@pytest.mark.parametrize("what", ["end", "forget"])
def test_an_address_of_the_list_that_is_opened_leads_to_the_profile(
    app: Flask, settings: Settings, client: FlaskClient, code_for: CodeFor, what: str
) -> None:
    sign_in(client, code_for)
    shop = sign_in_to(app, settings, "openid phone")

    assert client.get(f"/profile/apps/{shop}/{what}/").location == "/profile/"
    assert is_signed_in_to(app, shop)


def test_names_that_are_half_typed_stay_when_one_leaves_an_app(
    app: Flask, settings: Settings, client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    shop = sign_in_to(app, settings, "openid phone")

    answer = send(client, f"/profile/apps/{shop}/end/", first_name="An", was_first_name="")

    assert not is_signed_in_to(app, shop)
    assert Outline(answer).with_id("first_name")["value"] == "An"
    assert "You are signed out of the app." in words(answer)
    assert invite_code(client)
