"""Pages for people: phone form -> code form -> profile, and the landing of an invite link. They work with scripts off.

Every unsafe form carries a token against requests that other sites forge, the first one too; and where a browser says who made it
send a request, that is asked as well.
"""

from typing import cast
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue
from flask_wtf import CSRFProtect
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import Forbidden
from werkzeug.routing import BaseConverter

from hammer import codes, languages, tokens
from hammer.auth import profile, proving  # noqa: F401  # they hang their pages on the blueprint
from hammer.auth.door import OTHER_LANGUAGE, TOO_LATE, blueprint
from hammer.auth.faults import SENT_FROM, error_page
from hammer.auth.show import filters

__all__ = ["csrf", "error_page", "init_app"]


class _FormTokens(CSRFProtect):
    """Those of Flask-WTF, which would read one in many spellings."""

    def _get_csrf_token(self) -> str | None:
        shown = super()._get_csrf_token()
        return shown if shown and codes.is_canonical(shown) else None


csrf = _FormTokens()
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


class Rest(BaseConverter):
    """All that is left of an address, slashes included."""

    regex = ".*"
    part_isolating = False


def init_app(app: Flask) -> None:
    """Registers the pages. Nothing outside `/api/` takes anything unsafe without a form's token, pages of other rooms included."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    app.config["WTF_CSRF_SSL_STRICT"] = False  # it asks for a Referer, which some people's browsers keep to themselves
    csrf.init_app(app)
    app.before_request(_refuse_forged)
    app.jinja_env.filters.update(filters)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.url_map.converters["rest"] = Rest
    app.register_blueprint(blueprint)


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
    ours = {request.host, urlsplit(current_app.config["SETTINGS"].public_url).netloc}
    return None if origin is None else origin.partition("://")[2] in ours


def _can_be_shown() -> bool:
    """Whether the form that came too late has a page that shows it anew, with what was typed, or nobody is signed in any more whom
    it could do something for. Without cookies it would come too late each time."""
    has_page = request.url_rule is not None and "GET" in (request.url_rule.methods or ())
    return bool(request.cookies) and (has_page or tokens.visitor() is None)
