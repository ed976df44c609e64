"""Pages for people: phone form -> code form -> profile, and the landing of an invite link. They work with scripts off.

Every unsafe form carries a token against requests that other sites forge, the first one too.
"""

from flask import Flask, request
from flask_wtf import CSRFProtect

from hammer.auth.faults import error_page
from hammer.auth.show import filters
from hammer.auth.views import blueprint

__all__ = ["csrf", "error_page", "init_app"]

csrf = CSRFProtect()


def init_app(app: Flask) -> None:
    """Registers the pages. Nothing outside `/api/` takes anything unsafe without a form's token, pages of other rooms included."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    csrf.init_app(app)
    app.before_request(_refuse_forged)
    app.jinja_env.filters.update(filters)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.register_blueprint(blueprint)


def _refuse_forged() -> None:
    # Programs send a bearer token of their own accord, which no other site can make a browser do.
    if request.endpoint and not request.path.startswith("/api/"):
        csrf.protect()
