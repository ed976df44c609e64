"""The cases of the OpenID Foundation's Basic OP plan that we can prove: `docs/conformance.md` lists all, each with its test here.

Most cases of the plan send no PKCE, so the app here is registered without it.
"""

from datetime import timedelta
from typing import Any

import jwt
import pytest
from flask import Flask
from time_machine import Traveller

from hammer.models import SigningAlgorithm
from tests import delivery
from tests.actions import ANNA
from tests.people import Browser, Page
from tests.relying_party import REDIRECT_URI, VERIFIER, RelyingParty, allow, answered, follow, s256, way_on

BARE: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": None}
"""A request without PKCE, as most cases of the plan send it."""


@pytest.fixture
def party(app: Flask) -> RelyingParty:
    return RelyingParty(app, "Conformance suite", pkce_required=False)


def tokens(party: RelyingParty, browser: Browser, number: str | None = None, **changed: str | None) -> dict[str, Any]:
    """The tokens after a sign-in without PKCE."""
    answer = party.exchange(party.sign_in(browser, number, **(BARE | changed))["code"], verifier=None)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def known(party: RelyingParty, browser: Browser, number: str | None = None, **changed: str | None) -> dict[str, Any]:
    """What the app learns at userinfo."""
    return dict(party.userinfo(tokens(party, browser, number, **changed)["access_token"]).get_json())


def name_anna(app: Flask, browser: Browser) -> None:
    """Gives Anna names. The browser is signed in before."""
    browser.sign_in(ANNA)
    form = browser.get("/profile/").form_with("first_name")
    assert form is not None
    browser.send(form, username="anna", first_name="Анна", last_name="Каренина")


def test_a_code_leads_to_tokens_that_belong_to_the_request(party: RelyingParty, browser: Browser) -> None:
    back = party.sign_in(browser, ANNA, **BARE)
    assert (back["state"], back["iss"]) == ("state of the app", party.settings.public_url)
    assert set(back) == {"code", "state", "iss"}

    given = party.exchange(back["code"], verifier=None).get_json()
    said = party.claims(given["id_token"])
    assert set(given) == {"access_token", "token_type", "expires_in", "scope", "id_token"}
    assert said["nonce"] == "nonce of the app"
    assert said["aud"] == party.client_id
    assert party.userinfo(given["access_token"]).get_json()["sub"] == said["sub"]


def test_a_request_without_a_response_type_is_refused(party: RelyingParty, browser: Browser) -> None:
    back = answered(party.send(browser, response_type=None, **BARE))
    assert (back["error"], back["state"]) == ("invalid_request", "state of the app")
    assert "code" not in back


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_an_id_token_names_the_published_key_that_signed_it(app: Flask, browser: Browser, algorithm: SigningAlgorithm) -> None:
    party = RelyingParty(app, algorithm=algorithm, pkce_required=False)
    id_token = tokens(party, browser, ANNA)["id_token"]
    header = jwt.get_unverified_header(id_token)
    published = [key for key in party.http.get("/.well-known/jwks.json").get_json()["keys"] if key["kid"] == header["kid"]]

    assert [key["alg"] for key in published] == [header["alg"]] == [algorithm]
    assert party.claims(id_token)


def test_userinfo_answers_a_get_with_the_token_in_the_header(party: RelyingParty, browser: Browser) -> None:
    given = tokens(party, browser, ANNA)
    answer = party.http.get("/oauth/userinfo", headers={"Authorization": f"Bearer {given['access_token']}"})
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.get_json()["sub"] == party.claims(given["id_token"])["sub"]


def test_userinfo_answers_a_post_with_the_token_in_the_header(party: RelyingParty, browser: Browser) -> None:
    given = tokens(party, browser, ANNA)
    answer = party.http.post("/oauth/userinfo", headers={"Authorization": f"Bearer {given['access_token']}"})
    assert answer.get_json()["sub"] == party.claims(given["id_token"])["sub"]


