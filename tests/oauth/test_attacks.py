"""Attacks on the sign-in to apps (RFC 9700, RFC 6819): each fails."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from time_machine import Traveller

from hammer.clients import registry
from hammer.users import accounts
from tests.actions import ANNA, BORIS
from tests.people import Browser, Form, Page
from tests.relying_party import REDIRECT_URI, VERIFIER, RelyingParty, allow, answered, s256, way_on

OTHER_VERIFIER = "the-verifier-of-an-attacker-has-43-characters-too"
OTHER_URI = "https://other.example/callback"


@pytest.fixture
def party(app: Flask) -> RelyingParty:
    return RelyingParty(app)


@pytest.fixture
def other(app: Flask) -> RelyingParty:
    return RelyingParty(app, "Nextcloud", redirect_uris=[OTHER_URI])


def assert_refused(answer: Any, error: str = "invalid_grant", status: int = 400) -> None:
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)


def user_id(party: RelyingParty, given: dict[str, Any]) -> str:
    return str(party.claims(given["id_token"])["sub"])


def consent(party: RelyingParty, browser: Browser, number: str, **changed: str | None) -> Form:
    """The form that asks a person who has just signed in."""
    browser.enter(Page(party.send(browser, **changed).text), number)
    assert browser.last is not None
    return form_of(browser.last.text)


def form_of(page: str) -> Form:
    return next(form for form in Page(page).forms if form.action.startswith("/oauth/continue"))


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("verifier", [OTHER_VERIFIER, None, "", "short", s256(VERIFIER), f"{VERIFIER}\n", f" {VERIFIER}", "я" * 50])
def test_a_code_of_another_person_that_is_injected_with_a_foreign_verifier_gives_nothing(
    app: Flask, browser: Browser, verifier: str | None, public: bool
) -> None:
    party = RelyingParty(app, public=public)
    stolen = party.sign_in(browser, ANNA)["code"]
    assert_refused(party.exchange(stolen, verifier=verifier))
    assert_refused(party.exchange(stolen))  # it was spent


def test_a_code_works_for_its_own_app_and_address_alone(party: RelyingParty, other: RelyingParty, browser: Browser) -> None:
    code = party.sign_in(browser, ANNA)["code"]
    assert_refused(other.exchange(code))
    assert_refused(party.exchange(code, redirect_uri=OTHER_URI))
    assert_refused(party.exchange(party.sign_in(browser)["code"], redirect_uri=""))
    assert party.exchange(party.sign_in(browser)["code"]).status_code == 200


def test_a_code_is_over_after_a_minute(party: RelyingParty, browser: Browser, clock: Traveller) -> None:
    code = party.sign_in(browser, ANNA)["code"]
    clock.shift(timedelta(seconds=61))
    assert_refused(party.exchange(code))


def test_a_replayed_code_ends_the_tokens_and_not_those_of_another_sign_in(party: RelyingParty, browser: Browser) -> None:
    kept = party.tokens(browser, ANNA, scope="openid offline_access")
    code = party.sign_in(browser, scope="openid offline_access")["code"]
    given = party.exchange(code).get_json()
    assert_refused(party.exchange(code, verifier=OTHER_VERIFIER))

    assert_refused(party.refresh(given["refresh_token"]))
    assert_refused(party.userinfo(given["access_token"]), "invalid_token", 401)
    assert party.refresh(kept["refresh_token"]).status_code == 200


def test_every_answer_names_its_issuer(party: RelyingParty, browser: Browser) -> None:
    """An app that talks to several providers compares it (RFC 9207), so that they cannot be mixed up."""
    refused = answered(party.send(browser, prompt="none"))
    wrong = answered(party.send(browser, scope="phone"))
    left = answered(browser.client.get("/oauth/leave" + follow_id(party, browser)))
    back = party.sign_in(browser, ANNA)
    again = answered(party.send(browser, prompt="none"))

    assert [said.get("error") for said in (refused, wrong, left)] == ["login_required", "invalid_scope", "access_denied"]
    assert {said["iss"] for said in (refused, wrong, left, back, again)} == {party.settings.public_url}
    assert {said["state"] for said in (refused, wrong, left, back, again)} == {"state of the app"}


def follow_id(party: RelyingParty, browser: Browser) -> str:
    """`?authorization=…` of a new request of this browser."""
    return "?" + browser.client.get(party.address()).headers["Location"].partition("?")[2]


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": ""},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge": "short"},
        {"code_challenge": None},
        {"code_challenge": "a" * 129},
    ],
    ids=str,
)
def test_a_request_with_a_weaker_challenge_is_refused(
    party: RelyingParty, browser: Browser, changed: dict[str, str | None]
) -> None:
    browser.sign_in(ANNA)
    assert answered(party.send(browser, **changed))["error"] == "invalid_request"


def test_a_challenge_that_was_taken_away_is_noticed_by_the_verifier(app: Flask, browser: Browser) -> None:
    party = RelyingParty(app, pkce_required=False)
    code = party.sign_in(browser, ANNA, code_challenge=None, code_challenge_method=None)["code"]
    assert_refused(party.exchange(code, verifier=VERIFIER))


def test_two_sign_ins_in_two_tabs_end_each_at_its_own_app(party: RelyingParty, other: RelyingParty, browser: Browser) -> None:
    first = consent(party, browser, ANNA, state="first")
    second = form_of(other.send(browser, redirect_uri=OTHER_URI, state="second").text)
    answers = [browser.client.post(form.action, data=form.fields) for form in (second, first)]

    assert [way_on(answer).partition("?")[0] for answer in answers] == [OTHER_URI, REDIRECT_URI]
    assert [answered(answer)["state"] for answer in answers] == ["second", "first"]
    codes = [answered(answer)["code"] for answer in answers]
    assert other.exchange(codes[0], redirect_uri=OTHER_URI).status_code == 200
    assert party.exchange(codes[1]).status_code == 200


@pytest.mark.parametrize("path", ["/oauth/continue", "/oauth/leave"])
def test_a_request_of_one_browser_is_unknown_in_another(app: Flask, party: RelyingParty, browser: Browser, path: str) -> None:
    begun = follow_id(party, browser)
    victim = Browser(app)
    victim.sign_in(BORIS)
    answer = victim.client.get(path + begun)

    assert answer.status_code == 404
    assert "onward" not in answer.text


def test_a_login_with_the_request_of_an_attacker_leads_to_the_profile(app: Flask, party: RelyingParty, browser: Browser) -> None:
    begun = follow_id(party, browser)
    victim = Browser(app)
    victim.enter(victim.get(f"/login/{begun}"), BORIS)

    assert victim.at.startswith("/profile")
    assert browser.client.get(f"/oauth/continue{begun}").headers["Location"].startswith("/login/")


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}]
)
def test_a_consent_that_another_site_sends_is_refused(party: RelyingParty, browser: Browser, headers: dict[str, str]) -> None:
    form = consent(party, browser, ANNA)
    answer = browser.client.post(form.action, data=form.fields, headers=headers)
    assert answer.status_code == 403
    assert "onward" not in answer.text


def test_a_consent_without_the_token_of_its_page_is_refused(party: RelyingParty, browser: Browser) -> None:
    form = consent(party, browser, ANNA)
    for fields in ({}, form.fields | {"csrf_token": "x"}):
        assert "onward" not in browser.client.post(form.action, data=fields).text


def test_a_consent_that_was_shown_to_another_user_is_asked_for_again(app: Flask, party: RelyingParty, browser: Browser) -> None:
    shown = consent(party, browser, ANNA)
    browser.client.post("/oauth/other", data=form_of(browser.client.get(shown.action).text).fields)
    browser.enter(Page(browser.client.get(shown.action.replace("/oauth/continue", "/login/")).text), BORIS)
    assert browser.last is not None
    fresh = form_of(browser.last.text)
    answer = browser.client.post(shown.action, data=fresh.fields | {"whose": shown.fields["whose"]})

    assert shown.fields["whose"] != fresh.fields["whose"]
    assert "onward" not in answer.text
    assert "code" in answered(browser.client.post(fresh.action, data=fresh.fields))


def test_no_page_of_a_sign_in_can_be_framed_or_cached(party: RelyingParty, browser: Browser) -> None:
    form = consent(party, browser, ANNA)
    pages = [
        browser.client.get(form.action),
        browser.client.post(form.action, data=form.fields),
        browser.client.get("/oauth/logout"),
    ]
    for answer in (*pages, browser.client.get("/oauth/authorize")):
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("how", ["blocked", "deleted"])
def test_a_user_who_is_blocked_or_deleted_is_signed_out_of_apps(
    app: Flask, party: RelyingParty, browser: Browser, how: str
) -> None:
    given = party.tokens(browser, ANNA, scope="openid offline_access")
    code = party.sign_in(browser, scope="openid offline_access")["code"]
    with app.app_context():
        if how == "blocked":
            accounts.set_blocked(user_id(party, given), True)
        else:
            accounts.delete(party.settings, user_id(party, given))

    assert_refused(party.exchange(code))
    assert_refused(party.refresh(given["refresh_token"]))
    assert_refused(party.userinfo(given["access_token"]), "invalid_token", 401)
    assert answered(party.send(browser, prompt="none"))["error"] == "login_required"


def test_a_client_that_is_disabled_gets_nothing_at_any_step(app: Flask, party: RelyingParty, browser: Browser) -> None:
    given = party.tokens(browser, ANNA, scope="openid offline_access")
    code = party.sign_in(browser, scope="openid offline_access")["code"]
    form = form_of(party.send(browser, prompt="consent").text)
    with app.app_context():
        registry.disable(party.client_id)

    assert browser.client.get(party.address()).status_code == 400
    assert browser.client.get(form.action).status_code == 404
    assert browser.client.post(form.action, data=form.fields).status_code == 404
    assert browser.client.get(form.action.replace("continue", "leave")).status_code == 404
    assert_refused(party.exchange(code), "invalid_client", 401)
    assert_refused(party.refresh(given["refresh_token"]), "invalid_client", 401)
    assert_refused(party.userinfo(given["access_token"]), "invalid_token", 401)
    assert_refused(party.revoke(given["access_token"]), "invalid_client", 401)


def test_a_client_with_a_secret_cannot_leave_it_out(party: RelyingParty, browser: Browser) -> None:
    code = party.sign_in(browser, ANNA)["code"]
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    assert_refused(party.http.post("/oauth/token", data=sent | {"client_id": party.client_id}), "invalid_client", 401)
    assert party.exchange(code).status_code == 200


def test_a_stolen_refresh_token_that_is_used_a_second_time_ends_the_session(
    party: RelyingParty, browser: Browser, clock: Traveller
) -> None:
    given = party.tokens(browser, ANNA, scope="openid offline_access")
    after = party.refresh(given["refresh_token"]).get_json()
    clock.shift(timedelta(seconds=31))
    assert_refused(party.refresh(given["refresh_token"]))
    assert_refused(party.refresh(after["refresh_token"]))
    assert_refused(party.userinfo(after["access_token"]), "invalid_token", 401)


def test_only_its_own_app_can_revoke_a_token(party: RelyingParty, other: RelyingParty, browser: Browser) -> None:
    given = party.tokens(browser, ANNA)
    assert other.revoke(given["access_token"]).status_code == 200
    assert party.userinfo(given["access_token"]).status_code == 200
    assert party.revoke(given["access_token"]).status_code == 200
    assert_refused(party.userinfo(given["access_token"]), "invalid_token", 401)


def test_an_answer_that_is_sent_twice_is_one_code(party: RelyingParty, browser: Browser) -> None:
    form = consent(party, browser, ANNA)
    first, second = (allow(browser, browser.client.get(form.action)) for _ in range(2))
    assert answered(first)["code"] == answered(second)["code"]
    assert party.exchange(answered(first)["code"]).status_code == 200
    assert browser.client.post(form.action, data=form.fields).status_code == 410
