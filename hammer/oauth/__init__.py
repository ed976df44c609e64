"""OAuth 2.0 (RFC 6749): access tokens for clients. Errors have the standard's own form (§5.2)."""

from flask import Flask

from hammer.oauth.errors import error
from hammer.oauth.views import blueprint, serves

__all__ = ["error", "init_app", "serves"]


def init_app(app: Flask) -> None:
    """Registers `/oauth/` and the description of this server."""
    app.register_blueprint(blueprint)
