"""Pages for people: phone form -> code form -> profile, and the landing of an invite link. They work without scripts."""

from flask import Flask
from werkzeug.routing import BaseConverter

from hammer.auth import profile, verification  # noqa: F401  # their views register themselves on the blueprint
from hammer.auth.blueprint import blueprint

__all__ = ["init_app"]


class Rest(BaseConverter):
    """The rest of a path, slashes included."""

    regex = ".*"
    part_isolating = False


def init_app(app: Flask) -> None:
    """Registers the pages."""
    app.url_map.converters["rest"] = Rest
    app.register_blueprint(blueprint)
