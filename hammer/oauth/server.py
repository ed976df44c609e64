"""The authorization server, by Authlib: which grants there are, how a client authenticates, and what an access token is.

This module is imported when the first client asks for a token: Authlib takes some 20 MB of memory.
"""

from collections.abc import Set
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.flask_oauth2.requests import FlaskOAuth2Payload, FlaskOAuth2Request
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError, InvalidScopeError, OAuth2Error
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from flask import Request, Response, current_app, request

from config import ACCESS_TOKEN_LIFETIME
from hammer import events
from hammer.clients import registry, secrets
from hammer.models import Client, Scope
from hammer.oauth.errors import error_response
from hammer.web import request_limits, tokens
from hammer.web.settings import settings

METHODS = ["client_secret_basic", "client_secret_post"]
"""How a client authenticates (RFC 6749 §2.3.1)."""


class _Parameters(FlaskOAuth2Payload):  # type: ignore[misc]  # Authlib has no types
    """The parameters of the form alone: Authlib's own class also reads those of the address, which logs would hold."""

    @property
    def data(self) -> Any:
        return self._request.form


class _Request(FlaskOAuth2Request):  # type: ignore[misc]
    def __init__(self, sent: Request) -> None:
        super(FlaskOAuth2Request, self).__init__(method=sent.method, uri="https://checked.elsewhere/", headers=sent.headers)
        self._request = sent
        self.payload = _Parameters(sent)


class RegisteredClient(ClientMixin):  # type: ignore[misc]
    """A client as Authlib asks about it. It is not looked up before its secret is checked, so the answer to an unknown client is
    the same as to a wrong secret."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.client: Client | None = None
        """Set when it has authenticated."""

    def check_client_secret(self, client_secret: str) -> bool:
        self.client = secrets.authenticate(settings(), self.client_id, client_secret, address=request_limits.address())
        events.calling_client.set(self.client.id if self.client else None)  # for the line in the log
        return self.client is not None

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return endpoint == "token" and method in METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


class Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server on our clients and tokens."""

    def __init__(self) -> None:
        super().__init__(current_app, query_client=RegisteredClient, save_token=lambda *_: None)
        self.register_grant(ClientCredentials)
        self.register_token_generator(ClientCredentials.GRANT_TYPE, _client_token)

    def create_oauth2_request(self, _: Any) -> _Request:
        return _Request(request)

    def handle_error_response(self, _: Any, error: OAuth2Error) -> Response:
        words = f"The only grant_type is {ClientCredentials.GRANT_TYPE}." if error.error == "unsupported_grant_type" else None
        return error_response(error.status_code, error.error, words or error.description or "This is not supported.")

    def authenticate_client(self, sent: Any, methods: list[str], endpoint: str = "token") -> RegisteredClient:
        try:
            client: RegisteredClient = super().authenticate_client(sent, methods, endpoint)
        except (InvalidClientError, ValueError) as error:  # the second for `Authorization: Basic` that cannot be decoded
            raise InvalidClientError("The client or its secret is wrong, or the client is disabled.", status_code=401) from error
        if (sent.payload.client_id or client.client_id) != client.client_id:
            raise InvalidRequestError("The header and the body name different clients.")
        return client


class ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc]
    """RFC 6749 §4.4."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


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


def _fault_of_scopes(asked: Set[str], allowed: Set[str]) -> str:
    """Names no scope that is none: a description is ASCII without quotation marks (RFC 6749 §5.2)."""
    if asked - set(Scope):
        return f"There is no such scope. There are {' '.join(Scope)}."
    given = f"It allows {' '.join(sorted(allowed))}." if allowed else "It allows none."
    return f"The operator does not allow {' '.join(sorted(asked - allowed))} to this client. {given}"
