"""Nothing that signs a person in stands in a log, a title, or an address that other sites see."""

import io
import json
import re

import pytest
from flask import Flask

from tests.actions import ANNA
from tests.people import Browser, Page
from tests.relying_party import RelyingParty, allow, answered, follow, way_on


def test_no_secret_of_a_sign_in_is_in_the_log(log: io.StringIO, production: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(production.config, "SERVER_NAME", "login.example.com")  # the host of the test client
    monkeypatch.setitem(production.config, "PREFERRED_URL_SCHEME", "https")
    party, browser = RelyingParty(production), Browser(production)
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
