"""In which language we answer: what the person chose, else what their browser or program asks for, else the first we speak."""

from datetime import timedelta
from functools import cache
from typing import Final

from babel import Locale
from flask import Flask, Response, current_app, g, request
from flask_babel import Babel, gettext

from hammer.refusals import Refusal
from hammer.sms import messages

OURS: Final = ("ru", "en")
"""The first is for those who ask for none that we speak."""
LANGUAGES: Final = tuple(dict.fromkeys((*OURS, *messages.languages())))
"""Their codes: `ru`, `en`, and whatever further folders there are."""
PROGRAMS: Final = ("/api/", "/.well-known/")
"""Where addresses begin that programs ask: they keep no choice, and say each time what they read."""
COOKIE: Final = "hammer_language"
KEPT_FOR: Final = timedelta(days=365)

babel = Babel()


def init_app(app: Flask) -> None:
    """Expects the catalogues in `translations/`; English is the language of the source."""
    app.config.setdefault("BABEL_DEFAULT_LOCALE", LANGUAGES[0])
    babel.init_app(app, locale_selector=chosen)
    app.after_request(_keep)


def names() -> dict[str, str]:
    """Code -> what those who speak it call it: `Русский`, `English`."""
    return {code: _name(code) for code in LANGUAGES}


@cache
def _name(code: str) -> str:
    return str(Locale(code).get_display_name(code)).capitalize()  # five megabytes of names, which programs never ask for


def chosen() -> str:
    """What this page was asked for in (kept from then on), the choice kept before, or `Accept-Language`, which alone counts for
    programs."""
    asked = request.accept_languages.best_match(LANGUAGES) or LANGUAGES[0]
    if request.path.startswith(PROGRAMS):
        return asked
    wished = _wish(), request.cookies.get(COOKIE)
    return next((wish for wish in wished if wish in LANGUAGES), asked)


def wish_for(language: str) -> None:
    """Answers this request in that language, if we speak it, as `?lang=` would."""
    g.wished_language = language


def _wish() -> str | None:
    return g.wished_language if "wished_language" in g else request.args.get("lang")


def _keep(response: Response) -> Response:
    """Keeps a choice that was made just now, through signing out and closing the browser. It names nobody."""
    kept_for_everybody = request.endpoint == "static" or response.cache_control.public  # which sets nobody's cookie
    if request.path.startswith(PROGRAMS) or kept_for_everybody:
        return response
    wish = _wish()
    if wish in LANGUAGES and request.cookies.get(COOKIE) != wish:
        secure = current_app.config["SESSION_COOKIE_SECURE"]
        response.set_cookie(COOKIE, wish, max_age=KEPT_FOR, secure=secure, httponly=True, samesite="Lax")
    return response


def say(refusal: Refusal) -> str:
    """The refusal's sentence in the caller's language."""
    return str(gettext(refusal.sentence, **refusal.details))
