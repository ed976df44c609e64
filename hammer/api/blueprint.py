"""The frame of every call of the JSON API: how a body is read, who is let in, and what the document states of both.

Each is said once, where it is done: whoever puts a guard on a call has it in the document too.
"""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, Self, TypeVar, cast

from flask import Request, g, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from hammer.api import schemas
from hammer.api.problems import PROBLEM_JSON, Problem
from hammer.quotas import idempotency
from hammer.refusals import (
    N_,
    REQUIRED,
    InvalidFields,
    InvalidRequest,
    NotFound,
    NotSignedIn,
    Refusal,
    RetryLater,
    Unavailable,
    WrongCode,
)
from hammer.web import tokens
from hammer.web.settings import settings
from hammer.web.statuses import status_of

View = TypeVar("View", bound=Callable[..., Any])

LIMITS = {
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": 'So many texts in so many seconds: `"number";q=5;w=86400, …`.',
    },
    "RateLimit": {"schema": {"type": "string"}, "description": 'What is left, and for how many seconds: `"number";r=3;t=1200, …`.'},
}
NOT_A_KEY: Final = N_("A key is 16 to 255 visible ASCII characters, in quotation marks or without; a UUID is a good one.")
_KEY: Final = r'^(?:"([!#-\[\]-~]{16,255})"|([!#-+\--\[\]-~]{16,255}))$'
"""A string of structured fields (RFC 9651 §3.3.3) without what would have to be escaped; or the same without quotation marks, and
then without a comma, by which servers join two headers."""
_KEY_HEADER = {
    "in": "header",
    "name": idempotency.HEADER,
    "description": "Drawn for each request, and sent again when the request is repeated because its answer was lost. For "
    f"{idempotency.LIFETIME.seconds // 60} minutes the same key with the same body gets the same answer, and nothing is done "
    "twice. With another body it is `invalid-fields`.",
    "schema": {"type": "string", "pattern": _KEY},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`"}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}} | LIMITS,
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}},
}


class JsonParser(FlaskParser):
    """Reads a JSON object or refuses with `InvalidRequest`; no body can make it fail otherwise."""

    def load_json(self, req: Request, _schema: Any) -> Any:
        try:
            body = json.loads(req.get_data())
            json.dumps(body, ensure_ascii=False).encode()  # half a character (RFC 8259 §8.2) is a ValueError here
        except (ValueError, RecursionError) as error:
            raise BadRequest from error
        if not isinstance(body, dict):
            raise BadRequest
        return body


class Told(dict[str, Any]):
    """Part of the document that nobody changes: the decorators of each call copy what the others said, and need not copy this."""

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self


def _example(leaf: type[Refusal], status: int) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if leaf is InvalidFields:
        more = {"errors": {"field": [REQUIRED]}}
    elif leaf is WrongCode:
        more = {"attempts_left": 2}
    elif issubclass(leaf, RetryLater):
        more = {"retry_after": 60}
    return {"type": f"/problems/{leaf.slug}", "title": leaf.title, "status": status, "detail": leaf.sentence} | more


class Door(Blueprint):
    """What only the document should say is written on the view itself: flask-smorest would put one more function around the view
    for each sentence of it, and each call would go through all of them."""

    ARGUMENTS_PARSER = JsonParser()

    def alt_response(self, *stated: Any, **more: Any) -> Callable[[View], View]:
        return _written_on(super().alt_response(*stated, **more))

    def doc(self, **stated: Any) -> Callable[[View], View]:
        return _written_on(super().doc(**stated))


def _written_on(wrap: Callable[[View], View]) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        vars(view)["_apidoc"] = vars(wrap(view))["_apidoc"]
        return view

    return decorate


blueprint = Door("api", __name__, url_prefix="/api/v1")
well_known = Door("well_known", __name__, url_prefix="/.well-known")


@blueprint.before_request
def find_nothing_by_nul() -> None:
    """PostgreSQL cannot even be asked about a name with NUL in it."""
    if "\x00" in request.path:
        raise NotFound


@blueprint.before_request
def read_json_alone() -> None:
    """A body is JSON or nothing, so that no form of another site can reach a verb here."""
    if request.method in ("POST", "PUT", "PATCH") and request.content_type and request.mimetype != "application/json":
        raise UnsupportedMediaType


def refuses(*refusals: type[Refusal]) -> Callable[[View], View]:
    """States in the document which problems a call may answer with, each with its example."""
    by_status: dict[int, list[type[Refusal]]] = {}
    for refusal in (*refusals, Unavailable):
        by_status.setdefault(status_of(refusal), []).append(refusal)

    def decorate(view: View) -> View:
        for status, leaves in by_status.items():
            view = blueprint.alt_response(
                status,
                schema=Problem,
                content_type=PROBLEM_JSON,
                description=", ".join(f"`{leaf.slug}`" for leaf in leaves),
                examples=Told((leaf.slug, {"value": _example(leaf, status)}) for leaf in leaves),
                headers=Told(_HEADERS[status]) if status in _HEADERS else None,
            )(view)
        return view

    return decorate


def _unreadable(status: int, description: str) -> Callable[[View], View]:
    example = Told({"invalid-request": {"value": _example(InvalidRequest, status)}})
    return blueprint.alt_response(status, schema=Problem, content_type=PROBLEM_JSON, description=description, examples=example)


not_json = _unreadable(415, "`invalid-request`: not JSON")
"""States that a body of another kind is refused, as `read_json_alone` does for every call that could have one."""


def takes(schema: type[schemas.In]) -> Callable[[View], View]:
    """Hands the view the fields of its JSON body, and states what a body may be refused for."""

    def decorate(view: View) -> View:
        made_once = schema()  # of a class, another one would be made at each call
        view = _unreadable(413, "`invalid-request`: too large")(blueprint.arguments(made_once)(view))
        return refuses(InvalidRequest, InvalidFields)(not_json(view))

    return decorate


def repeatable(view: View) -> View:
    """Hands the view the idempotency key of the request, or None, as `key`, and states the header. Stands below `takes`."""

    @wraps(view)
    def keyed(body: dict[str, Any], **path: Any) -> Any:
        return view(body, key=_key(body), **path)

    return cast(View, blueprint.doc(parameters=[_KEY_HEADER])(keyed))


def _key(body: dict[str, Any]) -> idempotency.Key | None:
    shown = request.headers.get(idempotency.HEADER)
    if shown is None:
        return None
    read = re.fullmatch(_KEY, shown)
    if read is None:
        raise InvalidFields({idempotency.HEADER: [NOT_A_KEY]})
    call, caller = request.endpoint or "", g.bearer.session_id if "bearer" in g else ""
    return idempotency.made(settings(), read[1] or read[2], call=call, caller=caller, body=json.dumps(body, sort_keys=True))


def signed_in(view: View) -> View:
    """Lets callers with a good access token in, and says so in the document."""
    guarded = tokens.signed_in(refuses(NotSignedIn)(view))
    return cast(View, blueprint.doc(security=[{"bearer": []}])(guarded))
