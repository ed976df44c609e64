"""`POST /oauth/token`: an access token for a client that shows its secret, and errors in the form of RFC 6749 §5.2."""

import io
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config import ACCESS_TOKEN_LIFETIME, Settings
from hammer.clients import registry, secrets
from hammer.models import Scope, SignInScope
from tests.backends import FORM, Backend, basic
from tests.serving import ROOT, surroundings
from tests.web.test_tokens import parts, put_together, signing

GRANT = {"grant_type": "client_credentials"}
CLAIMS = {"iss", "aud", "sub", "client_id", "scope", "dis", "exp", "iat", "jti", "type", "fresh"}


@pytest.fixture
def shop(app: Flask) -> Backend:
    return Backend(app, Scope.USERS_READ, Scope.CODES_SEND)


def post(client: FlaskClient, body: object = GRANT, authorization: str = "", **more: Any) -> TestResponse:
    headers = {"Authorization": authorization} if authorization else {}
    return client.post("/oauth/token", data=body, headers=headers, **more)


def assert_error(answer: TestResponse, status: int, slug: str) -> None:
    assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
    assert answer.get_json()["error"] == slug
    assert set(answer.get_json()) == {"error", "error_description"}
    assert answer.text.isascii()
    assert not set('"\\') & set(answer.get_json()["error_description"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_a_client_gets_a_token_in_the_form_of_the_standard(shop: Backend) -> None:
    answer = shop.ask_token()

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    token = answer.get_json()
    assert set(token) == {"access_token", "token_type", "expires_in", "scope"}
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 900)


@pytest.mark.requirement("TOK-02")
@pytest.mark.requirement("TOK-03")
def test_the_token_of_a_client_has_the_claims_of_rfc_9068_and_no_session(shop: Backend, settings: Settings) -> None:
    header, claims = parts(shop.tokens["access_token"])

    assert (header["typ"], header["alg"]) == ("at+jwt", "EdDSA")
    assert claims["iss"] == claims["aud"] == settings.public_url
    assert claims["sub"] == claims["client_id"] == shop.client_id
    assert claims["scope"] == "codes:send users:read"
    assert claims["exp"] - claims["iat"] == ACCESS_TOKEN_LIFETIME.total_seconds() == 900
    assert set(claims) == CLAIMS


@pytest.mark.requirement("TOK-02")
@pytest.mark.parametrize("disables", [None, "0", False, 0.0, -1, 1])
def test_a_token_of_a_client_that_was_disabled_another_number_of_times_is_refused(shop: Backend, disables: object) -> None:
    header, claims = parts(shop.tokens["access_token"])
    for altered in (claims, claims | {"dis": disables}):
        shop.tokens = {"access_token": put_together(header, altered, signing(shop.app).private.sign)}
        assert shop.call("GET", "/users/").status_code == (200 if altered is claims else 401)


def test_each_token_is_another_one(shop: Backend) -> None:
    assert parts(shop.authenticate()["access_token"])[1]["jti"] != parts(shop.authenticate()["access_token"])[1]["jti"]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("users:read", "users:read"),
        ("users:read " * 900, "users:read"),
        ("users:read codes:send", "codes:send users:read"),
        ("", "codes:send users:read"),
        (" ", "codes:send users:read"),
    ],
)
def test_a_client_gets_the_scopes_that_it_asks_for_or_all(shop: Backend, asked: str, given: str) -> None:
    assert shop.authenticate(scope=asked)["scope"] == given
    assert parts(shop.tokens["access_token"])[1]["scope"] == given


@pytest.mark.parametrize("asked", ["users:write", "users:read users:write", "admin", "USERS:READ", "\0", "openid"])
def test_a_scope_that_the_operator_does_not_allow_is_refused(shop: Backend, asked: str) -> None:
    assert_error(shop.ask_token(scope=asked), 400, "invalid_scope")


def described(answer: TestResponse) -> str:
    return str(answer.get_json()["error_description"])


def test_a_refused_scope_is_answered_with_those_that_there_are(app: Flask, shop: Backend) -> None:
    assert described(shop.ask_token(scope="users:read users:write")) == (
        "The operator does not allow users:write to this client. It allows codes:send users:read."
    )
    assert described(Backend(app, name="Other").ask_token(scope="users:read")).endswith("It allows none.")
    unknown = described(shop.ask_token(scope="users:reed"))
    assert unknown.startswith("There is no such scope. ")
    assert all(scope in unknown for scope in Scope)


def test_a_client_without_scopes_gets_a_token_that_opens_nothing(app: Flask) -> None:
    assert Backend(app).tokens["scope"] == ""


