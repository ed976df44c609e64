"""The JSON door: the same flows as the pages, for programs with bearer tokens, and the documents that describe them."""

from typing import Any

from flask import Flask, request
from flask_smorest import Api

from hammer.api import documents, views
from hammer.api.problems import PROBLEM_JSON, Problem, problem
from hammer.refusals import N_, NotAllowed

__all__ = ["document", "init_app", "postman_collection", "problem", "serves"]

DESCRIPTION = (
    "Phone-number login and invite codes. Sign up with a number, confirm the code from the text, and call the rest with the "
    "access token in the `Authorization` header. Every answer of 400 and above is a problem document (RFC 9457) whose `type` ends "
    "in the name of the problem. `Accept-Language: ru` or `en` chooses the sentences, never the names. A trailing slash is "
    "optional. In demo mode alone, which production refuses, `Ваш код активации` in an answer shows the code."
)


class ProblemApi(Api):
    """flask-smorest, with our problem documents in place of its own errors."""

    ERROR_SCHEMA = Problem
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        """None of its own: the factory's handler serves both doors."""

    def _register_responses(self) -> None:
        self.DEFAULT_RESPONSE_CONTENT_TYPE = PROBLEM_JSON
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE

    def _register_pagination_header(self) -> None:
        """None of its own: where the next page is stands in `Link`."""


def init_app(app: Flask) -> None:
    """Opens the JSON door of `app` and its documents."""
    app.config.update(
        API_TITLE="Hammer",
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={
            "info": {"description": DESCRIPTION},
            "servers": [{"url": app.config["SETTINGS"].public_url}],
            "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}},
            "tags": [{"name": tag, "description": text} for tag, text in views.TAGS.items()],
        },
    )
    api = ProblemApi(app)
    api.register_blueprint(views.blueprint)
    app.extensions["hammer.api"] = api
    documents.init_app(app)
    if app.config["SETTINGS"].env == "production":
        app.before_request(_refuse_in_the_clear)


def serves() -> bool:
    """Whether this request knocked at the JSON door."""
    return request.path.startswith("/api/")


def _refuse_in_the_clear() -> None:
    # A redirect would let programs go on sending their tokens for anybody on the way to read.
    if serves() and not request.is_secure:
        raise NotAllowed(N_("Call this over https alone. What you sent may have been read on the way."))


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `app`. Not to be changed."""
    return documents.document(app)


def postman_collection(app: Flask) -> dict[str, Any]:
    """The Postman collection of `app`: every call of its document in the order in which a tester would make them."""
    return documents.collection(app)
