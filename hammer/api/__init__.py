"""The JSON door: the same flows as the pages, for programs with bearer tokens, and the documents that describe them."""

from flask import Flask, request

from hammer.api import documents, views
from hammer.api.documents import document, postman_collection
from hammer.api.problems import problem
from hammer.refusals import N_, NotAllowed
from hammer.web.languages import PROGRAMS

__all__ = ["document", "init_app", "postman_collection", "problem", "serves"]


def init_app(app: Flask) -> None:
    """Opens the JSON door of `app` and its documents."""
    app.register_blueprint(views.blueprint)
    app.register_blueprint(views.well_known)
    app.register_blueprint(documents.blueprint)
    if app.config["SETTINGS"].env == "production":
        app.before_request(_refuse_in_the_clear)


def serves() -> bool:
    """Whether this request knocked at the JSON door."""
    return request.path.startswith(PROGRAMS)


def _refuse_in_the_clear() -> None:
    # A redirect would let programs go on sending their tokens for anybody on the way to read.
    if serves() and not request.is_secure:
        raise NotAllowed(N_("Call this over https alone. What you sent may have been read on the way."))
