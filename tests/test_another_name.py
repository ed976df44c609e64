"""With a name of the operator's own, nothing that people or programs are answered says Hammer, in any spelling.

Technical names stay: those of cookies, of the stylesheet's file and of metrics. Nobody reads them as the name of the service.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from werkzeug.exceptions import abort
from werkzeug.test import TestResponse

from config import CODE_LENGTHS, Settings
from hammer.refusals import NotAllowed, TooManyRequests, Unavailable
from hammer.sms import messages
from hammer.web.access import public
from hammer.web.languages import LANGUAGES
from tests import delivery, routes
from tests.auth.pages import Outline, send, words
from tests.people import Browser, Program

PRINTS = ":".join(["AB"] * 32)
TECHNICAL = re.compile(r"(?:/static/|filename=)hammer\.css|(?:__Host-)?hammer(?:_form|_device|_language)?=")
NOT_OURS = ("GET /documents/",)
"""Scripts of ReDoc and Swagger UI."""
IN_PRODUCTION_CLOSED = ("GET /metrics",)
NUMBERS = (400, 403, 404, 405, 413, 429, 500, 503)


@pytest.fixture
def acme(app_with: Callable[[Settings], Flask], settings: Settings) -> Flask:
    app = app_with(
        replace(
            settings,
            name="Acme",
            accent="#14673A",
            support="mailto:help@example.com",
            terms_url="https://example.com/{language}/terms",
            android_app_hash="FA+9qCX9VSu",
            android_apps=(f"com.example.app:{PRINTS}",),
            apple_apps=("A1B2C3D4E5.com.example.app",),
        )
    )
    app.config["PROPAGATE_EXCEPTIONS"] = False
    for number in NUMBERS:
        app.add_url_rule(f"/broken/{number}", f"auth.broken_{number}", broken(number))
    return app


def broken(number: int) -> Callable[[], str]:
    refusals = {403: NotAllowed(), 429: TooManyRequests(retry_after=9), 503: Unavailable(retry_after=2)}

    @public
    def view() -> str:
        if number in refusals:
            raise refusals[number]
        abort(number)

    return view


def hammers(answer: TestResponse) -> list[str]:
    """Each place where the answer says the name of Hammer."""
    said = "\n".join([*(f"{name}: {value}" for name, value in answer.headers), answer.get_data(as_text=True)])
    said = TECHNICAL.sub("", said)
    return [said[max(0, found.start() - 40) : found.end() + 40] for found in re.finditer("hammer", said, re.IGNORECASE)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_route_says_hammer(acme: Flask, language: str) -> None:
    stranger, person, program = acme.test_client(), Browser(acme), Program(acme)
    person.sign_in("+79291234567")
    program.sign_in("+79297654321")
    program.client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {program.tokens['access_token']}"
    said = dict[str, list[str]]()
    for client in (stranger, person.client, program.client):
        client.environ_base["HTTP_ACCEPT_LANGUAGE"] = language
        for what, answer in routes.every_answer(acme, client, acme.config["SETTINGS"].public_url):
            if not what.startswith((*NOT_OURS, *IN_PRODUCTION_CLOSED)):
                said |= {what: hammers(answer)} if hammers(answer) else {}

    assert said == {}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("number", NUMBERS)
def test_no_error_page_says_hammer_and_each_has_the_name(acme: Flask, number: int, language: str) -> None:
    answer = acme.test_client().get(f"/broken/{number}?lang={language}")

    assert answer.status_code == number
    assert hammers(answer) == []
    assert re.search(r"<title>.+ — Acme</title>", answer.text)
    assert ("mailto:help@example.com" in answer.text) is (number in (403, 500, 503))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_of_a_person_have_the_operators_name_wherever_it_is_said(acme: Flask, language: str) -> None:
    client = acme.test_client()
    client.get(f"/login/?lang={language}")
    asked = send(client, "/login/", telephone_number="+79291234567")
    form = client.get("/login/code/")
    with acme.app_context():
        code = delivery.code_for(acme.config["SETTINGS"], "+79291234567")
    send(client, "/login/code/", code=code)
    profile = client.get("/profile/")
    [actions] = [part for part in Outline(profile).all("div") if "data-link" in part]
    landing = acme.test_client().get(f"/i/Q9UK59?lang={language}")
    card = {str(meta["property"]): meta["content"] for meta in Outline(landing).all("meta") if "property" in meta}

    for answer in (asked, form, profile, landing, client.get("/profile/number/"), client.get("/profile/delete/")):
        assert hammers(answer) == []
    invite = {"en": "An invite to Acme", "ru": "Приглашение в Acme"}[language]
    assert actions["data-title"] == card["og:title"] == invite
    assert "Acme" in str(actions["data-text"])
    assert invite in words(profile)  # the label on paper
    assert card["og:site_name"] == "Acme"
    assert "Acme" in words(landing)


def test_the_api_has_the_operators_name_as_its_title(acme: Flask) -> None:
    client = acme.test_client()

    assert (client.get("/api/v1/openapi.json").json or {})["info"]["title"] == "Acme"
    assert all("<title>Acme API" in client.get(page).text for page in ("/redoc/", "/swagger/"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("length", CODE_LENGTHS)
def test_no_text_says_hammer(acme: Flask, language: str, length: int) -> None:
    ours = acme.config["SETTINGS"]
    texts = [messages.of_code(ours, "1" * length, language, for_login=why) for why in (True, False)]
    texts += [messages.notice(ours, language), messages.test_message(ours)]

    assert all(text.startswith("Acme: ") for text in texts)
    assert not re.search("hammer", "".join(texts), re.IGNORECASE)