def test_userinfo_answers_a_post_with_the_token_in_the_body(party: RelyingParty, browser: Browser) -> None:
    given = tokens(party, browser, ANNA)
    answer = party.http.post("/oauth/userinfo", data={"access_token": given["access_token"]})
    assert answer.get_json()["sub"] == party.claims(given["id_token"])["sub"]


def test_a_request_without_a_nonce_gets_an_id_token_without_one(party: RelyingParty, browser: Browser) -> None:
    assert "nonce" not in party.claims(tokens(party, browser, ANNA, nonce=None)["id_token"])


def test_the_scope_profile_shows_the_names(app: Flask, party: RelyingParty, browser: Browser) -> None:
    name_anna(app, browser)
    shown = known(party, browser, scope="openid profile")

    assert type(shown.pop("updated_at")) is int
    assert shown.pop("sub")
    assert shown == {
        "name": "Анна Каренина",
        "given_name": "Анна",
        "family_name": "Каренина",
        "preferred_username": "anna",
    }


@pytest.mark.parametrize("scope", ["email", "address"])
def test_a_scope_that_is_not_supported_adds_no_claim(party: RelyingParty, browser: Browser, scope: str) -> None:
    given = tokens(party, browser, ANNA, scope=f"openid {scope}")
    assert given["scope"] == "openid"
    assert set(party.userinfo(given["access_token"]).get_json()) == {"sub"}
    assert scope not in party.http.get("/.well-known/openid-configuration").get_json()["scopes_supported"]


def test_the_scope_phone_shows_the_number(party: RelyingParty, browser: Browser) -> None:
    shown = known(party, browser, ANNA, scope="openid phone")
    assert (shown["phone_number"], shown["phone_number_verified"]) == (ANNA, True)
    assert set(shown) == {"sub", "phone_number", "phone_number_verified"}


def test_all_scopes_of_the_standard_together_show_what_there_is(app: Flask, party: RelyingParty, browser: Browser) -> None:
    name_anna(app, browser)
    shown = known(party, browser, scope="openid profile email address phone")
    assert {"name", "phone_number"} <= set(shown)
    assert not {"email", "address", "invite_code"} & set(shown)


def test_scopes_may_come_in_any_order(party: RelyingParty, browser: Browser) -> None:
    given = tokens(party, browser, ANNA, scope="phone email openid")
    assert set(given["scope"].split()) == {"openid", "phone"}
    assert party.claims(given["id_token"])


@pytest.mark.parametrize("display", ["page", "popup", "touch", "wap", "anything"])
def test_every_display_shows_the_same_page(party: RelyingParty, browser: Browser, display: str) -> None:
    assert tokens(party, browser, ANNA, display=display)["id_token"]


def test_prompt_login_asks_for_a_new_code_and_says_so_in_auth_time(party: RelyingParty, browser: Browser, clock: Traveller) -> None:
    before = party.claims(tokens(party, browser, ANNA)["id_token"])
    clock.shift(timedelta(minutes=2))
    page = Page(party.send(browser, prompt="login", **BARE).text)
    answer = prove(browser, page)

    after = party.claims(party.exchange(answered(answer)["code"], verifier=None).get_json()["id_token"])
    assert after["sub"] == before["sub"]
    assert after["auth_time"] >= before["auth_time"] + 120


def prove(browser: Browser, page: Page) -> Any:
    """Gets a code to the number and enters it. Returns the answer."""
    form = next(form for form in page.forms if form.action.startswith("/profile/proof/send/"))
    code_form = browser.send(form).form_with("code")
    assert code_form is not None
    with browser.app.app_context():
        code = delivery.code_for(browser.app.config["SETTINGS"], ANNA)
    browser.send(code_form, code=code)
    return browser.last


