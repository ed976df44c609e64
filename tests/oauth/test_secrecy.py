"""Nothing that signs a person in stands in a log, a title, or an address that other sites see."""

import io
import json
import re
from typing import Any

import pytest
from flask import Flask

from tests.actions import ANNA
from tests.oauth.test_rubbish import FIELDS, NAMES
from tests.people import Browser, Page
from tests.relying_party import REDIRECT_URI, RelyingParty, allow, answered, follow, way_on


@pytest.fixture
def public(production: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The application of production, at whose address test clients are."""
    monkeypatch.setitem(production.config, "SERVER_NAME", "login.example.com")
    monkeypatch.setitem(production.config, "PREFERRED_URL_SCHEME", "https")
    return production


def test_no_secret_of_a_sign_in_is_in_the_log(log: io.StringIO, public: Flask) -> None:
    party, browser = RelyingParty(public), Browser(public)
    asked = {"state": "a-secret-state-of-the-app", "nonce": "a-secret-nonce-of-the-app", "scope": "openid phone offline_access"}
    back = party.sign_in(browser, ANNA, **asked)
    given = party.exchange(back["code"]).get_json()
    party.exchange(back["code"])
    party.userinfo(given["access_token"])
    party.refresh(given["refresh_token"])
    party.refresh("a-wrong-token")
    party.revoke(given["access_token"])
    party.send(browser, request="x", login_hint=ANNA, **asked)
    browser.client.get(f"/oauth/logout?id_token_hint={given['id_token']}")
    written = log.getvalue()

    assert "/oauth/token" in written
    hidden = (back["code"], given["access_token"], given["refresh_token"], given["id_token"], given["id_token"].split(".")[2])
    for secret in (*hidden, asked["state"], asked["nonce"], party.secret, ANNA, ANNA[1:], "a-wrong-token"):
        assert secret not in written
    assert all("?" not in json.loads(line).get("route", "") for line in written.splitlines() if line.startswith("{"))


def test_the_log_says_which_client_was_refused_and_why(log: io.StringIO, public: Flask) -> None:
    party, browser = RelyingParty(public, "Wiki"), Browser(public)
    refused: list[dict[str, str | None]] = [
        {"redirect_uri": None},
        {"redirect_uri": f"{REDIRECT_URI}/another"},
        {"response_type": None},
        {"response_type": "token"},
        {"response_mode": "fragment"},
        {"nonce": "n" * 2001},
        {"state": "s" * 2001},
        {"prompt": "none login"},
        {"prompt": "sing"},
        {"max_age": "soon"},
        {"code_challenge": None},
        {"code_challenge": "short"},
        {"code_challenge_method": "plain"},
        {"scope": "phone"},
        {"request": "x"},
    ]
    reasons = []
    for changed in refused:
        browser.client.get(party.address(**changed))
        line = last_line(log)
        assert line["route"] == "/oauth/authorize"
        assert line["client_id"] == (party.client_id if changed != {"redirect_uri": None} else None)
        reasons.append((line["refusal"], line["reason"]))

    assert len(set(reasons)) == len(refused), reasons
    assert all(refusal and reason for refusal, reason in reasons)


def test_the_log_names_the_client_at_each_address_that_apps_call(log: io.StringIO, public: Flask) -> None:
    party = RelyingParty(public, "Calendar")
    given = party.tokens(Browser(public), ANNA, scope="openid offline_access")
    party.userinfo(given["access_token"])
    party.revoke(given["access_token"])
    party.userinfo(given["access_token"])
    written = [line for line in map(json.loads, log.getvalue().splitlines()) if line.get("route", "").startswith("/oauth/")]

    named = {line["route"]: line["client_id"] for line in written[:-1]}
    for path in ("authorize", "token", "userinfo", "revoke"):
        assert named[f"/oauth/{path}"] == party.client_id
    assert (written[-1]["client_id"], written[-1]["refusal"]) == (None, "invalid_token")


def test_no_value_that_is_sent_to_be_refused_is_in_the_log(log: io.StringIO, public: Flask) -> None:
    """A mark in each parameter, at each address."""
    party, caller, mark = RelyingParty(public, "Marked"), public.test_client(use_cookies=False), "a-Mark-that-is-Sent"
    for name in sorted({*NAMES, *FIELDS, "client_secret", "grant_type", "unknown"}):
        caller.get(party.address(**{name: mark}))
        caller.get(f"{party.address()}&{name}={mark}&{mark}=1&{mark}=2")
        grant = "refresh_token" if name == "refresh_token" else "authorization_code"
        asked = {"grant_type": grant, "code": "x", "token": "x", "redirect_uri": REDIRECT_URI} | {name: mark}
        for path in ("/oauth/token", "/oauth/revoke", "/oauth/userinfo"):
            party.call(path, asked)
    refused = [line for line in map(json.loads, log.getvalue().splitlines()) if line.get("refusal")]

    assert len({line["reason"] for line in refused if line["reason"]}) > 10
    assert mark not in log.getvalue()


def last_line(log: io.StringIO) -> dict[str, Any]:
    return dict(json.loads(log.getvalue().splitlines()[-1]))


def test_no_secret_is_in_a_title_or_in_what_is_shown_of_a_link(app: Flask, browser: Browser) -> None:
    party = RelyingParty(app)
    page = party.send(browser, state="a-secret-state", nonce="a-secret-nonce")
    seen = [page.text]
    browser.enter(Page(page.text), ANNA)
    assert browser.last is not None
    seen.append(browser.last.text)
    last = allow(browser, browser.last)
    seen.append(last.text)
    code = answered(last)["code"]

    for text in seen:
        titles = re.findall(r"<title>(.*?)</title>|og:title\" content=\"(.*?)\"", text, re.DOTALL)
        assert not [title for title in titles if code in str(title) or "secret" in str(title)]
    assert "a-secret-nonce" not in "".join(seen)
    assert code not in Page(last.text).words
    assert "a-secret-state" not in "".join(seen[:2])


def test_no_page_with_a_code_gives_its_address_to_other_sites(app: Flask, browser: Browser) -> None:
    party = RelyingParty(app)
    first = browser.client.get(party.address())
    browser.enter(Page(follow(browser, first).text), ANNA)
    assert browser.last is not None
    last = allow(browser, browser.last)
    direct = browser.client.get(party.address())

    assert 'rel="noreferrer"' in last.text
    for answer in (first, last, direct):
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
    for address in (way_on(last), way_on(direct)):
        assert set(answered(last)) == {"code", "state", "iss"}
        assert "token" not in address
