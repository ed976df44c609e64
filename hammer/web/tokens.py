"""Issues and verifies access tokens (programs) and the cookies of sessions (browsers).

Both name a session in the database, which is read at each request, so a session that has ended is refused at once. The signature
of a token never changes: each process verifies it once and remembers the token. Its expiry, and whether its key is still trusted,
are checked at each request.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from types import NoneType
from typing import Any, Final, ParamSpec, TypeVar, cast

import jwt
from flask import Flask, Response, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token
from jwt.exceptions import PyJWTError
from werkzeug.wrappers import Response as BaseResponse

from config import ACCESS_TOKEN_LEEWAY, Settings
from hammer import clock, codes, events
from hammer.clients import registry
from hammer.clients.registry import ClientCaller
from hammer.models import SESSION_LIFETIME, Client, Device, Scope, Session, SessionKind
from hammer.refusals import N_, NotAllowed, NotSignedIn
from hammer.sessions import devices, keys, sessions
from hammer.sessions.sessions import Caller
from hammer.web.access import Access, guarded
from hammer.web.settings import settings

P = ParamSpec("P")
R = TypeVar("R")

SESSION_COOKIE = "hammer"
ADMIN_COOKIE = "hammer_admin"
DEVICE_COOKIE = "hammer_device"
DEVICE_COOKIE_LIFETIME = timedelta(days=365)
"""Browsers limit the lifetime of a cookie to 400 days."""

MOST_REMEMBERED: Final = 4096
"""How many verified tokens a process remembers (about two megabytes)."""

NEEDS_SCOPE: Final = N_("The token needs the scope %(scope)s.")

_KIND: Final = "at+jwt"
_HEADER: Final = {"alg", "kid", "typ"}
"""The fields of our headers. A token with any other field, like a key of its own (`jwk`, `jku`, `x5u`), is refused."""
_CLAIMS: Final = ["iss", "aud", "exp", "iat", "sub", "jti", "type"]
"""The claims of every token. That of a user has `sid` too, that of a client `client_id` and `scope` (RFC 9068 §2.2),
and `_DISABLES`."""
_DISABLES: Final = "dis"
"""How often the client had been disabled when the token was issued."""
_REFRESHES: Final = "rfn"
"""How often the session had been refreshed when the token was issued. Optional: tokens of older versions do not have it."""

_BEARER: Final = re.compile(r"bearer +([!-~]+)", re.IGNORECASE | re.ASCII)

issuer = JWTManager()


@dataclass(frozen=True)
class Claims:
    """The claims of a token with a valid signature, and the id of its key."""

    kid: str
    subject: str
    """The id of the user, or of the client."""
    session_id: str | None
    """None in the token of a client."""
    scopes: tuple[str, ...]
    """Of a client."""
    disables: int | None
    """Of a client: how often it had been disabled."""
    expires_at: float
    issued_at_refresh: int | None
    """How often the session had been refreshed; None if the token does not say."""


class TokenVerifier:
    """Verifies access tokens with the keys of the database, and remembers those that it verified."""

    def __init__(self, settings: Settings) -> None:
        self.ring = keys.KeyRing(settings)
        self._settings = settings
        self._remembered: OrderedDict[str, Claims] = OrderedDict()

    def claims(self, token: str) -> Claims:
        """The claims of a token that we signed, with a trusted key, and that has not expired. Raises `NotSignedIn`."""
        claims = self._remembered.get(token)
        if claims is None:
            claims = self._verified(token)
            self._remembered[token] = claims
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        if clock.now().timestamp() >= claims.expires_at + ACCESS_TOKEN_LEEWAY.total_seconds():
            raise NotSignedIn
        if self.ring.trusted(claims.kid) is None:
            raise NotSignedIn
        return claims

    def _verified(self, token: str) -> Claims:
        """The claims of a token whose signature, header and claims are checked now. Raises `NotSignedIn`."""
        if not codes.is_canonical(token):
            raise NotSignedIn
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid", "")
            key = self.ring.trusted(kid) if set(header) == _HEADER and header["typ"] == _KIND else None
            if key is None:
                raise NotSignedIn
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[keys.ALGORITHM],
                issuer=self._settings.public_url,
                audience=self._settings.public_url,
                leeway=ACCESS_TOKEN_LEEWAY,
                options={"require": _CLAIMS, "strict_aud": True},
            )
        except PyJWTError as fault:
            raise NotSignedIn from fault
        issued_at_refresh, session_id = claims.get(_REFRESHES), claims.get("sid")
        disables = claims.get(_DISABLES)
        of_user = isinstance(session_id, str) and "client_id" not in claims
        of_client = session_id is None and claims.get("client_id") == claims["sub"] and isinstance(claims.get("scope"), str)
        if claims["type"] != "access" or type(issued_at_refresh) not in (int, NoneType):
            raise NotSignedIn
        if not (of_user or (of_client and type(disables) is int)):
            raise NotSignedIn
        scopes = tuple(claims["scope"].split()) if of_client else ()
        return Claims(kid, claims["sub"], session_id, scopes, disables, float(claims["exp"]), issued_at_refresh)


def init_app(app: Flask) -> None:
    """Sets up how access tokens are signed and verified."""
    issuer.init_app(app)
    issuer.encode_key_loader(lambda _: g.signing.private)
    issuer.additional_headers_loader(lambda _: {"typ": _KIND, "kid": g.signing.kid})
    app.extensions["hammer.web.tokens"] = TokenVerifier(settings(app))
    app.extensions["hammer.web.id_token_keys"] = keys.IdTokenKeys(settings(app))


def ring() -> keys.KeyRing:
    """The keys that sign and verify access tokens."""
    return _verifier().ring


def id_token_keys() -> keys.IdTokenKeys:
    """The keys that sign id tokens and logout tokens."""
    return cast(keys.IdTokenKeys, current_app.extensions["hammer.web.id_token_keys"])


def pair(session: Session) -> dict[str, Any]:
    """A new access token and the refresh token of a session, with the names of RFC 6749 §5.1. `expires_in` is in seconds."""
    lifetime = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    g.signing = ring().signing()
    return {
        "access_token": create_access_token(session.user_id, additional_claims={"sid": session.id, _REFRESHES: session.refreshes}),
        "refresh_token": sessions.refresh_token(settings(), session),
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
    }


def of_client(client: Client, scopes: Iterable[str]) -> str:
    """A new access token of a client, with these scopes (RFC 9068)."""
    g.signing = ring().signing()
    claims = {"client_id": client.id, "scope": " ".join(scopes), _DISABLES: client.disables}
    return str(create_access_token(client.id, additional_claims=claims))


def bearer_token() -> str:
    """The token in the `Authorization` header (RFC 6750 §2.1), or an empty string."""
    value = request.headers.get("Authorization", "").strip(" \t")  # blanks around a value do not belong to it (RFC 9110 §5.5)
    found = _BEARER.fullmatch(value)
    return found[1] if found else ""


def bearer() -> Caller:
    """The user who calls with this request's access token. Raises `NotSignedIn`, and `NotAllowed` for the token of a client."""
    user = caller()
    if not isinstance(user, Caller):
        raise NotAllowed
    return user


