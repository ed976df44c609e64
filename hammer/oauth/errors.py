"""Errors of the authorization server, in the form of RFC 6749 §5.2."""

from typing import Final

from flask import Response, g, jsonify
from werkzeug.exceptions import HTTPException

from hammer.refusals import Refusal, RetryLater
from hammer.web import logs
from hammer.web.statuses import status_of

_REALM: Final = 'Basic realm="clients"'


def error(fault: Exception) -> Response:
    """The answer to a refusal or an HTTP error. The standard has no word for limits: `temporarily_unavailable` is that of
    §4.1.2.1."""
    if isinstance(fault, RetryLater):
        answer = error_response(status_of(type(fault)), "temporarily_unavailable", f"Try again in {fault.retry_after} seconds.")
        answer.headers["Retry-After"] = str(fault.retry_after)
        return answer
    if isinstance(fault, Refusal):
        return error_response(status_of(type(fault)), "invalid_request", fault.sentence)
    code = fault.code or 500 if isinstance(fault, HTTPException) else 500
    slug = "server_error" if code >= 500 else "invalid_request"
    answer = error_response(code, slug, "Send a POST." if code == 405 else "The request could not be served.")
    if isinstance(fault, HTTPException):
        answer.headers.update((name, value) for name, value in fault.get_headers() if name in ("Allow", "Retry-After"))
    return answer


def error_response(status: int, slug: str, words: str) -> Response:
    """An answer with this error. `words` are for developers, in ASCII, and are logged: they contain nothing that was sent."""
    if "refusal" not in g:  # a refusal of ours has a more exact name
        logs.refused(slug, words)
    answer = jsonify({"error": slug, "error_description": words})
    answer.status_code = status
    answer.headers["Cache-Control"] = "no-store"
    if status == 401:
        answer.headers["WWW-Authenticate"] = _REALM
    return answer
