"""The pages on which people sign in to an app: what they say, how they are built, and the way back to the app."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from flask import Flask
from werkzeug.test import TestResponse

from tests.auth.pages import ANNA, BORIS, Outline, assert_well_built, words
from tests.people import Browser, Form, Page
from tests.relying_party import RelyingParty, way_on

ENGLISH = {"Accept-Language": "en"}
DEVICE = {"public": True, "redirect_uris": ["com.example.app:/callback"]}
"""An app on the person's own device."""


@pytest.fixture
def grafana(app: Flask) -> RelyingParty:
    return RelyingParty(app)


def link(answer: TestResponse, words: str) -> str:
    """The address of the link with these words."""
    found = re.search(rf'<a[^>]* href="([^"]+)"[^>]*>{re.escape(words)}</a>', answer.text)
    assert found, answer.text
    return unescape(found[1])


def form_to(answer: TestResponse, path: str) -> Form:
    return next(form for form in Page(answer.text).forms if form.action.startswith(path))


def press(browser: Browser, answer: TestResponse, path: str, **filled: str) -> TestResponse:
    """Sends the form that leads to this path, and follows it inside of Hammer."""
    browser.send(form_to(answer, path), **filled)
    assert browser.last is not None
    return browser.last


def named(browser: Browser) -> None:
    page = browser.get("/profile/")
    form = page.form_with("username")
    assert form is not None
    browser.send(form, first_name="Анна", last_name="Ковач", username="anna")


def test_the_phone_form_says_which_app_where_it_is_and_through_whom_one_signs_in(grafana: RelyingParty, browser: Browser) -> None:
    page = grafana.send(browser)

    assert "<title>Sign in to Grafana — Hammer</title>" in page.text
    assert "app.example Sign in to Grafana You sign in through Hammer." in words(page)
    assert "The app sees it only if you allow that." in words(page)


def test_the_operators_own_app_is_not_said_to_ask(app: Flask, browser: Browser) -> None:
    page = words(RelyingParty(app, "Wiki", first_party=True).send(browser))

    assert "The number is how you sign in, here and in the app." in page
    assert "only if you allow" not in page


def test_a_plain_login_names_no_app(browser: Browser) -> None:
    browser.get("/login/")
    assert browser.last is not None

    assert "<title>Sign in — Hammer</title>" in browser.last.text
    assert "Back to" not in words(browser.last)


def pages_of_a_flow(
    app: Flask, grafana: RelyingParty, clock: time_machine.Traveller, code_for: Callable[[str], str]
) -> dict[str, TestResponse]:
    """Each page between the app and the answer to it."""
    browser, seen = Browser(app), dict[str, TestResponse]()
    host = Browser(app)
    host.sign_in(BORIS)
    seen["phone"] = grafana.send(browser, scope="openid phone profile invites offline_access", invite=host.profile().invite_code)
    seen["no number"] = press(browser, seen["phone"], "/login/", telephone_number="12")
    seen["code"] = press(browser, seen["no number"], "/login/", telephone_number=ANNA)
    seen["wrong code"] = press(browser, seen["code"], "/login/code/", code="x")
    clock.shift(400)
    seen["old code"] = browser.client.get(seen["code"].request.full_path, headers=ENGLISH)
    seen["new code"] = press(browser, seen["old code"], "/login/resend/")
    seen["invited"] = press(browser, seen["new code"], "/login/code/", code=code_for(ANNA))
    seen["consent"] = press(browser, seen["invited"], "/oauth/continue", decline="")
    clock.shift(400)
    seen["prove"] = grafana.send(browser, max_age="60")
    seen["proof"] = press(browser, seen["prove"], "/profile/proof/send/")
    seen["wrong proof"] = press(browser, seen["proof"], "/profile/proof/", code="x")
    return seen


@pytest.fixture
def seen(
    app: Flask, grafana: RelyingParty, clock: time_machine.Traveller, code_for: Callable[[str], str]
) -> dict[str, TestResponse]:
    return pages_of_a_flow(app, grafana, clock, code_for)


def test_every_page_names_the_app_and_has_a_way_back(grafana: RelyingParty, seen: dict[str, TestResponse]) -> None:
    for name, page in seen.items():
        label = "Refuse, back to the app" if name == "consent" else "Back to Grafana"
        back = link(page, label)
        assert urlsplit(back).path == "/oauth/leave", name
        assert re.search(r"[Ss]ign in to Grafana", words(page)), name
        assert "back to my profile" not in words(page), name


def test_every_page_of_a_flow_is_well_built(seen: dict[str, TestResponse]) -> None:
    for page in seen.values():
        assert_well_built(page)


def test_another_language_keeps_the_app(seen: dict[str, TestResponse]) -> None:
    for name, page in seen.items():
        links = [one["href"] or "" for one in Outline(page).all("a") if one.get("hreflang") == "ru"]
        buttons = [one["formaction"] or "" for one in Outline(page).all("button") if one.get("name") == "lang"]
        [onward] = links + buttons
        assert "authorization" in parse_qs(urlsplit(onward).query), name
        assert onward.count("?") == 1, name


