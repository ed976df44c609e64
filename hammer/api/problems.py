"""Problem documents (RFC 9457): the answers of the JSON API to refusals and HTTP errors."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from flask import Response, current_app, request
from flask_babel import gettext
from marshmallow import INCLUDE, Schema, fields
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from hammer import refusals
from hammer.refusals import N_, Refusal, RetryLater
from hammer.web import logs, request_limits
from hammer.web.languages import say
from hammer.web.settings import settings
from hammer.web.statuses import status_of

PROBLEM_JSON: Final = "application/problem+json"

_HTTP_ERRORS: Mapping[int, type[Refusal]] = {
    404: refusals.NotFound,
    503: refusals.Unavailable,
}
"""HTTP errors that have the slug of a refusal."""


class Kind(NamedTuple):
    """A kind of problem. `title` and `sentence` are in English."""

    slug: str
    title: str
    sentence: str


_WRONG_METHOD: Final = Kind(
    "method-not-allowed", N_("Method Not Allowed"), N_("This address does not understand that kind of request.")
)
_OUR_FAULT: Final = Kind(
    "internal-server-error", N_("Internal Server Error"), N_("Something went wrong on our side. Please try again later.")
)


def _leaves(refusal: type[Refusal]) -> list[type[Refusal]]:
    below = refusal.__subclasses__()
    return [leaf for child in below for leaf in _leaves(child)] if below else [refusal]


def _kind(refusal: type[Refusal]) -> Kind:
    return Kind(refusal.slug, refusal.title, refusal.sentence)


KINDS: Final[Mapping[str, Kind]] = {kind.slug: kind for kind in (*map(_kind, _leaves(Refusal)), _WRONG_METHOD, _OUR_FAULT)}
"""Slug -> every kind of problem that the API answers with: those of the refusals, and of HTTP errors."""


class Problem(Schema):
    """The body of every answer of 400 and above. Other members can be added later."""

    class Meta:
        unknown = INCLUDE

    type = fields.String(
        required=True,
        metadata={
            "description": "A stable URI reference that ends in the slug of the problem: the address of a page that explains it.",
            "example": "/problems/wrong-code",
            "enum": [f"/problems/{slug}" for slug in KINDS],
            "x-enum-varnames": [slug.replace("-", "_").upper() for slug in KINDS],  # generators number the values without it
        },
    )
    title = fields.String(required=True, metadata={"description": "The kind of problem, in the language of the request."})
    status = fields.Integer(required=True, metadata={"minimum": 400, "maximum": 599})
    detail = fields.String(required=True, metadata={"description": "What happened, in one or two sentences."})
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "Field -> what is wrong with its value."},
    )
    attempts_left = fields.Integer(metadata={"description": "Guesses left for this code."})
    retry_after = fields.Integer(metadata={"description": "Seconds to wait, as in the Retry-After header."})
    scope = fields.String(metadata={"description": "The scope that the token of a client lacks."})


def problem(error: Exception) -> Response:
    """The problem document of a refusal or an HTTP error, in the caller's language."""
    if isinstance(error, Refusal):
        answer = _answer(status_of(type(error)), error.slug, error.title, say(error), **_details(error))
        if isinstance(error, RetryLater):
            answer.headers.update(request_limits.spent(settings(), error))
        return answer
    if isinstance(error, HTTPException) and error is request.routing_exception:
        error = _with_slash(error)
    if not isinstance(error, HTTPException) or error.code is None:
        raise error
    messages = getattr(error, "data", {}).get("messages")
    if error.code == 422 and messages:
        logs.refused(refusals.InvalidFields.slug)
        return problem(refusals.InvalidFields(_flat(messages)))
    kind = _kind_of(error.code)
    if error.code < 500:
        logs.refused(kind.slug)
    answer = _answer(error.code, kind.slug, kind.title, gettext(kind.sentence))
    answer.headers.update((name, value) for name, value in error.get_headers() if name in ("Allow", "Retry-After"))
    return answer


def _kind_of(status: int) -> Kind:
    if refusal := _HTTP_ERRORS.get(status):
        return _kind(refusal)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return _WRONG_METHOD
    return _OUR_FAULT if status >= 500 else _kind(refusals.InvalidRequest)


def _with_slash(error: HTTPException) -> HTTPException:
    """The error for the same address with a trailing slash. Without the slash, the router reports a wrong method as not found."""
    router = current_app.create_url_adapter(request)
    try:
        if router is not None:
            router.match(f"{request.path}/")
    except MethodNotAllowed as wrong_method:
        return wrong_method
    except HTTPException:
        pass
    return error


def _answer(status: int, slug: str, title: str, detail: str, **more: Any) -> Response:
    body = {"type": f"/problems/{slug}", "title": gettext(title), "status": status, "detail": detail} | more
    response = Response(current_app.json.dumps(body), status=status, mimetype=PROBLEM_JSON)
    response.headers["Cache-Control"] = "no-store"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if "scope" in more:  # RFC 6750 §3.1
        response.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{more["scope"]}"'
    if "retry_after" in more:
        response.headers["Retry-After"] = str(more["retry_after"])
    return response


def _details(refusal: Refusal) -> dict[str, Any]:
    """What the problem document says beyond type, title, status and detail: the translated `errors` by field, or the details."""
    if isinstance(refusal, refusals.InvalidFields):
        errors = {field: [gettext(sentence) for sentence in sentences] for field, sentences in refusal.errors.items()}
        return {"errors": errors}
    return dict(refusal.details)


def _flat(messages: Mapping[str, Any]) -> dict[str, list[str]]:
    """Field -> sentences, from the tree of locations, fields and positions that marshmallow reports."""
    return {field: _sentences(found) for of_location in messages.values() for field, found in of_location.items()}


def _sentences(found: Any) -> list[str]:
    """The first list of sentences in a tree of positions."""
    return _sentences(next(iter(found.values()))) if isinstance(found, dict) else [str(sentence) for sentence in found]