def caller() -> Caller | ClientCaller:
    """The user or client that calls with this request's access token, read from the database once a request. Raises
    `NotSignedIn`."""
    if "bearer" not in g:
        token = bearer_token()
        if not token:
            raise NotSignedIn
        claims = _verifier().claims(token)
        g.bearer = _client(claims) if claims.session_id is None else _user(claims, claims.session_id)
    return cast(Caller | ClientCaller, g.bearer)


def caller_id() -> str:
    """The id of the session or of the client whose token was accepted for this request; empty if there is none."""
    found = g.get("bearer")
    return found.client.id if isinstance(found, ClientCaller) else found.session_id if found else ""


def calling_client() -> Client | None:
    """The client that calls a route which is open to everyone; None for all other callers.

    Raises `NotSignedIn` for a client's token that is not valid any more: ignored, it would leave its client with the limits of a
    stranger. Tokens of users are not read on such a route.
    """
    if "client" not in g:
        token = bearer_token()
        found = caller() if token and _names_client(token) else None
        g.client = found.client if isinstance(found, ClientCaller) else None
    return cast(Client | None, g.client)


def _user(claims: Claims, session_id: str) -> Caller:
    user = sessions.caller(session_id, SessionKind.PROGRAM, issued_at_refresh=claims.issued_at_refresh)
    if user is None or user.user_id != claims.subject:
        raise NotSignedIn
    return user


def _client(claims: Claims) -> ClientCaller:
    client = registry.caller(claims.subject, claims.scopes, claims.disables)
    if client is None:
        raise NotSignedIn
    events.calling_client.set(client.client.id)
    return client


def _names_client(token: str) -> bool:
    """Whether this is, or was, the token of a client. Nothing is verified."""
    try:
        return "client_id" in jwt.decode(token, options={"verify_signature": False})
    except PyJWTError:
        return False


def _verifier() -> TokenVerifier:
    return cast(TokenVerifier, current_app.extensions["hammer.web.tokens"])


def signed_in(view: Callable[P, R]) -> Callable[P, R]:
    """Refuses callers without a valid access token with `NotSignedIn`."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        bearer()
        return view(*args, **kwargs)

    return guarded(Access.USER, checked)


def staff_only(view: Callable[P, R]) -> Callable[P, R]:
    """Refuses users who are not staff with `NotAllowed`, and callers without a valid access token with `NotSignedIn`. A client is
    admitted where `allows` above it admits it."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        user = caller()
        if isinstance(user, Caller) and not user.is_staff:
            raise NotAllowed
        return view(*args, **kwargs)

    return guarded(Access.STAFF, checked)


