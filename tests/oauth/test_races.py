"""Rules of codes and tokens of apps that must hold for parallel HTTP requests to the running application."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from html import unescape
from itertools import count
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from flask import Flask

from config import Settings
from hammer.clients import secrets
from hammer.models import Client, Session, SessionKind
from hammer.sessions import sessions
from tests import apps
from tests.actions import number, sign_in
from tests.backends import FORM, basic
from tests.conftest import SETTINGS
from tests.people import Browser, Page
from tests.serving import Answer, Server, at_once

_fresh = count(5000)


@pytest.fixture
def there(server: Server) -> Settings:
    """The settings of the server, as far as rows and proofs depend on them."""
    return replace(SETTINGS, database_url=server.database_url)


@pytest.fixture
def same(there: Settings, app_with: Callable[[Settings], Flask]) -> Iterator[Flask]:
    """An application in this process with the database of the server, in whose context verbs can be called."""
    app = app_with(there)
    with app.app_context():
        yield app


@pytest.fixture
def client(same: Flask) -> Client:
    return apps.add_app(f"Shop {next(_fresh)}")


def browser_session(there: Settings) -> Session:
    return sign_in(there, number(next(_fresh)), kind=SessionKind.BROWSER).session


class Caller:
    """The app: sends forms to the server with its secret."""

    def __init__(self, server: Server, there: Settings, client: Client) -> None:
        self.server = server
        self.own = basic(client.id, secrets.secret(there, client))

    def post(self, path: str, **sent: str) -> Answer:
        """Again while the server answers 503, as its header `Retry-After` asks."""
        headers = {"Content-Type": FORM, "Authorization": self.own}
        for _ in range(40):
            answer = self.server.request("POST", path, urlencode(sent).encode(), headers)
            if answer.status != 503:
                return answer
        raise AssertionError("Every answer was 503.")

    def exchange(self, code: str) -> Answer:
        sent = {"grant_type": "authorization_code", "code": code, "code_verifier": apps.VERIFIER}
        return self.post("/oauth/token", redirect_uri=apps.REDIRECT_URI, **sent)

    def refresh(self, refresh_token: str) -> Answer:
        return self.post("/oauth/token", grant_type="refresh_token", refresh_token=refresh_token)

    def knows(self, access_token: str) -> bool:
        return self.server.request("GET", "/oauth/userinfo", headers={"Authorization": f"Bearer {access_token}"}).status == 200


@pytest.fixture
def shop(server: Server, there: Settings, client: Client) -> Caller:
    return Caller(server, there, client)


def test_of_fifty_parallel_exchanges_of_one_code_one_gets_tokens_which_then_end(
    there: Settings, client: Client, shop: Caller
) -> None:
    assert shop.exchange(apps.code(there, client, browser_session(there))).status == 200  # makes the keys
    code = apps.code(there, client, browser_session(there), "openid offline_access")
    answers = at_once([partial(shop.exchange, code)] * 50)
    given = [answer.json for answer in answers if answer.status == 200]

    assert Counter(answer.status for answer in answers) == {200: 1, 400: 49}
    assert {answer.json["error"] for answer in answers if answer.status == 400} == {"invalid_grant"}
    assert not shop.knows(given[0]["access_token"])
    assert shop.refresh(given[0]["refresh_token"]).status == 400


def test_parallel_refreshes_of_one_token_are_one_refresh(there: Settings, client: Client, shop: Caller) -> None:
    """A client that sends it twice, because an answer is late, stays signed in."""
    first = shop.exchange(apps.code(there, client, browser_session(there), "openid offline_access")).json
    answers = at_once([partial(shop.refresh, first["refresh_token"])] * 20)

    assert Counter(answer.status for answer in answers) == {200: 20}
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    assert shop.knows(answers[0].json["access_token"])


def test_no_token_that_is_given_at_the_moment_of_a_logout_works_after_it(
    server: Server, there: Settings, client: Client, shop: Caller
) -> None:
    for _ in range(10):
        session = browser_session(there)
        cookie = {"Cookie": f"hammer={sessions.cookie(there, session)}"}
        hint = shop.exchange(apps.code(there, client, session)).json["id_token"]
        code = apps.code(there, client, session, "openid offline_access")
        answers = at_once(
            [
                partial(shop.exchange, code),
                partial(server.request, "GET", f"/oauth/logout?id_token_hint={hint}", headers=cookie),
            ]
        )
        assert answers[1].status == 200
        if answers[0].status == 200:
            assert not shop.knows(answers[0].json["access_token"])
            assert shop.refresh(answers[0].json["refresh_token"]).status == 400
        else:
            assert answers[0].json["error"] == "invalid_grant"


def test_a_consent_that_is_sent_many_times_at_once_gives_one_code(
    server: Server, there: Settings, app_with: Callable[[Settings], Flask], client: Client, shop: Caller
) -> None:
    browser = Browser(other := app_with(there))  # in `same`, all requests would share one context
    browser.client.set_cookie("hammer", sessions.cookie(there, browser_session(there)))
    sent = {"client_id": client.id, "redirect_uri": apps.REDIRECT_URI, "response_type": "code", "scope": "openid phone"}
    challenge = {"code_challenge": apps.CHALLENGE, "code_challenge_method": "S256"}
    shown = browser.client.get("/oauth/authorize", query_string=sent | challenge, follow_redirects=True)
    form = next(form for form in Page(shown.text).forms if form.action.startswith("/oauth/continue"))
    cookies = [browser.client.get_cookie(name) for name in ("hammer", other.config["SESSION_COOKIE_NAME"])]
    headers = {"Content-Type": FORM, "Cookie": "; ".join(f"{found.key}={found.value}" for found in cookies if found)}
    answers = at_once([partial(server.request, "POST", form.action, urlencode(form.fields).encode(), headers)] * 10)

    pages = {page_code(answer) for answer in answers if answer.status == 200}
    assert Counter(answer.status for answer in answers if answer.status != 503) == {200: sum(a.status == 200 for a in answers)}
    assert len(pages) == 1
    assert shop.exchange(pages.pop()).status == 200


def page_code(answer: Answer) -> str:
    """The code in the link of the page that leads back to the app."""
    found = re.search(r'id="onward"[^>]* href="([^"]+)"', answer.body.decode())
    assert found, answer.body
    return dict(parse_qsl(urlsplit(unescape(found[1])).query))["code"]
