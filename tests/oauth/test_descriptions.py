"""The documents that describe the server say what it does."""

from typing import Any

import pytest
from flask import Flask

from hammer.models import SigningAlgorithm
from tests.actions import ANNA
from tests.people import Browser, Page
from tests.relying_party import RelyingParty, answered

EVERYTHING = "openid profile phone invites offline_access"


@pytest.fixture
def party(app: Flask) -> RelyingParty:
    return RelyingParty(app)


@pytest.fixture
def described(party: RelyingParty) -> dict[str, Any]:
    return dict(party.http.get("/.well-known/openid-configuration").get_json())


def test_both_addresses_have_the_same_document_which_can_be_cached(party: RelyingParty) -> None:
    answers = [party.http.get(f"/.well-known/{name}") for name in ("openid-configuration", "oauth-authorization-server")]
    assert answers[0].get_json() == answers[1].get_json()
    assert {answer.headers["Cache-Control"] for answer in answers} == {"public, max-age=3600"}


def test_every_address_in_the_document_answers(party: RelyingParty, described: dict[str, Any]) -> None:
    addresses = {name: value for name, value in described.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(addresses) == 6
    for name, value in addresses.items():
        path = value.removeprefix(described["issuer"])
        assert path.startswith("/"), name
        answers = [party.http.open(path, method=method).status_code for method in ("GET", "POST")]
        assert not {404, 500} & set(answers), name
        assert answers != [405, 405], name


def test_every_claim_in_the_document_is_shown_and_no_other(
    party: RelyingParty, browser: Browser, described: dict[str, Any]
) -> None:
    browser.sign_in(ANNA)
    form = browser.get("/profile/").form_with("first_name")
    assert form is not None
    browser.send(form, username="anna", first_name="Анна", last_name="Каренина")
    given = party.tokens(browser, scope=EVERYTHING)
    shown = set(party.claims(given["id_token"])) | set(party.userinfo(given["access_token"]).get_json())

    assert shown - {"at_hash"} == set(described["claims_supported"])
    assert len(described["claims_supported"]) == len(shown) - 1


def test_every_scope_of_people_in_the_document_is_given(party: RelyingParty, browser: Browser, described: dict[str, Any]) -> None:
    given = party.tokens(browser, ANNA, scope=" ".join(described["scopes_supported"]))
    assert set(given["scope"].split()) == set(EVERYTHING.split()) <= set(described["scopes_supported"])
    assert "refresh_token" in given


def test_only_offline_access_gives_a_refresh_token(party: RelyingParty, browser: Browser) -> None:
    assert "refresh_token" not in party.tokens(browser, ANNA, scope="openid profile phone invites")


def test_every_prompt_and_method_in_the_document_is_understood(
    party: RelyingParty, browser: Browser, described: dict[str, Any]
) -> None:
    browser.sign_in(ANNA)
    for prompt in described["prompt_values_supported"]:
        answer = party.send(browser, prompt=prompt)
        assert answer.status_code == 200 or answered(answer)["error"] == "consent_required"
    assert described["code_challenge_methods_supported"] == ["S256"]
    assert described["response_types_supported"] == ["code"]
    assert set(described["id_token_signing_alg_values_supported"]) == set(SigningAlgorithm)


def test_every_language_in_the_document_is_shown(party: RelyingParty, app: Flask, described: dict[str, Any]) -> None:
    for language in described["ui_locales_supported"]:
        page = party.send(Browser(app), ui_locales=language)
        assert f'<html lang="{language}">' in page.text
        assert Page(page.text).form_with("telephone_number") is not None


def test_what_is_said_to_be_missing_is_missing(described: dict[str, Any]) -> None:
    for name in ("claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported"):
        assert described[name] is False
    assert not {"registration_endpoint", "device_authorization_endpoint", "check_session_iframe"} & set(described)


def test_the_keys_may_be_read_by_any_page_and_cached(app: Flask, party: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    for algorithm in SigningAlgorithm:
        RelyingParty(app, f"App {algorithm}", algorithm=algorithm).tokens(browser)
    answer = party.http.get("/.well-known/jwks.json", headers={"Origin": "https://anywhere.example"})

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.cache_control.max_age
    assert set(SigningAlgorithm) <= {key["alg"] for key in answer.get_json()["keys"]}
    assert all({"kid", "kty", "use", "alg"} <= set(key) for key in answer.get_json()["keys"])
    assert not [key for key in answer.get_json()["keys"] if {"d", "p", "q", "k"} & set(key)]