def open_to_clients(scope: Scope) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Admits everyone. The token of a client is read, and refused with `NotSignedIn` or without this scope with `NotAllowed`."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            if calling_client() is not None:
                _require(scope)
            return view(*args, **kwargs)

        checked.scope = scope  # type: ignore[attr-defined]
        return guarded(Access.PUBLIC, checked)

    return decorate


def allows(scope: Scope) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Admits users who are signed in, and clients with this scope. Refuses others with `NotSignedIn` and `NotAllowed`."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            _require(scope)
            return view(*args, **kwargs)

        checked.scope = scope  # type: ignore[attr-defined]  # for the document and the tests of who can use what
        return guarded(Access.USER, checked)

    return decorate


def _require(scope: Scope) -> None:
    client = caller()
    if isinstance(client, ClientCaller) and scope not in client.scopes:
        raise NotAllowed(NEEDS_SCOPE, scope=scope.value)


def visitor() -> Caller | None:
    """The caller who is signed in with this browser's cookie, or None. Read from the database once a request."""
    if "visitor" not in g:
        cookie = request.cookies.get(cookie_name(SESSION_COOKIE))
        g.visitor = sessions.by_cookie(settings(), cookie) if cookie else None
    return cast(Caller | None, g.visitor)


def operator() -> Caller | None:
    """The caller with a session of the operator's pages in this browser, or None. Read from the database once a request.

    They were staff when it was opened; `is_staff` says whether they are now.
    """
    if "operator" not in g:
        cookie = request.cookies.get(cookie_name(ADMIN_COOKIE))
        g.operator = sessions.by_cookie(settings(), cookie, SessionKind.ADMIN) if cookie else None
    return cast(Caller | None, g.operator)


def session_id_in_cookie() -> str | None:
    """The id of the session in this browser's cookie, or None. The session can have ended."""
    cookie = request.cookies.get(cookie_name(SESSION_COOKIE))
    return sessions.id_in_cookie(settings(), cookie) if cookie else None


def set_cookies(response: Response, session: Session, device: Device) -> None:
    """Signs the browser in for the lifetime of the session, and marks it as a known device. Scripts cannot read either cookie."""
    _set_cookie(response, SESSION_COOKIE, sessions.cookie(settings(), session), SESSION_LIFETIME[SessionKind.BROWSER])
    _set_cookie(response, DEVICE_COOKIE, devices.token(settings(), device), DEVICE_COOKIE_LIFETIME)


def clear_cookie(response: BaseResponse) -> None:
    """Signs the browser out. It remains a known device."""
    response.delete_cookie(cookie_name(SESSION_COOKIE), secure=settings().https, httponly=True, samesite="Lax")


def set_admin_cookie(response: Response, session: Session) -> None:
    """Opens the operator's pages in this browser. No request that another site caused carries the cookie."""
    lifetime = SESSION_LIFETIME[SessionKind.ADMIN]
    _set_cookie(response, ADMIN_COOKIE, sessions.cookie(settings(), session), lifetime, samesite="Strict")


def clear_admin_cookie(response: BaseResponse) -> None:
    """Closes the operator's pages in this browser."""
    response.delete_cookie(cookie_name(ADMIN_COOKIE), secure=settings().https, httponly=True, samesite="Strict")


def device_token() -> str | None:
    """The token that marks this browser as a known device, or None."""
    return request.cookies.get(cookie_name(DEVICE_COOKIE))


def cookie_name(name: str) -> str:
    """The name of a cookie. With https it has the prefix that binds the cookie to one host (RFC 6265bis §4.1.3.2)."""
    return f"__Host-{name}" if settings().https else name


def _set_cookie(response: Response, name: str, value: str, lifetime: timedelta, samesite: str = "Lax") -> None:
    response.set_cookie(cookie_name(name), value, max_age=lifetime, secure=settings().https, httponly=True, samesite=samesite)


_BROWSERS = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "YaBrowser/": "Yandex",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
_SYSTEMS = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS X": "macOS", "Linux": "Linux"}


def device(agent: str | None = None) -> str:
    """A short name of a device from its `User-Agent`, like `Firefox · Android`; empty without one. By default of the caller's."""
    agent = request.headers.get("User-Agent", "") if agent is None else agent
    browser_and_system = [next((name for sign, name in names.items() if sign in agent), "") for names in (_BROWSERS, _SYSTEMS)]
    program = re.match(r"[\w.-]{0,40}", agent, re.ASCII)
    return " · ".join(filter(None, browser_and_system)) or (program[0] if program else "")
