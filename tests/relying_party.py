"""An app that people sign in to (`RelyingParty`), as its server sees Hammer: it sends people there, and is called back."""

import hashlib
import re
from base64 import urlsafe_b64encode
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from flask import Flask
from werkzeug.test import TestResponse

from hammer.clients import registry, secrets
from hammer.models import Client
from tests.backends import basic
from tests.people import Browser, Page

REDIRECT_URI = "https://app.example/callback"
VERIFIER = "a-verifier-of-43-characters-or-more-is-wanted-here"


def s256(verifier: str) -> str:
    """The challenge of a verifier (RFC 7636 §4.2)."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class RelyingParty:
    """A client with a redirect URI. `columns` are further ones of its row."""

    def __init__(self, app: Flask, name: str = "Grafana", **columns: Any) -> None:
        self.app, self.name = app, name
        self.settings = app.config["SETTINGS"]
        self.http = app.test_client(use_cookies=False)
        with app.app_context():
            client = registry.add(name, (), **({"redirect_uris": [REDIRECT_URI]} | columns))
            self.client_id, self.secret = client.id, secrets.secret(self.settings, client)
            self.public = client.public

    @property
    def row(self) -> Client:
        with self.app.app_context():
            return registry.find(self.client_id)

    def address(self, **changed: str | None) -> str:
        """The address of a request to sign somebody in. A parameter that is None is left out."""
        sent = {
            "client_id": self.client_id,
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "scope": "openid phone",
            "state": "state of the app",
            "nonce": "nonce of the app",
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
        } | changed
        return f"/oauth/authorize?{urlencode({name: value for name, value in sent.items() if value is not None})}"

    def send(self, browser: Browser, **changed: str | None) -> TestResponse:
        """Sends the browser to Hammer; returns the first page that is shown, or the redirect back to the app."""
        return follow(browser, browser.client.get(self.address(**changed)))

    def sign_in(self, browser: Browser, telephone_number: str | None = None, **changed: str | None) -> dict[str, str]:
        """Signs a person in, who enters their number and code where they are asked, and allows everything. Returns the answer."""
        answer = self.send(browser, **changed)
        if telephone_number is not None:
            browser.enter(Page(answer.text), telephone_number)
            assert browser.last is not None
            answer = browser.last
        return answered(allow(browser, answer))

    def exchange(self, code: str, *, verifier: str | None = VERIFIER, **changed: str) -> TestResponse:
        """Exchanges a code at the token endpoint."""
        sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI} | changed
        return self.call("/oauth/token", sent | ({"code_verifier": verifier} if verifier else {}))

    def refresh(self, refresh_token: str, **changed: str) -> TestResponse:
        return self.call("/oauth/token", {"grant_type": "refresh_token", "refresh_token": refresh_token} | changed)

    def revoke(self, token: str) -> TestResponse:
        return self.call("/oauth/revoke", {"token": token})

    def userinfo(self, access_token: str) -> TestResponse:
        return self.http.get("/oauth/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    def tokens(self, browser: Browser, telephone_number: str | None = None, **changed: str | None) -> dict[str, Any]:
        """Signs a person in and exchanges the code. Returns the tokens."""
        answer = self.exchange(self.sign_in(browser, telephone_number, **changed)["code"])
        assert answer.status_code == 200, answer.text
        return dict(answer.get_json())

    def claims(self, id_token: str) -> dict[str, Any]:
        """The claims of an id token, verified as a relying party does it: with the published keys."""
        kid = jwt.get_unverified_header(id_token)["kid"]
        published = {key["kid"]: key for key in self.http.get("/.well-known/jwks.json").get_json()["keys"]}[kid]
        key = jwt.PyJWK(published)
        issuer = self.settings.public_url
        return dict(jwt.decode(id_token, key, algorithms=[published["alg"]], audience=self.client_id, issuer=issuer))

    def call(self, path: str, sent: dict[str, str]) -> TestResponse:
        """A POST of this client, which authenticates."""
        if self.public:
            return self.http.post(path, data={"client_id": self.client_id} | sent)
        return self.http.post(path, data=sent, headers={"Authorization": basic(self.client_id, self.secret)})


def follow(browser: Browser, answer: TestResponse) -> TestResponse:
    """Follows redirects inside of Hammer, and stops at one that leads to an app."""
    for _ in range(10):
        location = answer.headers.get("Location", "")
        if not location.startswith("/"):
            return answer
        answer = browser.client.get(location, headers={"Accept-Language": "en"})
    raise AssertionError("redirects go round in circles")


def allow(browser: Browser, answer: TestResponse, **filled: str) -> TestResponse:
    """Allows what a consent page asks; returns any other answer as it is."""
    forms = Page(answer.text).forms if answer.status_code == 200 else ()
    form = next((form for form in forms if form.action.startswith("/oauth/continue") and "carried" not in form.fields), None)
    if form is None:
        return answer
    return browser.client.post(form.action, data=form.fields | filled)


def way_on(answer: TestResponse) -> str:
    """The address of the app that an answer leads to: by a redirect, or by the page that leads on by itself."""
    if location := answer.headers.get("Location"):
        return location
    found = re.search(r'<a[^>]* id="onward"[^>]* href="([^"]+)"|<a[^>]* href="([^"]+)"[^>]* id="onward"', answer.text)
    assert found, answer.text
    return unescape(found[1] or found[2])


def answered(answer: TestResponse) -> dict[str, str]:
    """The parameters that come back to the app."""
    return dict(parse_qsl(urlsplit(way_on(answer)).query))
