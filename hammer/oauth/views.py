"""`POST /oauth/token`, and the description of this server for clients (RFC 8414)."""

from typing import TYPE_CHECKING, Final, cast

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from hammer.models import Scope
from hammer.oauth.errors import error_response
from hammer.web import languages
from hammer.web.access import public
from hammer.web.settings import settings

if TYPE_CHECKING:
    from hammer.oauth.server import Server

FORM: Final = "application/x-www-form-urlencoded"
DESCRIPTION_LIVES_SECONDS: Final = 3600

blueprint = Blueprint("oauth", __name__)


@blueprint.post("/oauth/token")
@public
def token() -> ResponseReturnValue:
    """An access token for a client that shows its secret (RFC 6749 §4.4)."""
    if fault := _fault():
        return error_response(400, "invalid_request", fault)
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


def _fault() -> str:
    """What is wrong with the form of the request (RFC 6749 §2.3, §3.2, §5.2); empty if nothing is."""
    if request.mimetype != FORM:
        return f"Send the parameters as {FORM}."
    if any(len(request.form.getlist(name)) > 1 for name in request.form):
        return "A parameter is repeated."
    if not request.form.get("grant_type"):
        return "The parameter grant_type is missing."
    if "Authorization" in request.headers and "client_secret" in request.form:
        return "Send the secret in the header or in the body, not in both."
    return ""


def serves() -> bool:
    """Whether the answer to this request has the form of OAuth's errors."""
    return request.path.startswith(languages.OAUTH)


def _server() -> "Server":
    if "hammer.oauth" not in current_app.extensions:
        from hammer.oauth.server import Server  # noqa: PLC0415  # see there

        current_app.extensions["hammer.oauth"] = Server()
    return cast("Server", current_app.extensions["hammer.oauth"])
