"""Protection against forged requests (CSRF): no form of another site can make a browser change anything here.

Every form carries a token, the login form too; where a browser says which site made it send a request (`Sec-Fetch-Site`, `Origin`),
that is checked as well. The API takes bearer tokens alone, which browsers do not send by themselves, and is left out.
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
from hammer.web.pages.errors import SENT_FROM
from hammer.web.pages.frame import OTHER_LANGUAGE, TOO_LATE
from hammer.web.settings import settings


class _FormTokens(CSRFProtect):
    """Flask-WTF's protection, but a token has one spelling only."""

    def _get_csrf_token(self) -> str | None:
        shown = super()._get_csrf_token()
        return shown if shown and codes.is_canonical(shown) else None


csrf = _FormTokens()
UNSAFE: Final = ("POST", "PUT", "PATCH", "DELETE")


def init_app(app: Flask) -> None:
    """Refuses forged requests to everything outside `/api/`, whichever blueprint serves it."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    app.config["WTF_CSRF_SSL_STRICT"] = False  # it demands a Referer, which some browsers do not send
    csrf.init_app(app)
    app.before_request(_refuse_forged)


def _refuse_forged() -> ResponseReturnValue | None:
    # Programs send a bearer token of their own accord, which no other site can make a browser do.
    if not request.endpoint or request.path.startswith("/api/") or request.method not in UNSAFE:
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
        g.shown_alone = TOO_LATE
    return _only_show()


def _only_show() -> ResponseReturnValue | None:
    """The page of a form that was sent for another language or too late, where the address that it was sent to has none of its own.
    Where it has, the view knows that it should only show."""
    if _choose_language():
        g.shown_alone = OTHER_LANGUAGE
    if "shown_alone" in g and request.endpoint in SENT_FROM:
        return cast(ResponseReturnValue, current_app.view_functions[SENT_FROM[request.endpoint]]())
    return None


def _choose_language() -> bool:
    """Whether the form was sent for another language, in which the answer is then."""
    if "lang" in request.form:
        languages.wish_for(request.form["lang"])
    return "lang" in request.form


def _is_ours() -> bool | None:
    """Whether the browser says that a page of ours made it send this. Old browsers say nothing; the token has to do for them."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    ours = {request.host, urlsplit(settings().public_url).netloc}
    return None if origin is None else origin.partition("://")[2] in ours


def _can_be_shown() -> bool:
    """Whether the form that came too late has a page that shows it anew, with what was typed, or nobody is signed in any more whom
    it could do something for. Without cookies it would come too late each time."""
    has_page = request.url_rule is not None and "GET" in (request.url_rule.methods or ())
    return bool(request.cookies) and (has_page or tokens.visitor() is None)
