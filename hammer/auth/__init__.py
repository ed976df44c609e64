"""Pages for people: phone form -> code form -> profile, and the landing of an invite link. They work with scripts off.

Every unsafe form carries a token against requests that other sites forge, the first one too; and where a browser says who made it
send a request, that is asked as well.
"""

from urllib.parse import urlsplit

from flask import Flask, current_app, request
from flask_wtf import CSRFProtect
from werkzeug.exceptions import Forbidden

from hammer.auth.faults import error_page
from hammer.auth.show import filters
from hammer.auth.views import blueprint

__all__ = ["csrf", "error_page", "init_app"]

csrf = CSRFProtect()
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def init_app(app: Flask) -> None:
    """Registers the pages. Nothing outside `/api/` takes anything unsafe without a form's token, pages of other rooms included."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    app.config["WTF_CSRF_SSL_STRICT"] = False  # it asks for a Referer, which some people's browsers keep to themselves
    csrf.init_app(app)
    app.before_request(_refuse_forged)
    app.jinja_env.filters.update(filters)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.register_blueprint(blueprint)


def _refuse_forged() -> None:
    # Programs send a bearer token of their own accord, which no other site can make a browser do.
    if request.endpoint and not request.path.startswith("/api/"):
        if request.method in UNSAFE and _comes_from_elsewhere():
            raise Forbidden
        csrf.protect()


def _comes_from_elsewhere() -> bool:
    """Whether the browser says that another site made it send this. Old browsers say nothing; the token has to do for them."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    ours = {request.host, urlsplit(current_app.config["SETTINGS"].public_url).netloc}
    return origin is not None and origin.partition("://")[2] not in ours
