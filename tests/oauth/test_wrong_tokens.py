"""Each token opens what it was made for, and nothing else."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from time_machine import Traveller
from werkzeug.test import TestResponse

from hammer.models import Scope, SigningAlgorithm
from hammer.sessions.sessions import GRACE
from hammer.web import tokens
from tests.actions import ANNA, BORIS
from tests.backends import Backend
from tests.people import Browser, Program
from tests.relying_party import RelyingParty, answered

ALL = "openid phone offline_access"


@pytest.fixture
def party(app: Flask) -> RelyingParty:
    return RelyingParty(app, post_logout_redirect_uris=["https://app.example/bye"])


@pytest.fixture
def given(party: RelyingParty, browser: Browser) -> dict[str, Any]:
    return party.tokens(browser, ANNA, scope=ALL)


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def at_api(app: Flask, token: str) -> TestResponse:
    return app.test_client(use_cookies=False).get("/api/v1/users/me/", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_no_token_of_an_app_opens_the_api(app: Flask, browser: Browser, algorithm: SigningAlgorithm) -> None:
    given = RelyingParty(app, algorithm=algorithm).tokens(browser, ANNA, scope=ALL)
    for name in ("id_token", "access_token", "refresh_token"):
        assert at_api(app, given[name]).status_code == 401, name


def test_only_an_access_token_of_an_app_opens_userinfo(
    app: Flask, party: RelyingParty, given: dict[str, Any], program: Program
) -> None:
    program.sign_in(BORIS)
    of_client = Backend(app, Scope.USERS_READ).tokens["access_token"]
    code = answered(party.send(Browser(app), prompt="none"))
    wrong = [given["id_token"], given["refresh_token"], program.tokens["access_token"], program.tokens["refresh_token"], of_client]
    for token in (*wrong, str(code), "", "\xa0", "x" * 4000):
        answer = party.http.post("/oauth/userinfo", data={"access_token": token})
        assert answer.status_code == 401, token
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert party.userinfo(given["access_token"]).status_code == 200


def test_userinfo_says_which_scheme_it_wants_and_what_is_wrong(party: RelyingParty) -> None:
    without, wrong = party.http.get("/oauth/userinfo"), party.userinfo("wrong")
    assert without.headers["WWW-Authenticate"] == "Bearer"
    assert wrong.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert without.get_json()["error"] == wrong.get_json()["error"] == "invalid_token"


def test_an_access_token_in_the_address_is_not_read(party: RelyingParty, given: dict[str, Any]) -> None:
    assert party.http.get(f"/oauth/userinfo?access_token={given['access_token']}").status_code == 401


def test_refresh_tokens_of_apps_and_of_the_api_are_not_exchanged_for_each_other(
    app: Flask, party: RelyingParty, given: dict[str, Any], program: Program
) -> None:
    of_app = program.call("POST", "/auth/refresh/", {"refresh_token": given["refresh_token"]})
    program.sign_in(BORIS)
    of_api = party.refresh(program.tokens["refresh_token"])

    assert of_app.status_code == 401
    assert (of_api.status_code, of_api.get_json()["error"]) == (400, "invalid_grant")
    assert party.refresh(given["refresh_token"]).status_code == 200
    assert program.call("POST", "/auth/refresh/", {"refresh_token": program.tokens["refresh_token"]}).status_code == 200


def test_a_code_is_no_token_and_a_token_is_no_code(party: RelyingParty, given: dict[str, Any], browser: Browser) -> None:
    code = answered(party.send(browser, prompt="none", scope=ALL))["code"]
    assert party.refresh(code).status_code == 400
    for name in ("access_token", "refresh_token", "id_token"):
        assert party.exchange(given[name]).get_json()["error"] == "invalid_grant"
    assert party.userinfo(code).status_code == 401


def forgeries(app: Flask, token: str, algorithm: SigningAlgorithm) -> dict[str, str]:
    """The token with the same claims, signed in ways that a careless verifier accepts."""
    header, body = jwt.get_unverified_header(token), token.split(".")[1]
    with app.app_context():
        public = tokens.id_token_keys().signing(algorithm).private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unsigned, hs256 = f"{part(header | {'alg': 'none'})}.{body}", f"{part(header | {'alg': 'HS256'})}.{body}"
    raw = urlsafe_b64decode(body + "=" * (-len(body) % 4))
    other = urlsafe_b64encode(raw.replace(b'"acr":"1"', b'"acr":"2"')).rstrip(b"=").decode()
    return {
        "none": f"{unsigned}.",
        "None": f"{part(header | {'alg': 'None'})}.{body}.",
        "none, with a signature": f"{unsigned}.{token.split('.')[2]}",
        "HS256 with the public key": f"{hs256}.{signature(pem, hs256)}",
        "a key of its own": jwt.encode(claims(token), own, "RS256", {"kid": header["kid"]}),
        "a key in the header": jwt.encode(
            claims(token), own, "RS256", {"jwk": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key()))}
        ),
        "another body": ".".join((token.split(".", maxsplit=1)[0], other, token.split(".")[2])),
        "another kid": ".".join((part(header | {"kid": "x"}), *token.split(".")[1:])),
    }


def signature(key: bytes, signed: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_a_forged_id_token_does_not_sign_out(app: Flask, browser: Browser, algorithm: SigningAlgorithm) -> None:
    party = RelyingParty(app, algorithm=algorithm, post_logout_redirect_uris=["https://app.example/bye"])
    id_token = party.tokens(browser, ANNA)["id_token"]
    for how, forged in forgeries(app, id_token, algorithm).items():
        page = browser.get(f"/oauth/logout?id_token_hint={forged}")
        assert browser.is_signed_in(), how
        assert "Sign out?" in page.words, how
        assert at_api(app, forged).status_code == 401, how
    assert browser.client.get("/oauth/logout", query_string={"id_token_hint": id_token}).status_code == 200
    assert not browser.is_signed_in()


def test_a_token_of_another_kind_is_no_hint(app: Flask, party: RelyingParty, given: dict[str, Any], browser: Browser) -> None:
    """A logout token and an access token of the API are signed by us as well."""
    program = Program(app)
    program.sign_in(ANNA)
    with app.app_context():
        key = tokens.id_token_keys().signing(SigningAlgorithm.RS256)
    header = {"kid": key.kid, "typ": "logout+jwt"}
    logout_token = jwt.encode(claims(given["id_token"]), key.private, key.algorithm, header)
    for hint in (logout_token, program.tokens["access_token"], given["access_token"], given["refresh_token"]):
        browser.client.get("/oauth/logout", query_string={"id_token_hint": hint})
        assert browser.is_signed_in()


def test_a_token_in_the_header_and_in_the_body_is_refused(party: RelyingParty, browser: Browser) -> None:
    given = party.tokens(browser, ANNA)["access_token"]
    answer = party.http.post("/oauth/userinfo", data={"access_token": given}, headers={"Authorization": f"Bearer {given}"})

    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_a_token_that_is_repeated_in_the_body_is_refused(party: RelyingParty, browser: Browser) -> None:
    given = party.tokens(browser, ANNA)["access_token"]
    answer = party.http.post("/oauth/userinfo", data={"access_token": [given, given]})

    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_a_refresh_that_asks_for_too_much_does_not_spend_the_token(party: RelyingParty, browser: Browser, clock: Traveller) -> None:
    given = party.tokens(browser, ANNA, scope="openid offline_access")
    assert party.refresh(given["refresh_token"], scope="openid phone").get_json()["error"] == "invalid_scope"
    clock.shift(GRACE + timedelta(seconds=1))
    assert party.refresh(given["refresh_token"]).status_code == 200
