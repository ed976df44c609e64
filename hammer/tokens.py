"""Who is calling: an access token in a header (programs) or a session's cookie (browsers). Issue and check.

Both lead to a session in the database, which is asked at each request: what is ended there is dead here at once.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from flask import Flask, Response, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token, get_current_user, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import PyJWTError

from config import Settings
from hammer import devices, sessions
from hammer.audience import Audience, guarded
from hammer.models import BROWSER, PROGRAM, SESSION_LIFETIME, Device, Session
from hammer.refusals import NotAllowed, NotSignedIn
from hammer.sessions import Caller

P = ParamSpec("P")
R = TypeVar("R")

SESSION_COOKIE = "hammer"
DEVICE_COOKIE = "hammer_device"
DEVICE_COOKIE_LIFETIME = timedelta(days=365)
"""Browsers keep a cookie for little longer."""

jwt = JWTManager()


def init_app(app: Flask) -> None:
    """Checks of access tokens."""
    jwt.init_app(app)
    jwt.user_lookup_loader(_caller_of_token)


def settings() -> Settings:
    """The settings of the application that serves this request."""
    return cast(Settings, current_app.config["SETTINGS"])


def pair(session: Session) -> dict[str, Any]:
    """An access token and the refresh token that follows it, as RFC 6749 §5.1 names them. `expires_in` is in seconds."""
    lifetime = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    return {
        "access_token": create_access_token(session.user_id, additional_claims={"sid": session.id}),
        "refresh_token": sessions.refresh_token(settings(), session),
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
    }


def bearer() -> Caller:
    """Who sent this request's access token, asked of the database once a request. Raises `NotSignedIn`."""
    if "bearer" not in g:
        try:
            verify_jwt_in_request()
        except (JWTExtendedException, PyJWTError) as fault:
            raise NotSignedIn from fault
        g.bearer = get_current_user()
    return cast(Caller, g.bearer)


def signed_in(view: Callable[P, R]) -> Callable[P, R]:
    """Lets only callers with a good access token in."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        bearer()
        return view(*args, **kwargs)

    return guarded(Audience.USER, checked)


def staff_only(view: Callable[P, R]) -> Callable[P, R]:
    """Lets only staff in. Raises `NotAllowed` for others who are signed in."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not bearer().is_staff:
            raise NotAllowed
        return view(*args, **kwargs)

    return guarded(Audience.STAFF, checked)


def visitor() -> Caller | None:
    """Whose browser this is, by its cookie; None for a stranger's. Asked of the database once a request."""
    if "visitor" not in g:
        shown = request.cookies.get(cookie_name(SESSION_COOKIE))
        g.visitor = sessions.by_cookie(settings(), shown) if shown else None
    return cast(Caller | None, g.visitor)


def set_cookies(response: Response, session: Session, device: Device) -> None:
    """Signs the browser in for as long as the session lasts, and makes it a known device. No script can read either cookie."""
    _set_cookie(response, SESSION_COOKIE, sessions.cookie(settings(), session), SESSION_LIFETIME[BROWSER])
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


def _caller_of_token(_header: dict[str, Any], claims: dict[str, Any]) -> Caller | None:
    session_id = claims.get("sid")
    return sessions.caller(session_id, PROGRAM) if isinstance(session_id, str) else None