def test_prompt_none_is_refused_when_the_browser_is_signed_out(party: RelyingParty, browser: Browser) -> None:
    answer = browser.client.get(party.address(prompt="none", **BARE))
    assert answer.status_code == 303
    assert answered(answer) == {
        "error": "login_required",
        "state": "state of the app",
        "iss": party.settings.public_url,
    }


def test_prompt_none_is_answered_when_the_person_is_signed_in_and_allowed_it(party: RelyingParty, browser: Browser) -> None:
    before = party.claims(tokens(party, browser, ANNA)["id_token"])
    answer = browser.client.get(party.address(prompt="none", **BARE))
    after = party.claims(party.exchange(answered(answer)["code"], verifier=None).get_json()["id_token"])
    assert (after["sub"], after["auth_time"]) == (before["sub"], before["auth_time"])


def test_a_max_age_that_is_over_asks_for_a_new_code(party: RelyingParty, browser: Browser, clock: Traveller) -> None:
    before = party.claims(tokens(party, browser, ANNA)["id_token"])
    clock.shift(timedelta(seconds=2))
    page = Page(party.send(browser, max_age="1", **BARE).text)
    after = party.claims(party.exchange(answered(prove(browser, page))["code"], verifier=None).get_json()["id_token"])
    assert after["sub"] == before["sub"]
    assert after["auth_time"] > before["auth_time"]


def test_a_max_age_that_is_not_over_asks_for_nothing(party: RelyingParty, browser: Browser, clock: Traveller) -> None:
    before = party.claims(tokens(party, browser, ANNA)["id_token"])
    clock.shift(timedelta(seconds=2))
    answer = browser.client.get(party.address(max_age="10000", **BARE))
    after = party.claims(party.exchange(answered(answer)["code"], verifier=None).get_json()["id_token"])
    assert after["auth_time"] == before["auth_time"]


def test_parameters_that_are_not_known_are_ignored(party: RelyingParty, browser: Browser) -> None:
    assert tokens(party, browser, ANNA, extra="foobar", х="ы")["id_token"]


def test_an_id_token_hint_of_the_person_asks_for_nothing(party: RelyingParty, browser: Browser) -> None:
    given = tokens(party, browser, ANNA)
    answer = browser.client.get(party.address(prompt="none", id_token_hint=given["id_token"], **BARE))
    after = party.exchange(answered(answer)["code"], verifier=None).get_json()
    assert party.claims(after["id_token"])["sub"] == party.claims(given["id_token"])["sub"]


@pytest.mark.parametrize(("hint", "typed"), [(ANNA, "+7 929 000-00-01"), ("bob@example.com", ""), ("\0", ""), ("9" * 3000, "")])
def test_a_login_hint_that_is_a_number_is_filled_in(party: RelyingParty, browser: Browser, hint: str, typed: str) -> None:
    form = Page(party.send(browser, login_hint=hint, **BARE).text).form_with("telephone_number")
    assert form is not None
    assert form.fields["telephone_number"] == typed


@pytest.mark.parametrize(
    ("wanted", "shown"), [("ru", "ru"), ("se en", "en"), ("de ru-RU en", "ru"), ("", "en"), ("se", "en"), ("\0 ы", "en")]
)
def test_ui_locales_choose_the_language(party: RelyingParty, browser: Browser, wanted: str, shown: str) -> None:
    assert f'<html lang="{shown}">' in party.send(browser, ui_locales=wanted, **BARE).text


def test_claims_locales_are_ignored(party: RelyingParty, browser: Browser) -> None:
    assert tokens(party, browser, ANNA, claims_locales="se fr")["id_token"]


def test_acr_values_are_answered_with_the_class_that_there_is(party: RelyingParty, browser: Browser) -> None:
    assert party.claims(tokens(party, browser, ANNA, acr_values="2 1")["id_token"])["acr"] == "1"
    assert party.claims(tokens(party, browser, acr_values="urn:none")["id_token"])["acr"] == "1"


