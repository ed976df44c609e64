"""What the pages of every blueprint need: sessions in a signed cookie, CSRF protection, filters, variables of templates."""

from flask import Flask, Request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from hammer import codes
from hammer.web.languages import PROGRAMS
from hammer.web.pages import apps, csrf, templates
from hammer.web.pages.filters import FILTERS
from hammer.web.pages.frame import context
from hammer.web.settings import settings


class SessionsOfPages(SecureCookieSessionInterface):
    """Flask's session, for pages alone: the API sets no cookie and reads none. Accepts only the canonical spelling of a cookie."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if request.path.startswith(PROGRAMS):
            return None
        canonical = codes.is_canonical(request.cookies.get(self.get_cookie_name(app), ""))
        return super().open_session(app, request) if canonical else self.session_class()


def init_app(app: Flask) -> None:
    """Gives templates their filters and variables, and protects forms."""
    csrf.init_app(app)
    apps.init_app(app)
    app.session_interface = SessionsOfPages()
    app.context_processor(context)
    if folder := settings(app).templates:
        app.jinja_loader = templates.loader(folder)
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
