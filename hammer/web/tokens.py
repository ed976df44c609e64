"""Who is calling: an access token in a header (programs) or a session's cookie (browsers). Issue and check.

Both lead to a session in the database, which is asked at each request: what is ended there is dead here at once. A signature, which
never changes, is checked once a process and then remembered; when the token expires and whether its key is believed is asked each
time as well.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from types import NoneType
from typing import Any, Final, ParamSpec, TypeVar, cast

import jwt
from flask import Flask, Response, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token
from jwt.exceptions import PyJWTError

from config import ACCESS_TOKEN_LEEWAY, Settings
from hammer import clock, codes
from hammer.models import SESSION_LIFETIME, Device, Session, SessionKind
from hammer.refusals import NotAllowed, NotSignedIn
from hammer.sessions import devices, keys, sessions
from hammer.sessions.sessions import Caller
from hammer.web.access import Access, guarded
from hammer.web.settings import settings

P = ParamSpec("P")
R = TypeVar("R")

SESSION_COOKIE = "hammer"
DEVICE_COOKIE = "hammer_device"
DEVICE_COOKIE_LIFETIME = timedelta(days=365)
"""Browsers keep a cookie for little longer."""

MOST_REMEMBERED: Final = 4096
"""Tokens whose signatures this process need not check again; about two megabytes of them."""

_KIND: Final = "at+jwt"
_HEADER: Final = {"alg", "kid", "typ"}
"""All that stands in the header of a token of ours; one that names a key of its own (`jwk`, `jku`, `x5u`, `crit`) is none."""
_CLAIMS: Final = ["iss", "aud", "exp", "iat", "sub", "jti", "sid", "type"]
_REFRESHES: Final = "rfn"
"""How often the session had been refreshed when the token was issued. Not required: tokens of older versions have none."""

_BEARER: Final = re.compile(r"bearer +([!-~]+)", re.IGNORECASE | re.ASCII)

issuer = JWTManager()


@dataclass(frozen=True)
class Claims:
    """What a token says whose signature is good, and by which key it is."""

    kid: str
    user_id: str
    session_id: str
    expires_at: float
    issued_at_refresh: int | None
    """How often its session had been refreshed; None of a token that says nothing of it."""


class TokenVerifier:
    """What this process knows for checking tokens: the keys, and those tokens whose signatures it has seen to be good."""

    def __init__(self, settings: Settings) -> None:
        self.ring = keys.KeyRing(settings)
        self._settings = settings
        self._remembered: OrderedDict[str, Claims] = OrderedDict()

    def claims(self, token: str) -> Claims:
        """What a token of ours says, that has not expired. Raises `NotSignedIn`."""
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
        issued_at_refresh = claims.get(_REFRESHES)
        if claims["type"] != "access" or not isinstance(claims["sid"], str) or type(issued_at_refresh) not in (int, NoneType):
            raise NotSignedIn
        return Claims(kid, claims["sub"], claims["sid"], float(claims["exp"]), issued_at_refresh)


def init_app(app: Flask) -> None:
    """Signs access tokens, and checks them."""
    issuer.init_app(app)
    issuer.encode_key_loader(lambda _: g.signing.private)
    issuer.additional_headers_loader(lambda _: {"typ": _KIND, "kid": g.signing.kid})
    app.extensions["hammer.web.tokens"] = TokenVerifier(app.config["SETTINGS"])


def ring() -> keys.KeyRing:
    """The keys of this process."""
    return _checks().ring


def pair(session: Session) -> dict[str, Any]:
    """An access token and the refresh token that follows it, as RFC 6749 §5.1 names them. `expires_in` is in seconds."""
    lifetime = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    g.signing = ring().signing()
    return {
        "access_token": create_access_token(session.user_id, additional_claims={"sid": session.id, _REFRESHES: session.refreshes}),
        "refresh_token": sessions.refresh_token(settings(), session),
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
    }


def bearer_token() -> str:
    """What this request shows in its `Authorization` header (RFC 6750 §2.1); empty when it shows none."""
    shown = _BEARER.fullmatch(request.headers.get("Authorization", "").strip(" \t"))  # which are no part of it: RFC 9110 §5.5
    return shown[1] if shown else ""


def bearer() -> Caller:
    """Who sent this request's access token, asked of the database once a request. Raises `NotSignedIn`."""
    if "bearer" not in g:
        shown = bearer_token()
        if not shown:
            raise NotSignedIn
        claims = _checks().claims(shown)
        caller = sessions.caller(claims.session_id, SessionKind.PROGRAM, issued_at_refresh=claims.issued_at_refresh)
        if caller is None or caller.user_id != claims.user_id:
            raise NotSignedIn
        g.bearer = caller
    return cast(Caller, g.bearer)