def test_the_secret_may_come_in_the_header_or_in_the_body(shop: Backend) -> None:
    in_body = GRANT | {"client_id": shop.client_id, "client_secret": shop.secret}

    assert post(shop.client, in_body).status_code == 200
    assert post(shop.client, GRANT, basic(shop.client_id, shop.secret)).status_code == 200
    assert post(shop.client, GRANT | {"client_id": shop.client_id}, basic(shop.client_id, shop.secret)).status_code == 200


def test_a_request_that_names_two_clients_is_refused(app: Flask, shop: Backend) -> None:
    own = basic(shop.client_id, shop.secret)
    for other in (Backend(app, name="Other").client_id, "A" * 22, "я", "\0", f" {shop.client_id}"):
        assert_error(post(shop.client, GRANT | {"client_id": other}, own), 400, "invalid_request")
    assert_error(post(shop.client, GRANT | {"client_id": "A" * 22}, basic(shop.client_id, "wrong")), 401, "invalid_client")
    assert post(shop.client, GRANT | {"client_id": ""}, own).status_code == 200  # no value is no parameter (RFC 6749 §3.2)


def test_the_secret_may_be_percent_encoded(shop: Backend) -> None:
    encoded = [quote(text).replace(".", "%2E").replace("-", "%2D") for text in (shop.client_id, shop.secret)]

    assert post(shop.client, GRANT, basic(*encoded)).status_code == 200
    assert post(shop.client, urlencode(GRANT).replace("_", "%5F"), basic(*encoded), content_type=FORM).status_code == 200


def test_every_way_to_be_nobody_has_one_answer(app: Flask, shop: Backend) -> None:
    other = Backend(app, name="Other")
    answers = [
        post(shop.client, GRANT),
        post(shop.client, GRANT, basic("A" * 22, shop.secret)),
        post(shop.client, GRANT, basic(shop.client_id, "wrong")),
        post(shop.client, GRANT, basic(shop.client_id, other.secret)),
        post(shop.client, GRANT, basic(other.client_id, shop.secret)),
        post(shop.client, GRANT, basic(shop.client_id, "")),
        post(shop.client, GRANT, f"Bearer {shop.tokens['access_token']}"),
        post(shop.client, GRANT | {"client_id": shop.client_id}),
        post(shop.client, GRANT | {"client_id": shop.client_id, "client_secret": "wrong"}),
    ]

    for answer in answers:
        assert_error(answer, 401, "invalid_client")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="clients"'
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic \xff\xfe",
        "Basic " + b64encode(b"without a colon").decode(),
        "Basic " + b64encode(b"\xff:\xfe").decode(),
        "Basic " + b64encode(b"\0:\0").decode(),
        "Basic " + b64encode(b"%00%ff:%00%ff").decode(),
        "Basic " + b64encode(b"a" * 4000 + b":" + b"b" * 4000).decode(),
        "Digest x",
        "\xa0",
    ],
)
def test_no_header_is_too_strange_for_an_answer(shop: Backend, authorization: str) -> None:
    assert_error(post(shop.client, GRANT, authorization), 401, "invalid_client")


@pytest.mark.parametrize("shown", ["\0", "\x00\xff", "я", "a" * 4000, "\N{HEDGEHOG}"])
def test_no_client_in_the_body_is_too_strange_for_an_answer(shop: Backend, shown: str) -> None:
    for body in ({"client_id": shown, "client_secret": shop.secret}, {"client_id": shop.client_id, "client_secret": shown}):
        assert_error(post(shop.client, GRANT | body), 401, "invalid_client")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "scope=users:read",
        "grant_type=",
        "grant_type=client_credentials&grant_type=client_credentials",
        "grant_type=client_credentials&scope=users:read&scope=users:read",
        "grant_type=client_credentials&client_secret=x",
    ],
)
def test_a_request_that_is_not_in_order_is_refused(shop: Backend, body: str) -> None:
    own = basic(shop.client_id, shop.secret)
    assert_error(post(shop.client, body, own, content_type=FORM), 400, "invalid_request")


@pytest.mark.parametrize("grant", ["authorization_code", "refresh_token"])
def test_a_client_that_people_do_not_sign_in_to_cannot_use_their_grants(shop: Backend, grant: str) -> None:
    sent = {"grant_type": grant, "code": "1", "refresh_token": "1"}
    assert_error(post(shop.client, sent, basic(shop.client_id, shop.secret)), 400, "unauthorized_client")


@pytest.mark.parametrize("grant", ["password", "implicit", "пароль", "\0", '"\\'])
def test_other_grants_are_not_supported(shop: Backend, grant: str) -> None:
    assert_error(post(shop.client, {"grant_type": grant}, basic(shop.client_id, shop.secret)), 400, "unsupported_grant_type")


