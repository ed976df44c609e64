"""The authorization server, by Authlib: which grants there are, how a client authenticates, and what it is given.

This module is imported when the first client asks for something: Authlib takes some 20 MB of memory.
"""

from collections.abc import Set
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.flask_oauth2.requests import FlaskOAuth2Payload, FlaskOAuth2Request
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError, InvalidScopeError, OAuth2Error
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oidc.core.grants import OpenIDToken
from flask import Request, Response, current_app, request

from config import ACCESS_TOKEN_LIFETIME
from hammer import events
from hammer.clients import registry, secrets
from hammer.grants import exchanges
from hammer.grants.exchanges import Grant
from hammer.models import Client, Scope, Session, SignInScope
from hammer.oauth import id_tokens
from hammer.oauth.errors import error_response
from hammer.refusals import NotSignedIn
from hammer.sessions import sessions
from hammer.web import request_limits, tokens
from hammer.web.settings import settings

SECRETS = ["client_secret_basic", "client_secret_post"]
"""How a client that has a secret authenticates (RFC 6749 §2.3.1)."""
METHODS = [*SECRETS, "none"]
WORDS = {
    "unsupported_grant_type": "The grant_type is not supported.",
    "invalid_grant": "The code or the refresh token is wrong, expired, used or revoked.",
}
"""Sentences of ours in place of Authlib's."""
OF_PEOPLE = ("authorization_code", "refresh_token")
"""The grants of apps that people sign in to."""


class _Form(FlaskOAuth2Payload):  # type: ignore[misc]  # Authlib has no types
    """The parameters of the form alone: Authlib's own class also reads those of the address, which logs would hold."""

    @property
    def data(self) -> Any:
        return self._request.form


class _Request(FlaskOAuth2Request):  # type: ignore[misc]
    def __init__(self, sent: Request) -> None:
        super(FlaskOAuth2Request, self).__init__(method=sent.method, uri="https://checked.elsewhere/", headers=sent.headers)
        self._request = sent
        self.payload = _Form(sent)


class RegisteredClient(ClientMixin):  # type: ignore[misc]
    """A client as Authlib asks about it. At the token endpoint it is not looked up before its secret is checked, so the answer to
    an unknown client is the same as to a wrong secret."""

    def __init__(self, client_id: str, client: Client | None = None) -> None:
        self.client_id = client_id
        self.client = client
        """Set when it has authenticated, or where it need not."""

    def check_client_secret(self, client_secret: str) -> bool:
        self.client = secrets.authenticate(settings(), self.client_id, client_secret, address=request_limits.address())
        events.calling_client.set(self.client.id if self.client else None)  # for the line in the log
        return self.client is not None

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        if method == "none":
            self.client = self.client or registry.public_client(self.client_id)
            return self.client is not None and self.client.public
        return method in SECRETS

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials" or bool(self.client and self.client.redirect_uris)


class Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server on our clients and tokens."""

    def __init__(self) -> None:
        super().__init__(current_app, query_client=RegisteredClient, save_token=lambda *_: None)
        self.register_grant(ClientCredentials)
        self.register_grant(AuthorizationCode, [IdToken()])
        self.register_grant(RefreshToken, [IdToken()])
        self.register_token_generator(ClientCredentials.GRANT_TYPE, _client_token)
        self.register_token_generator("default", _app_tokens)
        self.register_endpoint(Revocation)

    def create_oauth2_request(self, _: Any) -> _Request:
        return _Request(request._get_current_object())  # type: ignore[attr-defined]  # a proxy would be asked a hundred times

    def handle_error_response(self, _: Any, error: OAuth2Error) -> Response:
        words = WORDS.get(error.error) or error.description or "This is not supported."
        return error_response(error.status_code, error.error, words)

    def authenticate_client(self, sent: Any, methods: list[str], endpoint: str = "token") -> RegisteredClient:
        try:
            client: RegisteredClient = super().authenticate_client(sent, methods, endpoint)
        except (InvalidClientError, ValueError) as error:  # the second for `Authorization: Basic` that cannot be decoded
            raise InvalidClientError("The client or its secret is wrong, or the client is disabled.", status_code=401) from error
        if (sent.payload.client_id or client.client_id) != client.client_id:
            raise InvalidRequestError("The header and the body name different clients.")
        events.calling_client.set(client.client_id)
        return client


class ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc]
    """RFC 6749 §4.4."""

    TOKEN_ENDPOINT_AUTH_METHODS = SECRETS


class _Exchanged(AuthorizationCodeMixin):  # type: ignore[misc]
    """A code that was exchanged, as Authlib asks about it."""

    def __init__(self, grant: Grant, redirect_uri: str) -> None:
        self.grant = grant
        self.redirect_uri = redirect_uri

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return str(self.grant.session.scopes)


class AuthorizationCode(AuthorizationCodeGrant):  # type: ignore[misc]
    """RFC 6749 §4.1. The code is spent and compared in one verb of ours, before Authlib looks at it."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def query_authorization_code(self, code: str, client: RegisteredClient) -> _Exchanged | None:
        form = self.request.form
        assert client.client is not None  # noqa: S101  # Authlib has authenticated it
        id_tokens.signing(client.client)  # before the code is spent: the first key of all has to be made
        redirect_uri = form.get("redirect_uri", "")
        verifier = form.get("code_verifier")
        grant = exchanges.exchange(settings(), client.client_id, code, redirect_uri=redirect_uri, verifier=verifier)
        return _Exchanged(grant, redirect_uri) if grant else None

    def authenticate_user(self, authorization_code: _Exchanged) -> Session:
        return authorization_code.grant.session

    def delete_authorization_code(self, authorization_code: _Exchanged) -> None:
        """Nothing: it is spent."""


