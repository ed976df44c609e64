"""Pages for people: phone form -> code form -> profile, and the landing page of an invite link. They work without scripts."""

from flask import Flask
from werkzeug.routing import BaseConverter

from hammer.auth import profile, verification  # noqa: F401  # importing them registers their views
from hammer.auth.blueprint import blueprint

__all__ = ["init_app"]


class Rest(BaseConverter):
    """Matches the rest of a path, slashes included."""

    regex = ".*"
    part_isolating = False


def init_app(app: Flask) -> None:
    """Adds the pages to the application."""
    app.url_map.converters["rest"] = Rest
    app.register_blueprint(blueprint)
