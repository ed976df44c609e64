"""In which language we answer: what the person chose, else what their browser or program asks for, else the first we speak."""

from flask import Flask, request, session
from flask_babel import Babel, gettext

from hammer.refusals import Refusal

LANGUAGES = {"ru": "Русский", "en": "English"}

babel = Babel()


def init_app(app: Flask) -> None:
    """Expects the catalogues in `translations/`; English is the language of the source."""
    app.config.setdefault("BABEL_DEFAULT_LOCALE", next(iter(LANGUAGES)))
    babel.init_app(app, locale_selector=chosen)


def chosen() -> str:
    """`?lang=` of a page (kept from then on), the choice kept before, or `Accept-Language`; for programs the header alone."""
    asked = request.accept_languages.best_match(LANGUAGES) or next(iter(LANGUAGES))
    if request.path.startswith("/api/"):
        return asked
    wish = request.args.get("lang")
    if wish in LANGUAGES and session.get("language") != wish:
        session["language"] = wish
    kept = session.get("language")
    return kept if kept in LANGUAGES else asked


def say(refusal: Refusal) -> str:
    """The refusal's sentence in the caller's language."""
    return str(gettext(refusal.sentence, **refusal.details))
