"""`POST /oauth/token/`, and the description of this server for clients (RFC 8414)."""

from typing import TYPE_CHECKING, Final, cast

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from hammer.models import Scope
from hammer.refusals import Refusal, RetryLater
from hammer.web import languages
from hammer.web.access import public
from hammer.web.settings import settings
from hammer.web.statuses import status_of

if TYPE_CHECKING:
    from hammer.oauth.server import Server

FORM: Final = "application/x-www-form-urlencoded"
DESCRIPTION_LIVES_SECONDS: Final = 3600

blueprint = Blueprint("oauth", __name__)


@blueprint.post("/oauth/token/")
@public
def token() -> ResponseReturnValue:
    """An access token for a client that shows its secret (RFC 6749 §4.4)."""
    if request.mimetype != FORM:
        return _error(400, "invalid_request", f"Send the parameters as {FORM}.")
    return cast(ResponseReturnValue, _server().create_token_response())


@blueprint.get("/.well-known/oauth-authorization-server")
@public
def description() -> ResponseReturnValue:
    """What this server can do, and where (RFC 8414 §2)."""
    at = settings().public_url
    answer = jsonify(
        {
            "issuer": at,
            "token_endpoint": f"{at}/oauth/token",
            "jwks_uri": f"{at}/.well-known/jwks.json",
            "scopes_supported": list(Scope),
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }
    )
    answer.cache_control.public, answer.cache_control.max_age = True, DESCRIPTION_LIVES_SECONDS
    return answer


def serves() -> bool:
    """Whether the answer to this request has the form of OAuth's errors."""
    return request.path.startswith(languages.OAUTH)


def error(fault: Exception) -> Response:
    """The answer to a refusal or an HTTP error (RFC 6749 §5.2). The standard has no word for limits: `temporarily_unavailable` is
    that of §4.1.2.1."""
    if isinstance(fault, RetryLater):
        answer = _error(status_of(type(fault)), "temporarily_unavailable", f"Try again in {fault.retry_after} seconds.")
        answer.headers["Retry-After"] = str(fault.retry_after)
        return answer
    if isinstance(fault, Refusal):
        return _error(status_of(type(fault)), "invalid_request", fault.sentence)
    code = fault.code or 500 if isinstance(fault, HTTPException) else 500
    answer = _error(code, "server_error" if code >= 500 else "invalid_request", "The request could not be served.")
    if isinstance(fault, HTTPException):
        answer.headers.update((name, value) for name, value in fault.get_headers() if name in ("Allow", "Retry-After"))
    return answer


def _error(status: int, slug: str, words: str) -> Response:
    answer = jsonify({"error": slug, "error_description": words})
    answer.status_code = status
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _server() -> "Server":
    if "hammer.oauth" not in current_app.extensions:
        from hammer.oauth.server import Server  # noqa: PLC0415  # see there

        current_app.extensions["hammer.oauth"] = Server()
    return cast("Server", current_app.extensions["hammer.oauth"])