def _checks() -> TokenVerifier:
    return cast(TokenVerifier, current_app.extensions["hammer.web.tokens"])


def signed_in(view: Callable[P, R]) -> Callable[P, R]:
    """Lets only callers with a good access token in."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        bearer()
        return view(*args, **kwargs)

    return guarded(Access.USER, checked)


def staff_only(view: Callable[P, R]) -> Callable[P, R]:
    """Lets only staff in. Raises `NotAllowed` for others who are signed in."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not bearer().is_staff:
            raise NotAllowed
        return view(*args, **kwargs)

    return guarded(Access.STAFF, checked)


def visitor() -> Caller | None:
    """Whose browser this is, by its cookie; None for a stranger's. Asked of the database once a request."""
    if "visitor" not in g:
        shown = request.cookies.get(cookie_name(SESSION_COOKIE))
        g.visitor = sessions.by_cookie(settings(), shown) if shown else None
    return cast(Caller | None, g.visitor)


def session_shown() -> str | None:
    """The id of the session whose cookie this browser shows, which may be over; None for a stranger's."""
    shown = request.cookies.get(cookie_name(SESSION_COOKIE))
    return sessions.id_in_cookie(settings(), shown) if shown else None


def set_cookies(response: Response, session: Session, device: Device) -> None:
    """Signs the browser in for as long as the session lasts, and makes it a known device. No script can read either cookie."""
    _set_cookie(response, SESSION_COOKIE, sessions.cookie(settings(), session), SESSION_LIFETIME[SessionKind.BROWSER])
    _set_cookie(response, DEVICE_COOKIE, devices.token(settings(), device), DEVICE_COOKIE_LIFETIME)


def clear_cookie(response: Response) -> None:
    """Signs the browser out. It stays a known device."""
    response.delete_cookie(cookie_name(SESSION_COOKIE), secure=settings().https, httponly=True, samesite="Lax")


def device_token() -> str | None:
    """What this browser shows of having signed in before."""
    return request.cookies.get(cookie_name(DEVICE_COOKIE))


def cookie_name(name: str) -> str:
    """With the prefix that pins a cookie to one host (RFC 6265bis §4.1.3.2) where there is https."""
    return f"__Host-{name}" if settings().https else name


def _set_cookie(response: Response, name: str, value: str, lifetime: timedelta) -> None:
    response.set_cookie(cookie_name(name), value, max_age=lifetime, secure=settings().https, httponly=True, samesite="Lax")


_BROWSERS = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "YaBrowser/": "Yandex",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
_SYSTEMS = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS X": "macOS", "Linux": "Linux"}


def device() -> str:
    """Roughly what the caller's device is, like `Firefox · Android`, from what it says of itself; empty where it says nothing."""
    agent = request.headers.get("User-Agent", "")
    known = [next((name for sign, name in names.items() if sign in agent), "") for names in (_BROWSERS, _SYSTEMS)]
    program = re.match(r"[\w.-]{0,40}", agent, re.ASCII)
    return " · ".join(filter(None, known)) or (program[0] if program else "")
