"""The JSON API: the same flows as the pages, for programs with bearer tokens, and the documents that describe it."""

from flask import Flask, request

from hammer.api import documents
from hammer.api.documents import document
from hammer.api.problems import problem
from hammer.refusals import N_, NotAllowed
from hammer.web.languages import PROGRAMS
from hammer.web.settings import settings

__all__ = ["document", "init_app", "problem", "serves"]


def init_app(app: Flask) -> None:
    """Registers the API and its documents. In production, requests without https are refused."""
    documents.init_app(app)
    if settings(app).env == "production":
        app.before_request(_require_https)


def serves() -> bool:
    """Whether this request is for the JSON API."""
    return request.path.startswith(PROGRAMS)


def _require_https() -> None:
    # Not a redirect: with one, programs would go on sending their tokens unencrypted without noticing.
    if serves() and not request.is_secure:
        raise NotAllowed(N_("Call this over https alone. What you sent may have been read on the way."))
