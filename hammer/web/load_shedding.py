"""Load shedding: while more requests come than can be served, those that waited too long for a thread are refused, so that the
others are served in time.

The server tells how long each waited (`gunicorn.conf.py`, which has the other half of this).
"""

import logging
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Final

from flask import Flask, request
from werkzeug.wrappers import Request, Response

from hammer import clock, measures
from hammer.refusals import Unavailable
from hammer.web import languages

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

WAITED: Final = "hammer.waited"
"""In the WSGI environment: how many seconds the request waited for a thread; missing if the server does not tell."""
LONGEST_WAIT: Final = 2.0
"""Seconds after which a request is refused. After that people try again, and the answer to their first request is not read."""
MONITORING: Final = ("/healthz", "/readyz", "/metrics")
RETRY_AFTER: Final = 5
"""Seconds that callers are asked to wait."""

WAITS: Final = measures.histogram(
    "request_wait_seconds",
    "How long requests waited for a thread.",
    "fate",
    limits=(0.001, 0.01, 0.1, 0.25, 0.5, 1.0, LONGEST_WAIT, 5.0, 10.0),
    known=(("served",), ("refused",)),
)

_logged = clock.Seldom(60.0)
log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    app.config["LONGEST_WAIT"] = LONGEST_WAIT  # for the server
    app.before_request(_refuse_late)
    app.wsgi_app = _Shedding(app.wsgi_app)  # type: ignore[method-assign]


def waited() -> float | None:
    """How many seconds this request waited for a thread; None if the server does not tell."""
    return request.environ.get(WAITED)


def _refuse_late() -> None:
    """Refuses with `Unavailable` what waited too long. Monitoring is always answered: a busy host is not a dead one."""
    seconds = waited()
    if seconds is None:
        return
    if seconds > LONGEST_WAIT and request.path not in MONITORING:
        _refused(seconds)
        raise Unavailable(retry_after=RETRY_AFTER)
    WAITS.labels("served").observe(seconds)


def _refused(seconds: float) -> None:
    WAITS.labels("refused").observe(seconds)
    if _logged.now("late"):
        log.warning("More requests come than can be served: those that waited over %.0f seconds are refused.", LONGEST_WAIT)


class _Shedding:
    """Answers late requests without Flask, which would take half of the time that is left for the others.

    The answer of Flask to the first late one is kept: one for programs and one for people in each language. What it shows of the
    request is its language alone. Such a request has no line in the log.
    """

    def __init__(self, serve: "WSGIApplication") -> None:
        self.serve = serve
        self.kept: dict[tuple[bool, str], Response] = {}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        seconds = environ.get(WAITED, 0.0)
        if seconds <= LONGEST_WAIT:
            return self.serve(environ, start_response)
        asked = Request(environ)
        own_answer = asked.path in MONITORING or asked.path.startswith(languages.OAUTH)
        if own_answer or asked.method == "HEAD" or "Origin" in asked.headers:
            return self.serve(environ, start_response)
        language = languages.wanted_by(asked, asked.args.get("lang"))
        kind = asked.path.startswith(languages.PROGRAMS), language
        if kind in self.kept:
            _refused(seconds)
        else:
            self.kept[kind] = self._made(environ, *kind)
        return self.kept[kind](environ, start_response)

    def _made(self, environ: "WSGIEnvironment", program: bool, language: str) -> Response:
        own = {name: value for name, value in environ.items() if not name.startswith("HTTP_")}
        nothing = {"REQUEST_METHOD": "GET", "QUERY_STRING": "", "CONTENT_LENGTH": "0", "wsgi.input": BytesIO()}
        about = {"PATH_INFO": "/api/" if program else "/", "HTTP_ACCEPT_LANGUAGE": language}
        made = Response.from_app(self.serve, own | nothing | about, buffered=True)
        del made.headers["X-Request-ID"]
        return made
