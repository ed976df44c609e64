"""OAuth 2.0 (RFC 6749) and OpenID Connect: apps of the operator get access tokens, and people sign in to apps.

What apps call answers errors in the standard's own form (§5.2); what people see are pages.
"""

from flask import Flask

from hammer.oauth import pages, views
from hammer.oauth.errors import error
from hammer.oauth.views import serves

__all__ = ["error", "init_app", "serves"]


def init_app(app: Flask) -> None:
    """Registers `/oauth/` and the descriptions of this server."""
    app.register_blueprint(views.blueprint)
    app.register_blueprint(pages.blueprint)
