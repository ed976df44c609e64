"""Which pages of other origins a browser lets read our answers (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

The API, and the calls by which apps sign people in, can be called from the origins of `HAMMER_ORIGINS` and of the clients, and from
no other by default. They take no cookies, so browsers are never allowed to send them. What any service may know, like the keys that
verify tokens, can be read from anywhere. Pages, like those on which people sign in to an app, can be read from nowhere.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, cast

from flask import Flask, Response, current_app, request
from flask_cors import cross_origin

from hammer import clock
from hammer.clients import registry
from hammer.db.database import AWAY
from hammer.web.settings import settings

API: Final = "/api/"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
OF_APPS: Final = {"/oauth/token": ("POST",), "/oauth/revoke": ("POST",), "/oauth/userinfo": ("GET", "POST")}
"""The calls by which an app signs people in, with their methods."""
FOR_EVERYONE: Final = (
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
)
REQUEST_HEADERS: Final = ("Authorization", "Content-Type", "Idempotency-Key", "Accept-Language")
RESPONSE_HEADERS: Final = ("RateLimit", "RateLimit-Policy", "Retry-After", "Link", "WWW-Authenticate", "X-Request-ID")
PREFLIGHT: Final = timedelta(minutes=10)
"""How long a browser may remember what it was allowed."""
RELOAD: Final = timedelta(seconds=30)
"""Maximum age of the clients' origins that a process has cached. The origins of a disabled client are refused after this."""


class ClientOrigins:
    """The origins of the clients, as this process has read them. While the database is away, those that it read before."""

    def __init__(self) -> None:
        self._origins = frozenset[str]()
        self._read_at: datetime | None = None

    def known(self) -> frozenset[str]:
        """The origins, read at most `RELOAD` ago."""
        now = clock.now()
        if self._read_at is None or not self._read_at <= now < self._read_at + RELOAD:  # the clock may have been set back
            with suppress(*AWAY):
                self._origins = registry.origins()
            self._read_at = now  # also after a failure: else each answer would wait for the database
        return self._origins


def init_app(app: Flask) -> None:
    app.extensions["hammer.web.origins"] = ClientOrigins()
    app.after_request(_share)


def _share(response: Response) -> Response:
    """Adds the headers that let a page of another origin read this answer, an error too, if it may."""
    if request.path in FOR_EVERYONE:
        return _readable_by("*", ["GET"], response)
    methods = METHODS if request.path.startswith(API) else OF_APPS.get(request.path)
    if methods:
        response.headers.add("Vary", "Origin")  # one of several headers, if there are others: `vary.add` would parse them
        origin = request.headers.get("Origin")
        if origin and _is_allowed(origin):
            # As a pattern: Flask-CORS compares strings without regard to case, and takes some of them for patterns.
            return _readable_by(re.compile(re.escape(origin) + r"\Z"), methods, response)
    return response


def _is_allowed(origin: str) -> bool:
    return origin in settings().origins or origin in cast(ClientOrigins, current_app.extensions["hammer.web.origins"]).known()


def _readable_by(origin: str | re.Pattern[str], methods: Iterable[str], response: Response) -> Response:
    share = cross_origin(
        origins=origin,
        methods=methods,
        allow_headers=REQUEST_HEADERS,
        expose_headers=RESPONSE_HEADERS,
        max_age=PREFLIGHT,
        send_wildcard=True,
        vary_header=False,  # it is on the other answers too
        automatic_options=False,
    )
    return share(lambda: response)()
