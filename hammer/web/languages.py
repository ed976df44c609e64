"""The language of an answer: what the person chose, else what the browser or program asks for, else the first of ours."""

from datetime import timedelta
from functools import cache
from typing import Final

from babel import Locale
from flask import Flask, Response, g, request
from flask_babel import Babel, gettext
from werkzeug.wrappers import Request

from hammer.refusals import Refusal
from hammer.sms import messages
from hammer.web.settings import settings

OURS: Final = ("ru", "en")
"""The first is the default."""
LANGUAGES: Final = tuple(dict.fromkeys((*OURS, *messages.languages())))
"""Codes of all languages: `ru`, `en`, and every other folder of messages."""
OAUTH: Final = ("/oauth/token", "/oauth/revoke", "/oauth/userinfo")
PROGRAMS: Final = ("/api/", "/.well-known/", *OAUTH)
"""Paths for programs. Programs get no cookie: they name the language in each request."""
FALLBACK: Final = "en"
"""What the API speaks to those who ask for other languages: more of them read English than Russian."""
COOKIE: Final = "hammer_language"
COOKIE_LIFETIME: Final = timedelta(days=365)

babel = Babel()


def init_app(app: Flask) -> None:
    """Reads the catalogues in `translations/`. The sentences in the source are English."""
    app.config.setdefault("BABEL_DEFAULT_LOCALE", LANGUAGES[0])
    babel.init_app(app, locale_selector=chosen)
    app.after_request(_remember)


def names() -> dict[str, str]:
    """Code -> name of the language in itself: `Русский`, `English`."""
    return {code: _name(code) for code in LANGUAGES}


@cache
def _name(code: str) -> str:
    return str(Locale(code).get_display_name(code)).capitalize()  # called when a page needs it: the names take five megabytes


def chosen() -> str:
    """The language of this answer: `?lang=` (remembered from then on), the remembered choice, or `Accept-Language`. For programs
    only `Accept-Language` counts, and those that ask for other languages than ours get `FALLBACK`."""
    return wanted_by(request, _choice())


def wanted_by(asked: Request, choice: str | None) -> str:
    """The same for any request, with this choice."""
    wanted = asked.accept_languages
    accepted = wanted.best_match(LANGUAGES)
    if asked.path.startswith(PROGRAMS):
        return accepted or (FALLBACK if wanted else LANGUAGES[0])
    choices = choice, asked.cookies.get(COOKIE)
    return next((choice for choice in choices if choice in LANGUAGES), accepted or LANGUAGES[0])


def choose(language: str) -> None:
    """Answers this request in that language if it is one of ours, as `?lang=` does."""
    g.chosen_language = language


def _choice() -> str | None:
    return g.chosen_language if "chosen_language" in g else request.args.get("lang")


def _remember(response: Response) -> Response:
    """Stores a choice of this request in a cookie, which survives signing out and closing the browser and holds no identity."""
    shared = request.endpoint == "static" or response.cache_control.public  # a shared cache would give the cookie to others
    if request.path.startswith(PROGRAMS) or shared:
        return response
    choice = _choice()
    if choice in LANGUAGES and request.cookies.get(COOKIE) != choice:
        secure = settings().https
        response.set_cookie(COOKIE, choice, max_age=COOKIE_LIFETIME, secure=secure, httponly=True, samesite="Lax")
    return response


def say(refusal: Refusal) -> str:
    """The refusal's sentence in the caller's language."""
    return str(gettext(refusal.sentence, **refusal.details))
