"""The sites of the guides sign a person in from their own server."""

import re

import pytest
import requests

from tests.actions import wrong_code
from tests.cli.commands import CLOSED_PORT
from tests.integrate.conftest import PORT, Read, Start
from tests.serving import HOME, Server

FLASK = ("flask", "--app", "small_site", "run", "--port", PORT)
EXPRESS = ("node", "small_site.mjs")


each_small_site = pytest.mark.parametrize(
    "command", [pytest.param(FLASK, id="flask"), pytest.param(EXPRESS, id="express", marks=pytest.mark.needs("node"))]
)


@each_small_site
def test_a_small_site_signs_a_person_in_and_finds_them_by_sub(
    start: Start, server: Server, read: Read, number: str, command: tuple[str, ...]
) -> None:
    site = start(*command)
    assert 'action="/number"' in requests.get(site, timeout=30).text

    asked = requests.post(f"{site}/number", data={"typed": number}, timeout=30)
    [verification_id] = re.findall(r'name=id value="([^"]+)"', asked.text)
    wrong = requests.post(f"{site}/code", data={"id": verification_id, "typed": wrong_code(read(number))}, timeout=30)
    signed_in = requests.post(f"{site}/code", data={"id": verification_id, "typed": read(number)}, timeout=30)

    me = server.call("GET", "/users/me/", token=server.sign_in(number)["access_token"]).json
    assert signed_in.text == f"You are {me['invite_code']}, with the id {me['id']}."
    assert wrong.status_code == 401


@each_small_site
@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en-GB,en;q=0.9", "This does not look like a telephone number."),
        ("ru", "Это не похоже на номер телефона."),
    ],
)
def test_a_small_site_says_in_the_language_of_the_browser_what_is_wrong_with_a_number(
    start: Start, command: tuple[str, ...], language: str, sentence: str
) -> None:
    refused = requests.post(
        f"{start(*command)}/number", data={"typed": "no number"}, headers={"Accept-Language": language}, timeout=30
    )

    assert refused.status_code == 422
    assert sentence in refused.text
    assert "small_site" not in refused.text


@each_small_site
def test_a_small_site_with_a_wrong_secret_says_so(start: Start, number: str, command: tuple[str, ...]) -> None:
    site = start(*command, LOGIN_CLIENT_SECRET="wrong")

    refused = requests.post(f"{site}/number", data={"typed": number}, timeout=30)

    assert refused.status_code == 401
    assert "The client or its secret is wrong, or the client is disabled." in refused.text
    assert "small_site" not in refused.text


@each_small_site
def test_a_small_site_shows_no_stack_when_the_server_is_away(start: Start, number: str, command: tuple[str, ...]) -> None:
    site = start(*command, LOGIN_URL=f"http://{HOME}:{CLOSED_PORT}")

    failed = requests.post(f"{site}/number", data={"typed": number}, timeout=30)

    assert failed.status_code == 500
    assert "small_site" not in failed.text


def test_the_server_rendered_site_signs_a_person_in_and_out(start: Start, server: Server, read: Read, number: str) -> None:
    site, browser = start("flask", "--app", "website", "run", "--port", PORT), requests.Session()

    def post(path: str, typed: str = "") -> requests.Response:
        return browser.post(
            f"{site}{path}", data={"typed": typed}, headers={"User-Agent": "Mozilla/5.0 (Android) Firefox/1"}, timeout=30
        )

    assert "This does not look like a telephone number." in post("/number", "no number").text
    asked = post("/number", number)
    wrong, signed_in = post("/code", wrong_code(read(number))), post("/code", read(number))

    assert "one-time-code" in asked.text
    assert wrong.status_code == 401
    assert (signed_in.url, signed_in.status_code) == (f"{site}/", 200)
    others = server.sign_in(number)
    me = server.call("GET", "/users/me/", token=others["access_token"]).json
    assert me["id"] in signed_in.text
    assert number[-2:] in signed_in.text
    devices = server.call("GET", "/auth/sessions/", token=others["access_token"]).json
    assert [(device["device"], device["client"]) for device in devices if not device["current"]] == [
        ("Firefox · Android", "The app")
    ]
    assert browser.cookies.keys() == ["session"]

    out = post("/out")

    assert 'action="/number"' in out.text
    devices = server.call("GET", "/auth/sessions/", token=others["access_token"]).json
    assert [device["current"] for device in devices] == [True]


def test_the_server_rendered_site_asks_a_person_who_was_deleted_for_a_number(
    start: Start, server: Server, read: Read, number: str
) -> None:
    site, browser = start("flask", "--app", "website", "run", "--port", PORT), requests.Session()
    browser.post(f"{site}/number", data={"typed": number}, timeout=30)
    signed_in = browser.post(f"{site}/code", data={"typed": read(number)}, timeout=30)
    assert "Sign out" in signed_in.text

    server.call("DELETE", "/users/me/", token=server.sign_in(number)["access_token"])

    assert 'action="/number"' in browser.get(site, timeout=30).text
