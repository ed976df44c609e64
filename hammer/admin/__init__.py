"""The operator's pages, `/admin/`: for staff with a second factor. They call the same verbs as the pages for people and the API."""

from flask import Flask

from hammer.admin import (  # noqa: F401  # importing them registers their views
    actions,
    audit,
    bulk,
    clients,
    doctor,
    factors,
    files,
    home,
    passkeys,
    people,
    person,
    settings,
    sign_in,
    webhooks,
)
from hammer.admin.blueprint import blueprint

__all__ = ["init_app"]


def init_app(app: Flask) -> None:
    """Adds the pages to the application."""
    app.register_blueprint(blueprint)
