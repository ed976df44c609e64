"""Apps send people to sign out (OpenID Connect RP-Initiated Logout)."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from flask import Flask
from time_machine import Traveller
from werkzeug.test import TestResponse

from hammer.clients import registry
from tests.actions import ANNA, BORIS
from tests.people import Browser, Page
from tests.relying_party import RelyingParty, follow, way_on

BYE = "https://app.example/bye"
SIGN_OUT = "/oauth/logout/confirm"


@pytest.fixture
def party(app: Flask) -> RelyingParty:
    return RelyingParty(app, post_logout_redirect_uris=[BYE, f"{BYE}?from=hammer"])


def send(browser: Browser, **sent: str) -> TestResponse:
    return browser.client.get(f"/oauth/logout?{urlencode(sent)}", headers={"Accept-Language": "en"})


def confirmed(browser: Browser, answer: TestResponse) -> TestResponse:
    """Presses the button of the page that asks."""
    form = next(form for form in Page(answer.text).forms if form.action.startswith(SIGN_OUT))
    return browser.client.post(form.action, data=form.fields, headers={"Accept-Language": "en"})


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_with_an_id_token_of_the_person_the_sign_out_is_done_at_once(party: RelyingParty, browser: Browser, method: str) -> None:
    given = party.tokens(browser, ANNA, scope="openid offline_access")
    sent = {"id_token_hint": given["id_token"], "post_logout_redirect_uri": BYE, "state": "s & t"}
    address, body = (f"/oauth/logout?{urlencode(sent)}", None) if method == "GET" else ("/oauth/logout", sent)
    answer = follow(browser, browser.client.open(address, method=method, data=body))

    assert (answer.status_code, answer.headers["Location"]) == (303, f"{BYE}?state=s+%26+t")
    assert not browser.is_signed_in()
    assert party.refresh(given["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert party.userinfo(given["access_token"]).status_code == 401


def test_an_id_token_from_long_ago_is_as_good(party: RelyingParty, browser: Browser, clock: Traveller) -> None:
    given = party.tokens(browser, ANNA)
    clock.shift(timedelta(days=2))
    assert send(browser, id_token_hint=given["id_token"], post_logout_redirect_uri=BYE).headers["Location"] == BYE
    assert not browser.is_signed_in()


def test_a_sign_out_in_one_app_signs_out_of_all_in_this_browser_and_no_other(
    app: Flask, party: RelyingParty, browser: Browser
) -> None:
    other = RelyingParty(app, "Nextcloud")
    elsewhere = Browser(app)
    given, there = party.tokens(browser, ANNA), party.tokens(elsewhere, ANNA)
    also = other.tokens(browser)
    send(browser, id_token_hint=given["id_token"])

    assert other.userinfo(also["access_token"]).status_code == 401
    assert party.userinfo(there["access_token"]).status_code == 200
    assert elsewhere.is_signed_in()


def test_an_id_token_in_other_hands_ends_nothing(app: Flask, party: RelyingParty, browser: Browser) -> None:
    given = party.tokens(browser, ANNA)
    answer = send(Browser(app), id_token_hint=given["id_token"], post_logout_redirect_uri=BYE)
    assert answer.headers["Location"] == BYE
    assert browser.is_signed_in()
    assert party.userinfo(given["access_token"]).status_code == 200


def test_with_an_id_token_of_an_earlier_session_the_person_is_asked(party: RelyingParty, browser: Browser) -> None:
    before = party.tokens(browser, ANNA)["id_token"]
    browser.sign_out()
    browser.sign_in(ANNA)

    assert send(browser, id_token_hint=before).status_code == 200
    assert browser.is_signed_in()


def test_with_an_id_token_of_a_disabled_app_the_person_is_asked(app: Flask, party: RelyingParty, browser: Browser) -> None:
    given = party.tokens(browser, ANNA)["id_token"]
    with app.app_context():
        registry.disable(party.client_id)

    assert send(browser, id_token_hint=given).status_code == 200
    assert browser.is_signed_in()


def test_a_form_of_another_site_signs_out_nobody(browser: Browser) -> None:
    browser.sign_in(ANNA)
    sent = browser.client.post("/oauth/logout", headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})

    assert (sent.status_code, sent.headers["Location"]) == (303, "/oauth/logout")
    assert "hammer=" not in str(sent.headers.getlist("Set-Cookie"))
    assert browser.is_signed_in()


def test_without_an_id_token_the_person_is_asked_and_then_led_on(party: RelyingParty, browser: Browser) -> None:
    given = party.tokens(browser, ANNA)
    asked = send(browser, client_id=party.client_id, post_logout_redirect_uri=BYE, state="s")
    assert asked.status_code == 200
    assert "Grafana asks to sign you out" in asked.text
    assert browser.is_signed_in()

    answer = confirmed(browser, asked)
    assert (answer.status_code, way_on(answer)) == (200, f"{BYE}?state=s")
    assert not browser.is_signed_in()
    assert party.userinfo(given["access_token"]).status_code == 401


def test_an_id_token_of_another_session_still_says_which_app_to_lead_back_to(
    app: Flask, party: RelyingParty, browser: Browser
) -> None:
    elsewhere = party.tokens(Browser(app), ANNA)
    browser.sign_in(ANNA)
    asked = send(browser, id_token_hint=elsewhere["id_token"], post_logout_redirect_uri=BYE)
    assert way_on(confirmed(browser, asked)) == BYE


def test_with_nothing_the_person_is_asked_and_sees_that_it_is_done(party: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    answer = confirmed(browser, send(browser, state="only a state"))
    assert "You are signed out" in answer.text
    assert "onward" not in answer.text
    assert not browser.is_signed_in()


def test_a_browser_that_is_signed_out_already_is_led_on(party: RelyingParty, browser: Browser) -> None:
    assert send(browser, client_id=party.client_id, post_logout_redirect_uri=BYE).headers["Location"] == BYE
    assert "You are signed out" in send(browser).text


def test_an_id_token_of_another_person_asks(app: Flask, party: RelyingParty, browser: Browser) -> None:
    hers = party.tokens(Browser(app), BORIS)
    given = party.tokens(browser, ANNA)
    asked = send(browser, id_token_hint=hers["id_token"], post_logout_redirect_uri=BYE)

    assert "Sign out?" in asked.text
    assert browser.is_signed_in()
    for tokens in (hers, given):
        assert party.userinfo(tokens["access_token"]).status_code == 200


def test_an_id_token_of_another_app_asks(app: Flask, party: RelyingParty, browser: Browser) -> None:
    other = RelyingParty(app, "Nextcloud", redirect_uris=["https://app.example/callback"])
    given = other.tokens(browser, ANNA)
    asked = send(browser, id_token_hint=given["id_token"], client_id=party.client_id, post_logout_redirect_uri=BYE)
    assert asked.status_code == 200
    assert browser.is_signed_in()


def test_an_address_with_a_query_keeps_it(party: RelyingParty, browser: Browser) -> None:
    answer = send(browser, client_id=party.client_id, post_logout_redirect_uri=f"{BYE}?from=hammer", state="s")
    assert answer.headers["Location"] == f"{BYE}?from=hammer&state=s"


def test_a_client_that_is_disabled_leads_nowhere(app: Flask, party: RelyingParty, browser: Browser) -> None:
    with app.app_context():
        registry.disable(party.client_id)
    assert "Location" not in send(browser, client_id=party.client_id, post_logout_redirect_uri=BYE).headers


def test_another_language_keeps_what_the_app_asked_for(party: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    asked = send(browser, client_id=party.client_id, post_logout_redirect_uri=BYE, state="s")
    found = [link for link in asked.text.split('"') if link.startswith("/oauth/logout?") and "lang=ru" in link]
    page = browser.client.get(found[0].replace("&amp;", "&"))
    assert '<html lang="ru">' in page.text
    assert way_on(confirmed(browser, page)) == f"{BYE}?state=s"


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_another_site_cannot_press_the_button(browser: Browser, headers: dict[str, str]) -> None:
    browser.sign_in(ANNA)
    form = next(form for form in Page(send(browser).text).forms if form.action.startswith(SIGN_OUT))
    assert browser.client.post(form.action, data=form.fields, headers=headers).status_code == 403
    browser.client.post("/oauth/logout", headers=headers)
    assert browser.is_signed_in()
