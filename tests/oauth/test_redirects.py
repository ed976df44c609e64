"""Answers go to registered addresses alone, letter by letter, and no page of ours leads anywhere else."""

from urllib.parse import quote, urlencode, urlsplit

import pytest
from flask import Flask

from hammer.clients import registry
from hammer.refusals import InvalidFields
from tests.actions import ANNA
from tests.people import Browser, Page
from tests.relying_party import REDIRECT_URI, RelyingParty, answered, way_on

AFTER_LOGOUT = "https://app.example/bye"
VARIANTS = [
    "https://evil.example/callback",
    "https://evil.example/?https://app.example/callback",
    "https://app.example.evil.example/callback",
    "https://app.example@evil.example/callback",
    "https://evil.example\\@app.example/callback",
    "https://evil.example#@app.example/callback",
    "https://app.example/callback/../other",
    "https://app.example/./callback",
    "https://app.example//callback",
    "https://app.example/callback/",
    "https://app.example/Callback",
    "https://APP.example/callback",
    "HTTPS://app.example/callback",
    "http://app.example/callback",
    "https://app.example:443/callback",
    "https://app.example:8443/callback",
    "https://user@app.example/callback",
    "https://user:secret@app.example/callback",
    "https://app.example/callback?",
    "https://app.example/callback?next=https://evil.example",
    "https://app.example/callback#",
    "https://app.example/callback#fragment",
    "https://app.example/callbac%6B",
    "https://app.example/call%62ack",
    "https://app.example/callback%00",
    "https://app.example/callback\0",
    "https://app.example/callback\r\nSet-Cookie: a=b",
    "https://app.example/callback https://evil.example",
    " https://app.example/callback",
    "https://app.example/callback ",
    "https://app.example/callback\n",
    "https://аpp.example/callback",  # a Cyrillic letter
    "https://app。example/callback",
    "//app.example/callback",
    "/callback",
    "\\\\evil.example",
    "javascript:alert(1)//https://app.example/callback",
    "data:text/html,<script>alert(1)</script>",
    "callback",
    " ",
    "\ud800",
    'https://app.example/callback"',
]


@pytest.fixture
def party(app: Flask) -> RelyingParty:
    return RelyingParty(app, post_logout_redirect_uris=[AFTER_LOGOUT])


@pytest.mark.parametrize("uri", VARIANTS, ids=ascii)
def test_a_variant_of_the_registered_address_gets_a_page_and_no_redirect(party: RelyingParty, browser: Browser, uri: str) -> None:
    browser.sign_in(ANNA)
    sent = quote(uri.encode(errors="surrogatepass"))
    for changed in ({}, {"prompt": "none"}, {"response_type": "token"}, {"scope": ""}, {"request": "x"}):
        address = party.address(**({"redirect_uri": None} | changed)) + f"&redirect_uri={sent}"
        answer = browser.client.get(address)
        assert answer.status_code == 400
        assert "Location" not in answer.headers
        assert "onward" not in answer.text


@pytest.mark.parametrize("first", [True, False])
def test_a_repeated_redirect_uri_gets_a_page_and_no_redirect(party: RelyingParty, browser: Browser, first: bool) -> None:
    evil = "https://evil.example/callback"
    two = [REDIRECT_URI, evil] if first else [evil, REDIRECT_URI]
    address = party.address(redirect_uri=None) + "".join(f"&redirect_uri={quote(uri)}" for uri in two)
    for answer in (browser.client.get(address), browser.client.post("/oauth/authorize", data={"redirect_uri": two})):
        assert answer.status_code == 400 or answer.headers["Location"].startswith("/oauth/authorize?")
        assert not answer.headers.get("Location", "").startswith("http")


def test_a_request_without_an_address_gets_a_page_also_where_one_is_registered(party: RelyingParty, browser: Browser) -> None:
    for changed in ({"redirect_uri": None}, {"redirect_uri": ""}):
        assert browser.client.get(party.address(**changed)).status_code == 400