def test_another_method_is_answered_with_the_one_that_there_is(shop: Backend) -> None:
    assert described(shop.client.get("/oauth/token")) == "Send a POST."


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_only_forms_are_read(shop: Backend, kind: str) -> None:
    assert_error(post(shop.client, urlencode(GRANT), basic(shop.client_id, shop.secret), content_type=kind), 400, "invalid_request")


def test_parameters_in_the_address_are_not_read(shop: Backend) -> None:
    own = {"client_id": shop.client_id, "client_secret": shop.secret}

    assert_error(post(shop.client, {"a": "b"}, query_string=GRANT | own), 400, "invalid_request")
    assert_error(post(shop.client, GRANT, query_string=own), 401, "invalid_client")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_only_post_is_answered(shop: Backend, method: str) -> None:
    answer = shop.client.open("/oauth/token", method=method, query_string=GRANT)

    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.mimetype == "application/json"


def test_a_body_that_is_too_large_is_refused(shop: Backend) -> None:
    body = urlencode(GRANT | {"scope": "a" * 17_000})
    assert_error(post(shop.client, body, basic(shop.client_id, shop.secret), content_type=FORM), 413, "invalid_request")


def test_production_gives_no_token_without_https(production: Flask) -> None:
    answer = production.test_client().post("/oauth/token", data=GRANT, base_url="http://login.example.com")
    assert_error(answer, 403, "invalid_request")


def test_an_address_with_too_many_requests_is_refused_in_the_form_of_the_standard(
    settings: Settings, app_with: Callable[[Settings], Flask]
) -> None:
    shop = Backend(app_with(replace(settings, requests_per_address_minute=1)))
    answer = post(shop.client, GRANT, environ_overrides={"REMOTE_ADDR": "192.0.2.80"})

    assert_error(answer, 429, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_database_that_is_away_is_said_in_the_form_of_the_standard(
    settings: Settings, app_with: Callable[[Settings], Flask], tmp_path: object
) -> None:
    app = app_with(replace(settings, database_url=f"sqlite:///{tmp_path}/missing/hammer.db"))
    answer = post(app.test_client(), GRANT, basic("A" * 22, "secret"))

    assert_error(answer, 503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.requirement("LOG-01")
@pytest.mark.requirement("LOG-02")
def test_the_log_names_the_refusal_and_holds_no_secret(production: Flask, log: io.StringIO) -> None:
    at = {"base_url": "https://login.example.com", "environ_overrides": {"REMOTE_ADDR": "192.0.2.81"}}
    answer = post(production.test_client(), GRANT, basic("A" * 22, "a-wrong-secret"), **at)

    assert_error(answer, 401, "invalid_client")
    assert '"refusal": "invalid_client"' in log.getvalue()
    assert '"route": "/oauth/token"' in log.getvalue()
    assert "a-wrong-secret" not in log.getvalue()


@pytest.mark.requirement("LOG-01")
def test_the_log_names_the_limit_that_refused_a_client(production: Flask, log: io.StringIO) -> None:
    with production.app_context():
        client = registry.add("Guessed", [])
    caller, at = production.test_client(), {"base_url": "https://login.example.com"}
    for _ in range(secrets.WRONG_PER_HOUR + 1):
        answer = post(caller, GRANT, basic(client.id, "wrong"), **at)

    assert_error(answer, 429, "temporarily_unavailable")
    assert json.loads(log.getvalue().splitlines()[-1])["refusal"] == "too-many-requests"


@pytest.mark.requirement("LOG-01")
def test_the_log_names_the_client_that_calls(production: Flask, log: io.StringIO) -> None:
    with production.app_context():
        client = registry.add("Shop", [Scope.USERS_READ])
        secret = secrets.secret(production.config["SETTINGS"], client)
    caller, at = production.test_client(), {"base_url": "https://login.example.com"}
    token = post(caller, GRANT, basic(client.id, secret), **at).get_json()["access_token"]
    caller.get("/api/v1/users/", headers={"Authorization": f"Bearer {token}"}, **at)
    caller.get("/api/v1/users/", **at)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]

    assert [line["client_id"] for line in lines if "route" in line] == [client.id, client.id, None]


@pytest.mark.processes
def test_authlib_is_imported_for_the_first_client_alone() -> None:
    """It takes some 20 MB, which an installation without clients should not pay."""
    ask = "import sys, hammer; print('authlib' in sys.modules); import hammer.oauth.server; print('authlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, env=surroundings(), capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def test_the_description_says_what_the_server_does(shop: Backend, settings: Settings) -> None:
    described = shop.client.get("/.well-known/oauth-authorization-server").get_json()

    assert described["issuer"] == settings.public_url
    assert described["token_endpoint"] == f"{settings.public_url}/oauth/token"
    assert described["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
    assert set(described["scopes_supported"]) == {*Scope, *SignInScope}
    assert shop.client.get(described["jwks_uri"].removeprefix(settings.public_url)).status_code == 200