@pytest.mark.parametrize("after", [0, 30])
def test_a_code_that_is_used_again_is_refused_and_ends_what_was_given_for_it(
    party: RelyingParty, browser: Browser, clock: Traveller, after: int
) -> None:
    code = party.sign_in(browser, ANNA, **BARE)["code"]
    given = party.exchange(code, verifier=None).get_json()
    clock.shift(timedelta(seconds=after))
    again = party.exchange(code, verifier=None)

    assert (again.status_code, again.get_json()["error"]) == (400, "invalid_grant")
    assert party.userinfo(given["access_token"]).status_code == 401


def test_an_address_that_is_not_registered_gets_a_page_and_no_redirect(party: RelyingParty, browser: Browser) -> None:
    answer = browser.client.get(party.address(redirect_uri="https://app.example/other", **BARE))
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "Location" not in answer.headers


def test_a_request_may_be_posted(party: RelyingParty, browser: Browser) -> None:
    query = party.address(**BARE).partition("?")[2]
    answer = browser.client.post("/oauth/authorize", data=query, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 303
    browser.enter(Page(follow(browser, answer).text), ANNA)
    assert browser.last is not None
    back = answered(allow(browser, browser.last))
    assert party.exchange(back["code"], verifier=None).status_code == 200


def test_the_secret_may_be_posted(party: RelyingParty, browser: Browser) -> None:
    code = party.sign_in(browser, ANNA, **BARE)["code"]
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    own = {"client_id": party.client_id, "client_secret": party.secret}
    assert party.http.post("/oauth/token", data=sent | own).status_code == 200


@pytest.mark.parametrize(
    ("parameter", "error"),
    [
        ("request", "request_not_supported"),
        ("request_uri", "request_uri_not_supported"),
        ("registration", "registration_not_supported"),
    ],
)
def test_a_parameter_that_must_not_be_ignored_is_refused(party: RelyingParty, browser: Browser, parameter: str, error: str) -> None:
    back = answered(party.send(browser, **BARE, **{parameter: "https://app.example/request.jwt"}))
    assert (back["error"], back["state"]) == (error, "state of the app")
    assert party.http.get("/.well-known/openid-configuration").get_json().get(f"{parameter}_parameter_supported") is not True


@pytest.mark.parametrize("asked", ['{"userinfo": {"name": {"essential": true}}}', "{", "ы"])
def test_the_parameter_claims_is_ignored(app: Flask, party: RelyingParty, browser: Browser, asked: str) -> None:
    name_anna(app, browser)
    assert set(known(party, browser, scope="openid", claims=asked)) == {"sub"}
    assert party.http.get("/.well-known/openid-configuration").get_json()["claims_parameter_supported"] is False


def test_a_refresh_token_brings_new_tokens_about_the_same_person_and_belongs_to_its_app(
    app: Flask, party: RelyingParty, browser: Browser
) -> None:
    other = RelyingParty(app, "Other")
    given = tokens(party, browser, ANNA, scope="openid offline_access")
    again = party.refresh(given["refresh_token"]).get_json()
    before, after = party.claims(given["id_token"]), party.claims(again["id_token"])

    assert [before[name] for name in ("iss", "sub", "aud", "auth_time")] == [
        after[name] for name in ("iss", "sub", "aud", "auth_time")
    ]
    assert again["access_token"] != given["access_token"]
    assert other.refresh(again["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_a_request_with_pkce_is_answered(app: Flask, party: RelyingParty, browser: Browser) -> None:
    code = party.sign_in(browser, ANNA, code_challenge=s256(VERIFIER), code_challenge_method="S256")["code"]
    assert party.exchange(code, verifier=VERIFIER).status_code == 200
    assert way_on(browser.client.get(party.address())).startswith(REDIRECT_URI)


def test_a_person_without_names_has_no_claim_that_is_empty(app: Flask, party: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    assert set(known(party, browser, scope="openid profile")) == {"sub", "updated_at"}
