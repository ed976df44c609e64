"""The decorators of the JSON API: how a body is read, who can make a call, and what the OpenAPI document states about both.

A decorator that checks something also states it in the document, so the two cannot differ.
"""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar, cast

from flask import Request, current_app, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from hammer.api import schemas
from hammer.api.problems import PROBLEM_JSON, Problem
from hammer.models import Scope
from hammer.parsing import strict_json
from hammer.quotas import idempotency
from hammer.refusals import (
    N_,
    REQUIRED,
    InvalidFields,
    InvalidRequest,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refusal,
    RetryLater,
    TooManyRequests,
    Unavailable,
    WrongCode,
)
from hammer.web import tokens
from hammer.web.settings import settings
from hammer.web.statuses import status_of

View = TypeVar("View", bound=Callable[..., Any])
Responses = dict[int, dict[str, Any]]
"""Status -> OpenAPI's description of the answers with that status."""

LIMITS: Final = {
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": 'How many texts in how many seconds: `"number";q=5;w=86400, …`.',
    },
    "RateLimit": {"schema": {"type": "string"}, "description": 'What is left, and for how many seconds: `"number";r=3;t=1200, …`.'},
}
UNKNOWN_PARAMETER: Final = N_("This parameter is not known here.")
NOT_A_KEY: Final = N_("A key is 16 to 255 visible ASCII characters, in quotation marks or without; a UUID is a good one.")
_KEY: Final = r'^(?:"([!#-\[\]-~]{16,255})"|([!#-+\--\[\]-~]{16,255}))$'
"""A string of structured fields (RFC 9651 §3.3.3) without escapes. Without quotation marks a comma is not allowed either, because
servers join repeated headers with commas."""
KEY_HEADER: Final = {
    "name": idempotency.HEADER,
    "description": "A random value for each request. Send the same value again to repeat a request whose answer was lost: for "
    f"{idempotency.LIFETIME.seconds // 60} minutes the same key with the same body gets the same answer, and nothing is done "
    "twice. The same key with another body is refused with `invalid-fields`.",
    "schema": {"type": "string", "pattern": _KEY},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}
