"""Protection against forged requests (CSRF): no form of another site can make a browser change anything here.

Every form has a token, the login form too. When a browser says which site caused the request (`Sec-Fetch-Site`, `Origin`), that is
checked as well. The API is exempt: it accepts only bearer tokens, which browsers do not send by themselves.
"""

from typing import Final, cast
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue
from flask_wtf import CSRFProtect
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import Forbidden

from hammer import codes
from hammer.web import languages, tokens
from hammer.web.pages.errors import FORM_PAGES
from hammer.web.pages.frame import OTHER_LANGUAGE, TOO_LATE
from hammer.web.settings import settings


class _FormTokens(CSRFProtect):
    """Flask-WTF's protection. It accepts only the canonical spelling of a token."""

    def _get_csrf_token(self) -> str | None:
        shown = super()._get_csrf_token()
        return shown if shown and codes.is_canonical(shown) else None


csrf = _FormTokens()
FROM_APPS: Final = ("sign_in.authorize", "sign_in.logout")
"""Endpoints to which the pages of apps may send forms. They change nothing in the session of the browser that they are sent by:
cookies do not come along (`SameSite=Lax`)."""
UNSAFE: Final = ("POST", "PUT", "PATCH", "DELETE")


def init_app(app: Flask) -> None:
    """Refuses forged requests to everything outside the paths for programs, whichever blueprint serves it."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    app.config["WTF_CSRF_SSL_STRICT"] = False  # it demands a Referer, which some browsers do not send
    csrf.init_app(app)
    app.before_request(_refuse_forged)


def _refuse_forged() -> ResponseReturnValue | None:
    # For programs there are only bearer tokens and secrets of clients, which no other site can make a browser send.
    if not request.endpoint or request.path.startswith(languages.PROGRAMS) or request.method not in UNSAFE:
        return None
    if request.endpoint in FROM_APPS:
        return None
    ours = _is_ours()
    if ours is False:
        raise Forbidden
    try:
        csrf.protect()
    except CSRFError:
        if not ours:
            raise
        if not _can_be_shown():
            _choose_language()
            raise
        g.shows_only = TOO_LATE
    return _only_show()


def _only_show() -> ResponseReturnValue | None:
    """Calls the view of the page with the form, when the form came for another language or too late, and its address has no page.

    When the address has a page, returns None: its view asks `shows_only`.
    """
    if _choose_language():
        g.shows_only = OTHER_LANGUAGE
    if "shows_only" in g and request.endpoint in FORM_PAGES:
        return cast(ResponseReturnValue, current_app.view_functions[FORM_PAGES[request.endpoint]]())
    return None


def _choose_language() -> bool:
    """Answers in the language that the form asks for; returns whether it asks for one."""
    if "lang" in request.form:
        languages.choose(request.form["lang"])
    return "lang" in request.form


def _is_ours() -> bool | None:
    """Whether the browser says that a page of ours sent this; None for old browsers, which say nothing and have the token alone."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    ours = {request.host, urlsplit(settings().public_url).netloc}
    return None if origin is None else origin.partition("://")[2] in ours


def _can_be_shown() -> bool:
    """Whether a form that came too late is answered by its page, with what was typed, or its sender is signed out by now.

    Never without cookies: the form would come too late each time.
    """
    has_page = request.url_rule is not None and "GET" in (request.url_rule.methods or ())
    return bool(request.cookies) and (has_page or tokens.visitor() is None)