def test_an_error_in_a_flow_has_a_way_back(grafana: RelyingParty, browser: Browser) -> None:
    page = grafana.send(browser)

    answer = browser.client.post(page.request.full_path, data={"telephone_number": ANNA}, headers=ENGLISH | {"Origin": "https://x"})

    assert answer.status_code == 403
    assert urlsplit(link(answer, "Back to the app")).path == "/oauth/leave"  # its name would need the database


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("openid", []),
        ("openid phone", ["Your number, with all its digits +7 929 ···-45-67 Some digits are hidden here,"]),
        ("openid profile", ["Your names and username Анна Ковач · anna And when your profile was last changed."]),
        ("openid invites", ["Your invites Your code is", "You have not activated an invite. You have not invited people yet."]),
        ("openid offline_access", ["All of this even when you are not using the app"]),
    ],
)
def test_the_consent_page_says_what_is_passed_on(grafana: RelyingParty, browser: Browser, scope: str, told: list[str]) -> None:
    browser.sign_in(ANNA)
    named(browser)

    page = grafana.send(browser, scope=scope)

    said = words(page)
    assert "app.example Sign in to Grafana? Grafana would see:" in said
    assert "Your id in Hammer A random code that never changes." in said
    assert "You are signed in with +7 929 ···-45-67." in said
    headings = ["Your number, with", "Your names and", "Your invites", "All of this even when"]
    assert [one for one in headings if one in said] == [one for one in headings if any(one in sentence for sentence in told)]
    assert not [sentence for sentence in told if sentence not in said]
    assert "You can take it back in your profile at any time." in said