def test_the_address_of_another_app_is_refused(app: Flask, party: RelyingParty, browser: Browser) -> None:
    other = RelyingParty(app, "Other", redirect_uris=["https://other.example/callback"])
    assert browser.client.get(other.address()).status_code == 400
    assert browser.client.get(party.address(redirect_uri="https://other.example/callback")).status_code == 400


def test_one_of_several_registered_addresses_is_answered_and_the_code_works_for_it_alone(app: Flask, browser: Browser) -> None:
    second = "https://app.example/second?tenant=1"
    party = RelyingParty(app, redirect_uris=[REDIRECT_URI, second])
    party.sign_in(browser, ANNA, redirect_uri=second)
    for used, status in ((REDIRECT_URI, 400), (second, 200)):
        back = browser.client.get(party.address(redirect_uri=second, prompt="none"))
        assert way_on(back).startswith(f"{second}&code=")
        assert party.exchange(answered(back)["code"], redirect_uri=used).status_code == status


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "data:text/html,x", "http://app.example/", "https://a@b.example/", "//x/"])
def test_no_address_can_be_registered_that_a_browser_would_read_otherwise(party: RelyingParty, app: Flask, uri: str) -> None:
    with app.app_context(), pytest.raises(InvalidFields):
        registry.change(party.client_id, redirect_uris=[uri])


@pytest.mark.parametrize(
    "query",
    ["next", "then", "return_to", "url", "redirect_uri", "post_logout_redirect_uri", "way_on", "authorization", "state", "lang"],
)
@pytest.mark.parametrize("path", ["/oauth/authorize", "/oauth/continue", "/oauth/leave", "/oauth/logout", "/login/"])
def test_no_page_leads_to_an_address_that_it_is_given(party: RelyingParty, browser: Browser, path: str, query: str) -> None:
    for evil in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
        answer = browser.client.get(f"{path}?{urlencode({'client_id': party.client_id, query: evil})}")
        assert answer.status_code in (200, 400, 404)
        assert "Location" not in answer.headers
        assert "onward" not in answer.text
        assert f'href="{evil}' not in answer.text


@pytest.mark.parametrize(
    "uri", ["https://evil.example/", f"{AFTER_LOGOUT}/", f"{AFTER_LOGOUT}?a=b", REDIRECT_URI, "javascript:alert(1)"]
)
def test_after_a_logout_nothing_leads_to_an_address_that_is_not_registered(party: RelyingParty, browser: Browser, uri: str) -> None:
    id_token = party.tokens(browser, ANNA)["id_token"]
    asked = {"client_id": party.client_id, "post_logout_redirect_uri": uri}
    confirmed = browser.send(Page(browser.client.get(f"/oauth/logout?{urlencode(asked)}").text).forms[-1])
    assert browser.last is not None
    by_hint = browser.client.get(f"/oauth/logout?{urlencode(asked | {'id_token_hint': id_token})}")

    assert "onward" not in browser.last.text + by_hint.text
    assert by_hint.status_code == 200
    assert "You are signed out" in confirmed.words


def test_an_error_is_no_way_around_the_check_of_the_host(party: RelyingParty, browser: Browser) -> None:
    """The address of an error is compared first, whatever else is wrong."""
    answer = browser.client.get(
        party.address(response_type="token", scope="none", prompt="x", redirect_uri="https://evil.example/")
    )
    assert answer.status_code == 400
    assert urlsplit(answer.headers.get("Location", "")).netloc == ""


def test_a_way_back_leads_to_no_address_that_was_taken_away(app: Flask, party: RelyingParty, browser: Browser) -> None:
    page = party.send(browser)
    with app.app_context():
        registry.change(party.client_id, redirect_uris=["https://new.example/callback"])
    browser.enter(Page(page.text), ANNA)
    assert browser.last is not None
    assert "onward" not in browser.last.text
    assert browser.last.status_code == 404