LANGUAGE_HEADER: Final = {
    "name": "Accept-Language",
    "description": "The language of sentences and texts: Russian without this header, English for languages that are not ours.",
    "schema": {"type": "string"},
    "example": "en",
}
_RETRY_AFTER: Final = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait.", "example": 60}}
_HEADERS: Final = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`"}},
    403: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "For clients: which scope is needed (RFC 6750)."}},
    429: _RETRY_AFTER | LIMITS,
    503: _RETRY_AFTER,
}


ALWAYS: Final = (InvalidFields, TooManyRequests, Unavailable)
"""What every call can be refused with: for unknown parameters, for the limit of requests, and for what is ours to mend."""


class JsonParser(FlaskParser):
    """Reads a JSON object. Refuses every other body with `InvalidRequest`."""

    def load_json(self, req: Request, _schema: Any) -> Any:
        try:
            body = strict_json.loads(req.get_data())
        except ValueError as error:
            raise BadRequest from error
        if not isinstance(body, dict):
            raise BadRequest
        return body


class JsonBlueprint(Blueprint):
    """A blueprint that reads bodies with `JsonParser`."""

    ARGUMENTS_PARSER = JsonParser()


blueprint = JsonBlueprint("api", __name__, url_prefix="/api/v1")
well_known = JsonBlueprint("well_known", __name__, url_prefix="/.well-known")


@blueprint.before_request
def refuse_nul() -> None:
    """Refuses a path with a NUL character: PostgreSQL cannot store it or look it up."""
    if "\x00" in request.path:
        raise NotFound


@blueprint.before_request
def read_only_json() -> None:
    """Refuses every body that is not JSON, so that a form of another site cannot reach a verb here (CSRF)."""
    if request.method in ("POST", "PUT", "PATCH") and request.content_type and request.mimetype != "application/json":
        raise UnsupportedMediaType


@blueprint.before_request
def refuse_unknown_parameters() -> None:
    """Refuses what the query of an address holds and the call does not know, so that a misspelt name is noticed."""
    known: frozenset[str] = getattr(current_app.view_functions[request.endpoint or ""], "parameters", frozenset())
    unknown = sorted(set(request.args) - known)
    if unknown:
        raise InvalidFields({name: [UNKNOWN_PARAMETER] for name in unknown})


def refuses(*refusals: type[Refusal]) -> Callable[[View], View]:
    """States in the document which problems a call can answer with, each with an example; those of every call need no mention."""
    return _documented(responses=_responses(*refusals, *ALWAYS))


def _responses(*refusals: type[Refusal]) -> Responses:
    responses: Responses = {}
    for refusal in refusals:
        _add(responses, status_of(refusal), refusal)
    return responses


def _unreadable(*statuses: int) -> Callable[[View], View]:
    responses: Responses = {}
    for status in statuses:
        _add(responses, status, InvalidRequest)
    return _documented(responses=responses)


def _add(responses: Responses, status: int, refusal: type[Refusal]) -> None:
    # `Problem`, not `Problem()`: flask-smorest copies what is stated at each further decorator, and a class is not copied.
    response = responses.setdefault(status, {"content": {PROBLEM_JSON: {"schema": Problem, "examples": {}}}})
    response["content"][PROBLEM_JSON]["examples"][refusal.slug] = {"value": _example(refusal, status)}
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]


def _example(refusal: type[Refusal], status: int) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if refusal is InvalidFields:
        more = {"errors": {"field": [REQUIRED]}}
    elif refusal is WrongCode:
        more = {"attempts_left": 2}
    elif issubclass(refusal, RetryLater):
        more = {"retry_after": 60}
    return {"type": f"/problems/{refusal.slug}", "title": refusal.title, "status": status, "detail": refusal.sentence} | more


def _documented(**stated: Any) -> Callable[[View], View]:
    return cast(Callable[[View], View], blueprint.doc(**stated))


any_query = _documented(responses=_responses(TooManyRequests, Unavailable))
"""States what a call can be refused with that looks at nothing in the request."""
not_json = _unreadable(415)
"""States that a body of another type is refused, for calls that read no body. `takes` states it for the others."""


def takes(schema: type[schemas.In]) -> Callable[[View], View]:
    """Hands the view the fields of its JSON body, and states what a body can be refused for."""
    parsed = blueprint.arguments(schema())  # an instance: webargs makes a new instance of a class at each call

    def decorate(view: View) -> View:
        view = _unreadable(413, 415)(parsed(view))
        return refuses(InvalidRequest, InvalidFields)(view)

    return decorate


def takes_query(schema: type[schemas.PageIn]) -> Callable[[View], View]:
    """Hands the view the parameters of the query, and states them."""
    parsed = blueprint.arguments(schema(), location="query")

    def decorate(view: View) -> View:
        read = parsed(view)
        read.parameters = frozenset(schema().fields)
        return cast(View, read)

    return decorate


def repeatable(view: View) -> View:
    """Hands the view the idempotency key of the request as `key` (None without one), and states the header. Goes below `takes`."""

    @wraps(view)
    def keyed(*body: dict[str, Any], **path: str) -> Any:
        return view(*body, key=_key({**path, **(body[0] if body else {})}), **path)

    return cast(View, _documented(parameters=["IdempotencyKey"])(keyed))


def _key(asked: dict[str, Any]) -> idempotency.Key | None:
    sent = request.headers.get(idempotency.HEADER)
    if sent is None:
        return None
    read = re.fullmatch(_KEY, sent)
    if read is None:
        raise InvalidFields({idempotency.HEADER: [NOT_A_KEY]})
    call, caller = request.endpoint or "", tokens.caller_id()
    return idempotency.make_key(settings(), read[1] or read[2], call=call, caller=caller, body=json.dumps(asked, sort_keys=True))


def signed_in(view: View) -> View:
    """Admits users with a valid access token, and states that in the document."""
    admitted: View = _stated(tokens.signed_in(view), {"bearer": []})
    return admitted


def allows(scope: Scope) -> Callable[[View], View]:
    """Admits users with a valid access token and clients with this scope, and states both in the document."""

    def decorate(view: View) -> View:
        # The client comes first: openapi-generator's TypeScript sends the token as the last one of the list says, and leaves out
        # the word `Bearer` for OAuth.
        admitted: View = _stated(tokens.allows(scope)(view), {"client": [scope]}, {"bearer": []})
        return admitted

    return decorate


def open_to_clients(scope: Scope) -> Callable[[View], View]:
    """Admits everyone, and clients only with this scope; states both in the document."""

    def decorate(view: View) -> View:
        admitted: View = _stated(tokens.open_to_clients(scope)(view), {}, {"client": [scope]})
        return admitted

    return decorate


def _stated(view: Callable[..., Any], *security: dict[str, list[Scope]]) -> Any:
    """A guarded view, with who is admitted and how others are refused in the document."""
    return _documented(security=list(security), responses=_responses(NotSignedIn, NotAllowed, *ALWAYS))(view)
