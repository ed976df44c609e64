"""Authlib's client: as a site of Flask, which checks the id token by itself, and alone, as OAuth2Session."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from authlib.integrations.requests_client import OAuth2Session
from flask import Flask, Response, url_for
from flask.testing import FlaskClient

from hammer.models import SigningAlgorithm
from tests.peers.conftest import App, Register
from tests.peers.visitor import Visitor
from tests.serving import Server

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 calls it Ed25519, which few apps know

SITE: Final = "http://localhost"
"""The address of a test client of Flask."""
CALLBACK: Final = f"{SITE}/callback"


@pytest.fixture(scope="module", params=list(SigningAlgorithm))
def app(request: pytest.FixtureRequest, register: Register) -> App:
    addresses = {"redirect_uris": [CALLBACK], "post_logout_redirect_uris": [f"{SITE}/signed-out"]}
    return register(f"Authlib {request.param}", algorithm=request.param, **addresses)


@pytest.fixture
def tokens() -> dict[str, Any]:
    """What the site was given last."""
    return {}


@pytest.fixture
def site(app: App, server: Server, tokens: dict[str, Any]) -> FlaskClient:
    """A site as the documentation of Authlib shows it."""
    flask = Flask(__name__)
    flask.secret_key = "of the site, for tests"
    oauth = OAuth(flask)
    hammer = oauth.register(
        "hammer",
        client_id=app.id,
        client_secret=app.secret,
        server_metadata_url=f"{server.url}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid phone profile", "code_challenge_method": "S256"},
    )

    @flask.get("/in")
    def sign_in() -> Response:
        answer: Response = hammer.authorize_redirect(url_for("callback", _external=True))
        return answer

    @flask.get("/callback")
    def callback() -> dict[str, Any]:
        tokens.update(hammer.authorize_access_token())
        userinfo: dict[str, Any] = hammer.userinfo()
        return {"id token": tokens["userinfo"], "userinfo": userinfo}

    @flask.get("/out")
    def sign_out() -> Response:
        answer: Response = hammer.logout_redirect(url_for("signed_out", _external=True), tokens["id_token"])
        return answer

    @flask.get("/signed-out")
    def signed_out() -> dict[str, Any]:
        state: dict[str, Any] = hammer.validate_logout_response()
        return state

    @flask.errorhandler(OAuthError)
    def refused(error: OAuthError) -> dict[str, Any]:
        return {"error": error.error}

    return flask.test_client()


def test_a_site_signs_a_person_in_and_out_with_new_and_with_remembered_consent(
    site: FlaskClient, server: Server, number: str
) -> None:
    visitor = Visitor(server, number, "ru")
    sub = server.call("GET", "/users/me/", token=server.sign_in(number)["access_token"]).json["id"]

    first = site.get(visitor.follow(site.get("/in").location)).get_json()

    assert (visitor.seen, visitor.languages) == (["number", "code", "consent"], {"ru"})
    assert first["id token"]["sub"] == first["userinfo"]["sub"] == sub
    assert first["userinfo"]["phone_number"] == number

    second = site.get(visitor.follow(site.get("/in").location)).get_json()

    assert visitor.seen == []
    assert second["userinfo"] == first["userinfo"]

    out = site.get(visitor.follow(site.get("/out").location)).get_json()

    assert out == {"post_logout_redirect_uri": f"{SITE}/signed-out"}
    assert not visitor.is_signed_in()


def test_a_site_learns_that_a_person_did_not_allow_it(site: FlaskClient, server: Server, number: str) -> None:
    at = Visitor(server, number).follow(site.get("/in").location, deny=True)

    assert site.get(at).get_json() == {"error": "access_denied"}


@pytest.fixture(scope="module")
def app_of_sessions(register: Register) -> App:
    return register("Authlib", redirect_uris=[CALLBACK])


@pytest.fixture(params=["client_secret_basic", "client_secret_post"])
def session(request: pytest.FixtureRequest, app_of_sessions: App) -> Iterator[OAuth2Session]:
    with OAuth2Session(
        app_of_sessions.id, app_of_sessions.secret,
        token_endpoint_auth_method=request.param, revocation_endpoint_auth_method=request.param,
        scope="openid phone offline_access", redirect_uri=CALLBACK, code_challenge_method="S256",
    ) as made:  # fmt: skip
        yield made


def fetch(session: OAuth2Session, server: Server, visitor: Visitor) -> dict[str, Any]:
    verifier = "a verifier of the tests, which is long enough".replace(" ", "-").replace(",", "")
    url, state = session.create_authorization_url(f"{server.url}/oauth/authorize", code_verifier=verifier)
    at = visitor.follow(url)
    assert parse_qs(urlsplit(at).query)["iss"] == [server.url]
    given: dict[str, Any] = session.fetch_token(
        f"{server.url}/oauth/token", authorization_response=at, state=state, code_verifier=verifier
    )
    return given


def test_a_session_refreshes_and_revokes_its_tokens(session: OAuth2Session, server: Server, number: str) -> None:
    first = fetch(session, server, Visitor(server, number))

    second = session.refresh_token(f"{server.url}/oauth/token", first["refresh_token"])

    assert second["refresh_token"] != first["refresh_token"]
    assert session.get(f"{server.url}/oauth/userinfo").json()["phone_number"] == number
    assert session.revoke_token(f"{server.url}/oauth/revoke", second["refresh_token"]).status_code == 200
    assert session.get(f"{server.url}/oauth/userinfo").status_code == 401
    with pytest.raises(OAuthError, match="invalid_grant"):
        session.refresh_token(f"{server.url}/oauth/token", second["refresh_token"])


def test_a_session_that_uses_an_old_refresh_token_loses_all(session: OAuth2Session, server: Server, number: str) -> None:
    first = fetch(session, server, Visitor(server, number))
    second = session.refresh_token(f"{server.url}/oauth/token", first["refresh_token"])
    assert session.get(f"{server.url}/oauth/userinfo").status_code == 200

    with pytest.raises(OAuthError, match="invalid_grant"):
        session.refresh_token(f"{server.url}/oauth/token", first["refresh_token"])

    with pytest.raises(OAuthError, match="invalid_grant"):
        session.refresh_token(f"{server.url}/oauth/token", second["refresh_token"])
    assert session.get(f"{server.url}/oauth/userinfo").status_code == 401
