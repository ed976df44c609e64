"""What apps call: `/oauth/token`, `/oauth/revoke`, `/oauth/userinfo`, and the descriptions of this server (RFC 8414, OpenID Connect
Discovery)."""

from typing import Final, cast

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from hammer import events
from hammer.grants import exchanges
from hammer.models import Scope, SigningAlgorithm, SignInScope
from hammer.oauth import claims, id_tokens, lazy
from hammer.oauth.errors import error_response
from hammer.refusals import NotFound, NotSignedIn
from hammer.web import languages, tokens
from hammer.web.access import public
from hammer.web.settings import settings

FORM: Final = "application/x-www-form-urlencoded"
DESCRIPTION_LIVES_SECONDS: Final = 3600

blueprint = Blueprint("oauth", __name__)


@blueprint.post("/oauth/token")
@public
def token() -> ResponseReturnValue:
    """Tokens for a client that shows its secret, a code or a refresh token (RFC 6749 §4.1.3, §4.4, §6)."""
    if fault := _fault("grant_type"):
        return error_response(400, "invalid_request", fault)
    return cast(ResponseReturnValue, lazy.server().create_token_response())


@blueprint.post("/oauth/revoke")
@public
def revoke() -> ResponseReturnValue:
    """Ends the session of an app that the token belongs to (RFC 7009)."""
    if fault := _fault("token"):
        return error_response(400, "invalid_request", fault)
    return cast(ResponseReturnValue, lazy.server().create_endpoint_response("revocation"))


@blueprint.route("/oauth/userinfo", methods=["GET", "POST"])
@public
def userinfo() -> ResponseReturnValue:
    """The claims about the person whose access token an app shows (OpenID Connect Core §5.3)."""
    in_forms = request.form.getlist("access_token") if request.mimetype == FORM else []
    in_form = in_forms[0] if in_forms else ""
    if len(in_forms) > 1:
        return error_response(400, "invalid_request", "The parameter access_token is repeated.")
    if in_form and "Authorization" in request.headers:
        return error_response(400, "invalid_request", "Send the token in the header or in the body, not in both.")
    shown = tokens.bearer_token() or in_form
    try:
        holder = exchanges.holder(settings(), shown)
        events.calling_client.set(holder.client_id)  # for the line in the log
        answer = jsonify(claims.claims(holder.user_id, holder.scopes))
    except (NotSignedIn, NotFound):
        return _not_a_token(shown)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.get("/.well-known/openid-configuration")
@blueprint.get("/.well-known/oauth-authorization-server")
@public
def description() -> ResponseReturnValue:
    """What this server can do, and where (RFC 8414 §2, OpenID Connect Discovery §3)."""
    at = settings().public_url
    answer = jsonify(
        {
            "issuer": at,
            "authorization_endpoint": f"{at}/oauth/authorize",
            "token_endpoint": f"{at}/oauth/token",
            "userinfo_endpoint": f"{at}/oauth/userinfo",
            "revocation_endpoint": f"{at}/oauth/revoke",
            "end_session_endpoint": f"{at}/oauth/logout",
            "jwks_uri": f"{at}/.well-known/jwks.json",
            "scopes_supported": [*SignInScope, *Scope],
            "claims_supported": [
                *("iss", "aud", "exp", "iat", "auth_time", "nonce", "sid", "amr", "acr"),
                *(claim for of_scope in claims.CLAIMS.values() for claim in of_scope),
            ],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(SigningAlgorithm),
            "acr_values_supported": [id_tokens.ACR],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "ui_locales_supported": list(languages.LANGUAGES),
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "claims_parameter_supported": False,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        }
    )
    answer.cache_control.public, answer.cache_control.max_age = True, DESCRIPTION_LIVES_SECONDS
    return answer


def serves() -> bool:
    """Whether the answer to this request has the form of OAuth's errors."""
    return request.path.startswith(languages.OAUTH)


def _fault(needed: str) -> str:
    """What is wrong with the form of the request (RFC 6749 §2.3, §3.2, §5.2); empty if nothing is."""
    if request.mimetype != FORM:
        return f"Send the parameters as {FORM}."
    if any(len(request.form.getlist(name)) > 1 for name in request.form):
        return "A parameter is repeated."
    if not request.form.get(needed):
        return f"The parameter {needed} is missing."
    if "Authorization" in request.headers and "client_secret" in request.form:
        return "Send the secret in the header or in the body, not in both."
    return ""


def _not_a_token(shown: str) -> Response:
    """The answer to a token that is missing or not valid (RFC 6750 §3.1)."""
    answer = error_response(401, "invalid_token", "The access token is missing, expired or revoked.")
    answer.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if shown else "Bearer"
    return answer
