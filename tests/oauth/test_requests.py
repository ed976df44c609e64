"""What a request of an app may ask for, and what the person then sees."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer.grants import authorizations
from hammer.grants.authorizations import PER_ADDRESS_PER_HOUR
from hammer.users import people
from tests.actions import ANNA, BORIS
from tests.people import Browser, Page
from tests.relying_party import REDIRECT_URI, RelyingParty, allow, answered, way_on


@pytest.fixture
def party(app: Flask) -> RelyingParty:
    return RelyingParty(app)


@pytest.fixture
def known(party: RelyingParty, browser: Browser) -> RelyingParty:
    """An app to which Anna signed in before, in the browser."""
    party.sign_in(browser, ANNA)
    return party


def asks(page: str) -> str:
    """What a page asks: for a number, for a newer proof, for consent, about an invite; empty if it leads on or is an error."""
    forms = Page(page).forms
    if any(form.action.startswith("/login/") and "telephone_number" in form.fields for form in forms):
        return "number"
    if any(form.action.startswith("/profile/proof/send/") for form in forms):
        return "proof"
    form = next((form for form in forms if form.action.startswith("/oauth/continue")), None)
    return "" if form is None else "invite" if "carried" in form.fields else "consent"


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [("", ""), ("login", "proof"), ("consent", "consent"), ("select_account", "consent"), ("login consent", "proof")],
)
def test_a_prompt_asks_again_what_was_answered_before(known: RelyingParty, browser: Browser, prompt: str, asked: str) -> None:
    assert asks(known.send(browser, prompt=prompt).text) == asked


@pytest.mark.parametrize("prompt", ["none login", "none none", "create", "NONE", "ы", "none\0"])
def test_a_prompt_that_makes_no_sense_is_refused(known: RelyingParty, browser: Browser, prompt: str) -> None:
    assert answered(known.send(browser, prompt=prompt))["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changed", "error"),
    [({"scope": "openid profile"}, "consent_required"), ({"max_age": "0"}, "login_required"), ({}, None)],
)
def test_prompt_none_says_what_is_missing(
    known: RelyingParty, browser: Browser, clock: Traveller, changed: dict[str, str], error: str | None
) -> None:
    clock.shift(timedelta(seconds=5))
    answer = browser.client.get(known.address(prompt="none", **changed))
    assert answer.status_code == 303
    assert answered(answer).get("error") == error


def test_the_operators_own_app_asks_nothing_unless_it_wants_to(app: Flask, browser: Browser) -> None:
    own = RelyingParty(app, first_party=True)
    browser.sign_in(ANNA)
    assert "code" in answered(browser.client.get(own.address(prompt="none", scope="openid phone profile invites")))
    assert asks(own.send(browser, prompt="consent").text) == "consent"


@pytest.mark.parametrize("max_age", ["-1", "1.5", "x", "ы", "1e3", " 1", "9" * 13, "\0", "٣"])
def test_a_max_age_that_is_no_number_is_refused(known: RelyingParty, browser: Browser, max_age: str) -> None:
    assert answered(known.send(browser, max_age=max_age))["error"] == "invalid_request"


@pytest.mark.parametrize(("max_age", "asked"), [("0", "proof"), ("59", "proof"), ("61", ""), ("999999999999", ""), ("", "")])
def test_a_max_age_asks_who_signed_in_longer_ago(
    known: RelyingParty, browser: Browser, clock: Traveller, max_age: str, asked: str
) -> None:
    clock.shift(timedelta(seconds=60))
    assert asks(known.send(browser, max_age=max_age).text) == asked


def test_an_id_token_hint_of_another_person_asks_who_it_is(app: Flask, known: RelyingParty, browser: Browser) -> None:
    hers = known.tokens(Browser(app), BORIS)["id_token"]
    assert asks(known.send(browser, id_token_hint=hers).text) == "consent"
    assert answered(browser.client.get(known.address(id_token_hint=hers, prompt="none")))["error"] == "login_required"


@pytest.mark.parametrize("hint", ["x", "a.b.c", "\0", "ы", "e30.e30.e30", "." * 3000])
def test_an_id_token_hint_that_cannot_be_read_is_ignored(known: RelyingParty, browser: Browser, hint: str) -> None:
    assert "code" in answered(known.send(browser, id_token_hint=hint))


@pytest.mark.parametrize("mode", ["fragment", "form_post", "web_message", "ы"])
def test_no_answer_comes_in_another_way_than_the_query(known: RelyingParty, browser: Browser, mode: str) -> None:
    assert answered(known.send(browser, response_mode=mode))["error"] == "invalid_request"
    assert "code" in answered(known.send(browser, response_mode="query"))


@pytest.mark.parametrize("kind", ["token", "id_token", "code token", "code id_token", "none", "CODE"])
def test_no_token_is_given_in_an_address(known: RelyingParty, browser: Browser, kind: str) -> None:
    answer = known.send(browser, response_type=kind)
    assert answered(answer)["error"] == "unsupported_response_type"
    assert "#" not in way_on(answer)


@pytest.mark.parametrize("scope", ["", "phone", "OPENID", "openid2", None])
def test_a_request_without_the_scope_openid_is_refused(known: RelyingParty, browser: Browser, scope: str | None) -> None:
    assert answered(known.send(browser, scope=scope))["error"] == "invalid_scope"


@pytest.mark.parametrize("name", ["state", "nonce", "prompt", "max_age", "request", "request_uri", "registration", "response_mode"])
def test_a_parameter_without_a_value_is_none(known: RelyingParty, browser: Browser, name: str) -> None:
    assert "code" in answered(known.send(browser, **{name: ""}))


def test_a_state_comes_back_as_it_was_sent_and_not_if_there_was_none(known: RelyingParty, browser: Browser) -> None:
    for state in ("&a=b#c?d+e%20f", "ы" * 2000, "<script>", " "):
        assert answered(known.send(browser, state=state))["state"] == state
    assert "state" not in answered(known.send(browser, state=None))


@pytest.mark.parametrize("button", ["activate", "decline"])
def test_an_invite_is_asked_about_after_the_first_login_and_both_answers_lead_on(
    app: Flask, party: RelyingParty, browser: Browser, button: str
) -> None:
    inviter = Browser(app)
    inviter.sign_in(BORIS)
    code = inviter.profile().invite_code
    browser.enter(Page(party.send(browser, invite=code, scope="openid invites").text), ANNA)
    assert browser.last is not None
    assert asks(browser.last.text) == "invite"
    form = next(form for form in Page(browser.last.text).forms if "carried" in form.fields)
    after = browser.client.post(form.action, data=form.fields | {button: ""})

    assert asks(after.text) == "consent"
    back = answered(allow(browser, after))
    given = party.exchange(back["code"]).get_json()
    learned = party.userinfo(given["access_token"]).get_json()
    assert learned["invite_activated"] is (button == "activate")
    assert inviter.profile().invite_count == (1 if button == "activate" else 0)


@pytest.mark.parametrize("invite", ["", "x", "ы", "ZZZZZZ", "\0", "A" * 3000])
def test_an_invite_that_cannot_be_read_does_not_disturb(party: RelyingParty, browser: Browser, invite: str) -> None:
    browser.enter(Page(party.send(browser, invite=invite).text), ANNA)
    assert browser.last is not None
    answer = browser.last
    if asks(answer.text) == "invite":  # one that has the form of a code, and that no user has
        form = next(form for form in Page(answer.text).forms if "carried" in form.fields)
        assert browser.client.post(form.action, data=form.fields | {"activate": ""}).status_code == 422
        answer = browser.client.get(form.action)
    assert "code" in answered(allow(browser, answer))


def test_with_scripts_off_the_last_page_leads_on_by_itself_and_by_a_link(party: RelyingParty, browser: Browser) -> None:
    browser.enter(Page(party.send(browser).text), ANNA)
    assert browser.last is not None
    page = allow(browser, browser.last)
    refresh = page.text.partition('<noscript><meta http-equiv="refresh" content="0;url=')[2].partition('"')[0]

    assert page.status_code == 200
    assert refresh.replace("&amp;", "&") == way_on(page)
    assert way_on(page).startswith(f"{REDIRECT_URI}?code=")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_request_that_cannot_be_read_gets_a_page_in_the_language_of_the_person(
    party: RelyingParty, browser: Browser, language: str
) -> None:
    words = {"en": "The app asked in a wrong way", "ru": "Приложение ошиблось в запросе"}
    answer = browser.client.get(party.address(client_id="A" * 22, ui_locales=language))
    page = Page(answer.text)
    assert answer.status_code == 400
    assert words[language] in page.words
    assert "The client_id is not registered, or the client is disabled." in page.words
    assert 'href="/"' in answer.text

    other = next(part for part in answer.text.split('"') if part.startswith("/oauth/authorize?") and "lang=" in part)
    again = browser.client.get(other.replace("&amp;", "&"))
    assert words["ru" if language == "en" else "en"] in Page(again.text).words
    assert "The client_id is not registered, or the client is disabled." in Page(again.text).words


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "response_type", "scope", "prompt", "code_challenge_method"])
def test_the_page_of_an_error_says_no_sentence_of_the_address(party: RelyingParty, browser: Browser, name: str) -> None:
    for sentence in ("Call us now", "Call-us-now"):
        answer = browser.client.get(party.address(**({"client_id": "A" * 22} | {name: sentence})))
        assert answer.status_code == 400
        assert sentence not in Page(answer.text).words


@pytest.mark.parametrize("name", ["response_type", "scope", "state", "nonce", "prompt", "x"])
def test_the_app_hears_of_a_parameter_that_is_repeated(known: RelyingParty, browser: Browser, name: str) -> None:
    answer = browser.client.get(f"{known.address(prompt='login', x='1')}&{name}=openid")
    assert answered(answer)["error"] == "invalid_request"


def test_a_person_with_another_number_than_the_app_expects_is_asked(known: RelyingParty, browser: Browser) -> None:
    assert "code" in answered(known.send(browser, login_hint=ANNA))
    assert "Use another number" in known.send(browser, login_hint=BORIS).text
    assert answered(known.send(browser, login_hint=BORIS, prompt="none"))["error"] == "login_required"


@pytest.mark.parametrize("changed", [{"prompt": "select_account " * 4}, {"prompt": "login consent select_account"}])
def test_prompts_of_any_length_are_read(known: RelyingParty, browser: Browser, changed: dict[str, str]) -> None:
    assert known.send(browser, **changed).status_code == 200


@pytest.mark.parametrize("challenge", ["A" * 42, "A" * 44, "A" * 128, "A" * 43 + "\n", "=" * 43])
def test_a_challenge_that_is_none_of_s256_is_refused(known: RelyingParty, browser: Browser, challenge: str) -> None:
    assert answered(known.send(browser, code_challenge=challenge))["error"] == "invalid_request"


def test_the_page_of_a_request_that_is_one_too_many_leads_back_to_the_app(
    settings: Settings, party: RelyingParty, browser: Browser
) -> None:
    with party.app.app_context():
        for _ in range(PER_ADDRESS_PER_HOUR):
            asked = authorizations.request(party.row, redirect_uri=REDIRECT_URI, scopes=["openid"])
            authorizations.store(settings, asked, address="127.0.0.1")
    answer = browser.client.get(party.address(lang="en"))
    [back] = re.findall(r'href="([^"]+)">Back to Grafana<', answer.text)

    assert answer.status_code == 429
    assert unescape(back).partition("?")[0] == REDIRECT_URI
    assert dict(parse_qsl(urlsplit(unescape(back)).query)) == {
        "error": "temporarily_unavailable",
        "state": "state of the app",
        "iss": settings.public_url,
    }


@pytest.mark.parametrize("path", ["/oauth/authorize", "/oauth/logout"])
def test_the_page_of_an_error_asks_the_same_again(settings: Settings, app_with: Callable[[Settings], Flask], path: str) -> None:
    client = app_with(replace(settings, requests_per_address_minute=1)).test_client()
    here = {"REMOTE_ADDR": "192.0.2.80"}
    client.get("/login/", environ_overrides=here)
    answer = client.get(f"{path}?state=a+b&_anchor=c&lang=en", environ_overrides=here)
    [again] = re.findall(r'href="([^"]+)">Try again<', answer.text)
    [russian] = re.findall(r'href="([^"]+)"[^>]* hreflang="ru"', answer.text)

    assert answer.status_code == 429
    assert unescape(again) == f"{path}?state=a+b&_anchor=c&lang=en"
    assert unescape(russian) == f"{path}?state=a+b&_anchor=c&lang=ru"


def test_a_browser_that_restores_twenty_tabs_of_an_app_signs_in_through_the_first_one(
    party: RelyingParty, browser: Browser
) -> None:
    first = party.send(browser, state="1")
    for state in range(2, 21):
        party.send(browser, state=str(state))
    browser.enter(Page(first.text), ANNA)

    assert browser.last is not None
    assert answered(allow(browser, browser.last))["state"] == "1"


def test_a_request_that_is_answered_at_once_reads_the_client_once(
    known: RelyingParty, browser: Browser, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with statements() as seen:
        assert "code" in answered(browser.client.get(known.address()))

    assert len([one for one in seen if "FROM clients" in one]) == 1


def test_an_app_of_the_persons_own_device_is_led_back_to(app: Flask, browser: Browser) -> None:
    for uri in ("com.example.app:/callback", "http://127.0.0.1:8000/callback", "http://[::1]:8000/callback"):
        party = RelyingParty(app, uri, public=True, redirect_uris=[uri])
        browser.sign_in(ANNA) if not browser.is_signed_in() else None
        answer = allow(browser, party.send(browser, redirect_uri=uri))
        assert way_on(answer).startswith(f"{uri}?code=")

        again = party.send(browser, redirect_uri=uri)  # another app on the device can have the same scheme or port (RFC 8252 §8.6)
        assert (again.status_code, way_on(allow(browser, again)).startswith(f"{uri}?code=")) == (200, True)
        assert "error=consent_required" in way_on(party.send(browser, redirect_uri=uri, prompt="none"))


def test_the_id_of_a_person_is_the_same_in_every_app_and_in_the_api(app: Flask, known: RelyingParty, browser: Browser) -> None:
    sub = known.claims(known.tokens(browser)["id_token"])["sub"]
    other = RelyingParty(app, "Nextcloud")
    assert other.claims(other.tokens(browser)["id_token"])["sub"] == sub
    with app.app_context():
        assert people.profile(known.settings, sub).telephone_number == ANNA