class _Refreshed(TokenMixin):  # type: ignore[misc]
    """A refresh token that was exchanged, as Authlib asks about it."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def check_client(self, client: RegisteredClient) -> bool:
        return self.session.client_id == client.client_id

    def get_scope(self) -> str:
        return str(self.session.scopes)


class RefreshToken(RefreshTokenGrant):  # type: ignore[misc]
    """RFC 6749 §6, with a new refresh token each time (RFC 9700 §4.14.2)."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> _Refreshed | None:
        client, wanted = self.request.client, self.request.payload.scope
        if wanted and not set(wanted.split()).issubset(exchanges.scopes(settings(), refresh_token)):
            raise InvalidScopeError("These scopes were not all given.")  # before the token is spent
        try:
            return _Refreshed(exchanges.refresh(settings(), client.client_id, refresh_token))
        except NotSignedIn:
            return None

    def authenticate_user(self, refresh_token: _Refreshed) -> Session:
        return refresh_token.session

    def issue_token(self, user: Session, refresh_token: _Refreshed) -> dict[str, Any]:
        """Tokens with all scopes that were given: our access tokens cannot be narrower."""
        return _app_tokens(user=user, scope=refresh_token.get_scope())

    def revoke_old_credential(self, refresh_token: _Refreshed) -> None:
        """Nothing: it is spent."""


class IdToken(OpenIDToken):  # type: ignore[misc]
    """The id token beside an access token. Authlib's class for codes would also read `prompt`, and refuse `none` to everyone."""

    def encode_id_token(self, token: dict[str, Any], sent: _Request) -> str:
        exchanged = sent.authorization_code
        nonce = exchanged.grant.nonce if exchanged else None
        return id_tokens.signed(sent.user, sent.client.client, nonce=nonce, access_token=token["access_token"])


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """RFC 7009."""

    CLIENT_AUTH_METHODS = METHODS

    def authenticate_token(self, sent: _Request, client: RegisteredClient) -> str:
        if not sent.form.get("token"):
            raise InvalidRequestError("The parameter token is missing.")
        return str(sent.form["token"])

    def revoke_token(self, token: str, sent: _Request) -> None:
        exchanges.revoke(settings(), sent.client.client_id, token)


def _client_token(*, client: RegisteredClient, scope: str | None, **_: object) -> dict[str, Any]:
    """The answer of RFC 6749 §5.1: a token with the scopes that were asked for, or with all that the operator allows."""
    assert client.client is not None  # noqa: S101  # Authlib has authenticated it
    allowed = registry.allowed(client.client)
    asked = set((scope or "").split()) or allowed
    if not allowed.issuperset(asked):
        raise InvalidScopeError(_fault_of_scopes(asked, allowed))
    return {
        "access_token": tokens.of_client(client.client, sorted(asked)),
        "token_type": "Bearer",
        "expires_in": int(ACCESS_TOKEN_LIFETIME.total_seconds()),
        "scope": " ".join(sorted(asked)),
    }


def _app_tokens(*, user: Session, scope: str, **_: object) -> dict[str, Any]:
    """The answer of RFC 6749 §5.1 for a session of an app. The id token is added by Authlib."""
    given = {
        "access_token": exchanges.access_token(settings(), user),
        "token_type": "Bearer",
        "expires_in": int(ACCESS_TOKEN_LIFETIME.total_seconds()),
        "scope": scope,
    }
    if SignInScope.OFFLINE_ACCESS in scope.split():
        given["refresh_token"] = sessions.refresh_token(settings(), user)
    return given


def _fault_of_scopes(asked: Set[str], allowed: Set[str]) -> str:
    """Names no scope that is none: a description is ASCII without quotation marks (RFC 6749 §5.2)."""
    if asked - set(Scope):
        return f"There is no such scope. There are {' '.join(Scope)}."
    given = f"It allows {' '.join(sorted(allowed))}." if allowed else "It allows none."
    return f"The operator does not allow {' '.join(sorted(asked - allowed))} to this client. {given}"