def test_the_consent_page_counts_the_people_who_were_invited(app: Flask, grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    friend = Browser(app)
    friend.sign_in(BORIS)
    friend.activate(browser.profile().invite_code)

    assert "You have not activated an invite. You invited 1 person." in words(grafana.send(browser, scope="openid invites"))
    assert "You have activated an invite." in words(grafana.send(friend, scope="openid invites"))


def test_a_person_without_names_reads_so(grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)

    assert "Your names and username You have given none yet." in words(grafana.send(browser, scope="openid profile"))


def test_a_username_is_named_where_there_are_no_names(grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    form = browser.get("/profile/").form_with("username")
    assert form is not None
    browser.send(form, username="anna")

    assert "Your names and username anna And when" in words(grafana.send(browser, scope="openid profile"))


def test_an_invite_that_cannot_be_activated_says_why_and_the_sign_in_goes_on(grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    grafana.sign_in(browser)
    asked = grafana.send(browser, invite="ZZZZZZ")

    refused = press(browser, asked, "/oauth/continue", activate="")

    assert "Without the invite" in words(asked)
    assert "The invite is not activated There is no such invite code" in words(refused)
    assert not [form for form in Page(refused.text).forms if form.action.startswith("/oauth/continue")]
    assert_well_built(refused)
    assert "code" in way_on(browser.client.get(link(refused, "Continue"), headers=ENGLISH))
    assert "The invite that you activated" not in browser.get("/profile/").words


def test_what_the_owner_of_an_invite_sees_is_said_without_showing_the_number(grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)

    assert "see your number with all its digits: +7 929 ···-45-67." in words(grafana.send(browser, invite="ZZZZZZ"))


def test_what_is_new_is_marked_when_an_app_asks_for_more(grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    grafana.sign_in(browser, scope="openid phone")

    more = words(grafana.send(browser, scope="openid phone profile"))
    again = words(grafana.send(browser, scope="openid phone", prompt="consent"))

    assert "Grafana now asks for more than you allowed it. It would see: Your number, with all its digits +7" in more
    assert "Your names and username new" in more
    assert "Grafana would see: Your number, with all its digits +7" in again


def test_the_consent_page_speaks_russian(grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    page = grafana.send(browser, scope="openid phone profile invites offline_access")
    [other] = [one["href"] or "" for one in Outline(page).all("a") if one.get("hreflang") == "ru"]

    said = words(browser.client.get(other))

    assert "Войти в приложение «Grafana»? Приложение «Grafana» увидит: Ваш номер, все цифры +7 929 ···-45-67" in said
    assert "Ваше имя и имя пользователя Вы их пока не указали." in said
    assert "Разрешить Отказаться и вернуться в приложение" in said


@pytest.mark.parametrize(
    ("columns", "sent", "said"),
    [
        ({}, {}, "you are not asked again. You can take it back in your profile at any time."),
        ({}, {"prompt": "consent"}, "Refuse, back to the app You can take it back in your profile at any time."),
        (DEVICE, {}, "Refuse, back to the app You can take it back in your profile at any time."),
        ({"first_party": True}, {"prompt": "consent"}, "You can sign out of the app in your profile at any time."),
    ],
)
def test_the_consent_page_promises_to_ask_once_where_that_is_true(
    app: Flask, browser: Browser, columns: dict[str, Any], sent: dict[str, str], said: str
) -> None:
    browser.sign_in(ANNA)
    grafana = RelyingParty(app, **columns)
    address = {"redirect_uri": grafana.row.redirect_uris}

    page = grafana.send(browser, **address, **sent)

    assert said in words(page)
    press(browser, page, "/oauth/continue")
    asked = grafana.send(browser, **address, **sent).status_code == 200
    assert asked is ("not asked again" not in words(page))


def test_another_number_signs_out_and_stays_on_the_way_to_the_app(grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    page = grafana.send(browser)

    answer = press(browser, page, "/oauth/other")

    assert "Sign in to Grafana" in words(answer)
    assert not browser.is_signed_in()
    form = Page(answer.text).form_with("telephone_number")
    assert form is not None
    assert "authorization=" in form.action


def test_the_page_that_leads_on_does_so_without_scripts_and_gives_nothing_away(grafana: RelyingParty, browser: Browser) -> None:
    browser.sign_in(ANNA)
    page = grafana.send(browser)

    answer = press(browser, page, "/oauth/continue")

    outline, address = Outline(answer), way_on(answer)
    [onward] = [one for one in outline.all("a") if one.get("id") == "onward"]
    [refresh] = [one for one in outline.all("meta") if one.get("http-equiv") == "refresh"]
    code = parse_qs(urlsplit(address).query)["code"][0]
    assert answer.status_code == 200
    assert_well_built(answer)
    assert refresh["content"] == f"0;url={address}"
    assert re.search(r"<noscript><meta http-equiv", answer.text)
    assert (onward["rel"], onward["href"]) == ("noreferrer", address)
    assert "<title>On to Grafana — Hammer</title>" in answer.text
    assert code not in answer.request.full_path
    assert answer.text.count(code) == 2  # the link and the refresh
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "form-action 'self';" in answer.headers["Content-Security-Policy"]


def test_leaving_says_so_to_the_app(grafana: RelyingParty, browser: Browser) -> None:
    page = grafana.send(browser)

    answer = browser.client.get(link(page, "Back to Grafana"), headers=ENGLISH)

    assert answer.status_code == 200
    assert parse_qs(urlsplit(way_on(answer)).query)["error"] == ["access_denied"]
    assert "Continue to Grafana" in words(answer)


def test_a_sign_in_that_is_over_leads_to_where_the_app_is(
    app: Flask, grafana: RelyingParty, browser: Browser, clock: time_machine.Traveller
) -> None:
    at = grafana.send(browser).request.full_path.replace("/login/", "/oauth/continue")
    clock.shift(1801)

    over = browser.client.get(at, headers=ENGLISH)
    elsewhere = Browser(app).client.get(at, headers=ENGLISH)

    assert (over.status_code, elsewhere.status_code) == (410, 404)
    assert "This sign-in is over It is finished, or took more than half an hour." in words(over)
    assert "This browser does not know this sign-in It began in another browser," in words(elsewhere)
    assert link(over, "Open Grafana") == "https://app.example/"
    assert link(elsewhere, "To the home page") == "/"
    for page in (over, elsewhere):
        assert_well_built(page)


def test_signing_out_for_an_app_asks_first(app: Flask, browser: Browser) -> None:
    grafana = RelyingParty(app, post_logout_redirect_uris=["https://app.example/bye"])
    browser.sign_in(ANNA)
    about = {"client_id": grafana.client_id, "post_logout_redirect_uri": "https://app.example/bye", "state": "s"}

    asked = browser.client.get("/oauth/logout", query_string=about, headers=ENGLISH)
    signed_in = browser.is_signed_in()
    done = press(browser, asked, "/oauth/logout/confirm")

    assert "Sign out? Grafana asks to sign you out." in words(asked)
    assert signed_in
    assert link(asked, "Stay signed in") == "https://app.example/"
    assert "You are signed out Back to Grafana" in words(done)
    assert way_on(done) == "https://app.example/bye?state=s"
    assert not browser.is_signed_in()
    for page in (asked, done):
        assert_well_built(page)


@pytest.mark.parametrize(
    ("redirect_uri", "home"),
    [("https://app.example:8443/back?x=1", "https://app.example:8443/"), ("com.example.app:/back", "")],
)
def test_the_pages_of_a_sign_out_lead_to_where_the_app_is(app: Flask, browser: Browser, redirect_uri: str, home: str) -> None:
    known = RelyingParty(app, redirect_uris=[redirect_uri], public=True)
    browser.sign_in(ANNA)
    about = {"client_id": known.client_id, "post_logout_redirect_uri": "https://evil.example/"}

    asked = browser.client.get("/oauth/logout", query_string=about, headers=ENGLISH)
    done = press(browser, asked, "/oauth/logout/confirm")

    assert link(asked, "Stay signed in") == (home or "/profile/")
    assert (f'href="{home}">Open Grafana</a>' in done.text) == bool(home)
    assert ("You can close this page." in words(done)) != bool(home)
    assert "evil.example" not in done.text
    for page in (asked, done):
        assert_well_built(page)
