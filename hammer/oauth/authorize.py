"""Reading the request of an app to sign a person in (OpenID Connect Core §3.1.2.1): `read`.

Like `server`, this module is imported at the first such request, since it needs the errors of Authlib.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError, OAuth2Error
from flask import request

from hammer import events
from hammer.clients import registry
from hammer.grants import authorizations
from hammer.models import Authorization, Client, SignInScope
from hammer.parsing import phones
from hammer.web.settings import settings

PROMPTS: Final = ("none", "login", "consent", "select_account")
LONGEST: Final = 2000
"""Characters of a `state` or a `nonce`, which are stored."""
NOT_SUPPORTED: Final = {
    "request": "request_not_supported",
    "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}
"""Parameters that must be refused where they are not supported (OpenID Connect Core §6, §7.2.1)."""
KNOWN: Final = ("response_type", "scope", "state", "nonce", "prompt", "max_age", "code_challenge", "code_challenge_method")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_LARGEST_AGE: Final = 10**9


class _NotSupported(OAuth2Error):  # type: ignore[misc]
    """Another error than those that Authlib knows."""


def read() -> tuple[Authorization, Client]:
    """The request in the address, checked and not stored, and its client.

    Raises `OAuth2Error`. It has a `redirect_uri` where the app may learn of the error: where the client and its address are
    registered.
    """
    sent = request.args
    for name in ("client_id", "redirect_uri"):
        if not sent.get(name):
            raise InvalidRequestError(f"The parameter {name} is missing.")
        if len(sent.getlist(name)) > 1:
            raise InvalidRequestError(f"The parameter {name} is repeated.")
    client = registry.enabled(sent["client_id"])
    events.calling_client.set(client.id if client else None)  # for the line in the log
    if client is None:
        raise InvalidRequestError("The client_id is not registered, or the client is disabled.")
    if sent["redirect_uri"] not in client.redirect_uris.split():
        raise InvalidRequestError("The redirect_uri is not one of those that are registered for this client.")
    try:
        return _checked(client), client
    except OAuth2Error as error:
        error.redirect_uri = sent["redirect_uri"]
        raise


def _checked(client: Client) -> Authorization:
    """The request of this client, which comes from a registered address."""
    sent = {name: value for name, value in request.args.items() if value}  # one without a value is none (RFC 6749 §3.1)
    _refuse_malformed(sent)
    challenge = _challenge(client, sent)
    scopes = sent.get("scope", "").split()
    if SignInScope.OPENID not in scopes:
        raise InvalidScopeError("The scope openid is missing.")
    for name in ("state", "nonce"):
        if len(sent.get(name, "")) > LONGEST or "\0" in sent.get(name, ""):
            raise InvalidRequestError(f"The parameter {name} is longer than {LONGEST} characters, or malformed.")
    return authorizations.request(
        client,
        redirect_uri=sent["redirect_uri"],
        scopes=scopes,
        state=sent.get("state"),
        nonce=sent.get("nonce"),
        code_challenge=challenge,
        prompt=_prompts(sent.get("prompt", "")),
        max_age=_max_age(sent.get("max_age")),
        login_hint=phones.canonical(settings(), sent.get("login_hint", "")),
    )


def _refuse_malformed(sent: Mapping[str, str]) -> None:
    """Refuses a request that is none of the authorization code flow."""
    for name, values in request.args.lists():
        if len(values) > 1:
            raise InvalidRequestError(f"The parameter {name} is repeated." if name in KNOWN else "A parameter is repeated.")
    if "response_type" not in sent:
        raise InvalidRequestError("The parameter response_type is missing.")
    if sent["response_type"] != "code":
        raise _NotSupported("The only response_type is code.", error="unsupported_response_type")
    for name, error in NOT_SUPPORTED.items():
        if name in sent:
            raise _NotSupported(f"The parameter {name} is not supported.", error=error)
    if sent.get("response_mode", "query") != "query":
        raise InvalidRequestError("The only response_mode is query.")


def _challenge(client: Client, sent: Mapping[str, str]) -> str | None:
    """The challenge of PKCE (RFC 7636 §4.3), whose verifier `exchanges.exchange` compares; None if none is needed and sent."""
    challenge, method = sent.get("code_challenge"), sent.get("code_challenge_method")
    if challenge is None and method is None and not client.pkce_required:
        return None
    if challenge is None:
        raise InvalidRequestError("The parameter code_challenge is missing (RFC 7636).")
    if method != "S256":
        raise InvalidRequestError("The only code_challenge_method is S256.")
    if not _CHALLENGE.fullmatch(challenge):
        raise InvalidRequestError("The code_challenge is not one of S256: 43 characters of base64url.")
    return challenge


def _prompts(given: str) -> list[str]:
    prompts = given.split()
    if set(prompts) - set(PROMPTS):
        raise InvalidRequestError(f"There is no such prompt. There are {' '.join(PROMPTS)}.")
    if "none" in prompts and len(prompts) > 1:
        raise InvalidRequestError("The prompt none goes with no other.")
    return [prompt for prompt in PROMPTS if prompt in prompts]


def _max_age(given: Any) -> int | None:
    if given is None:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", given, re.ASCII):
        raise InvalidRequestError("The parameter max_age is not a number of seconds.")
    return min(int(given), _LARGEST_AGE)
