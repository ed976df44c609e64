"""Whatever an address holds: no fault of the server, and no way to an address that is not registered."""

from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.actions import ANNA
from tests.backends import basic
from tests.examples import examples
from tests.people import Browser
from tests.relying_party import REDIRECT_URI, RelyingParty

NAMES = [
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "id_token_hint",
    "ui_locales",
    "login_hint",
    "claims",
    "request",
    "request_uri",
    "registration",
    "response_mode",
    "display",
    "acr_values",
    "invite",
    "authorization",
    "lang",
    "post_logout_redirect_uri",
    "_external",
    "_anchor",
    "x",
]
FIELDS = [
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "token",
    "token_type_hint",
    "scope",
    "client_id",
    "access_token",
]
STRANGE = ["", "\0", "\ud800", "ы", "\r\nSet-Cookie: a=b", "'\"\\<>", "a" * 3000, "none", "https://evil.example/", "\u202e"]
EXAMPLES = 150

values = st.sampled_from(STRANGE) | st.text(max_size=40) | st.just(REDIRECT_URI)
changes = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=4)
drawn = settings(max_examples=examples(EXAMPLES), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def party(app: Flask) -> RelyingParty:
    return RelyingParty(app, post_logout_redirect_uris=[REDIRECT_URI])


def encoded(parameters: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name)}={quote(value.encode(errors='surrogatepass'))}" for name, value in parameters)


def assert_in_order(answer: Any) -> None:
    assert answer.status_code in (200, 303, 400, 404), answer.text
    location = urlsplit(answer.headers.get("Location", ""))
    assert not location.netloc or answer.headers["Location"].partition("?")[0] == REDIRECT_URI
    assert "\n" not in answer.headers.get("Location", "")


@pytest.mark.parametrize("signed_in", [False, True])
def test_no_request_of_an_app_is_too_strange(app: Flask, party: RelyingParty, signed_in: bool) -> None:
    browser = Browser(app)
    if signed_in:
        party.sign_in(browser, ANNA)

    @drawn
    @given(changes, st.booleans())
    def send(changed: list[tuple[str, str]], added: bool) -> None:
        usual = dict(part.split("=", 1) for part in urlsplit(party.address()).query.split("&"))
        kept = {name: value for name, value in usual.items() if added or name not in dict(changed)}
        sent = "&".join(filter(None, ("&".join(f"{name}={value}" for name, value in kept.items()), encoded(changed))))
        assert_in_order(browser.client.get(f"/oauth/authorize?{sent}"))
        posted = browser.client.post("/oauth/authorize", data=sent, content_type="application/x-www-form-urlencoded")
        assert_in_order(posted)

    send()


@pytest.mark.parametrize("path", ["/oauth/logout", "/oauth/continue", "/oauth/leave", "/login/"])
def test_no_address_of_a_page_is_too_strange(party: RelyingParty, browser: Browser, path: str) -> None:
    @drawn
    @given(changes)
    def send(changed: list[tuple[str, str]]) -> None:
        answer = browser.client.get(f"{path}?{encoded([('client_id', party.client_id), *changed])}")
        assert_in_order(answer)

    send()


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/userinfo"])
def test_no_form_of_an_app_is_too_strange(party: RelyingParty, path: str) -> None:
    grants = st.sampled_from(["authorization_code", "refresh_token", "client_credentials"])

    @drawn
    @given(grants, st.lists(st.tuples(st.sampled_from(FIELDS), values), max_size=4))
    def send(grant: str, sent: list[tuple[str, str]]) -> None:
        body = f"{urlencode({'grant_type': grant})}&{encoded(sent)}"
        own = {"Authorization": basic(party.client_id, party.secret)}
        for headers in (own, {}):
            answer = party.http.post(path, data=body, headers=headers, content_type="application/x-www-form-urlencoded")
            assert answer.status_code in (200, 400, 401, 429), answer.text
            assert answer.mimetype == "application/json" or path == "/oauth/revoke"

    send()
