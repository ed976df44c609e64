"""A span for each request: its route and status, and never its path (`HAMMER_TRACING`)."""

from contextlib import ExitStack
from typing import Final

from flask import Flask, Response, g, request

from hammer import events
from hammer.tracing import spans
from hammer.web import logs
from hammer.web.metrics import METHODS
from hammer.web.settings import settings

SERVER_ERRORS: Final = 500


def init_app(app: Flask) -> None:
    if settings(app).tracing and logs.serves():
        start(app)
        app.before_request(_begin)
        app.after_request(_note_status)
        app.teardown_request(_end)


def start(app: Flask) -> None:
    """Records spans in this process from now on, if the settings say so."""
    if settings(app).tracing:
        spans.start(app.config["VERSION"])


def _begin() -> None:
    """Continues the trace of our own proxy. A stranger must not choose which requests are recorded, nor in which trace: without a
    proxy each request begins a trace."""
    known, route = request.method in METHODS, request.url_rule.rule if request.url_rule else None
    name = f"{request.method if known else 'HTTP'} {route or ''}".rstrip()
    about = {
        "http.request.method": request.method if known else "_OTHER",
        "http.route": route,
        spans.REQUEST_ID: events.request_id.get(),
    }
    given = (spans.TRACEPARENT, spans.TRACESTATE) if settings().proxy_hops else ()
    g.work = ExitStack()
    g.span = g.work.enter_context(spans.span(name, "SERVER", about, {header: request.headers.get(header) for header in given}))


def _note_status(response: Response) -> Response:
    if "span" in g:
        g.span.add({"http.response.status_code": response.status_code})
        if response.status_code >= SERVER_ERRORS:
            g.span.fail(str(response.status_code))
    return response


def _end(_: BaseException | None) -> None:
    if "work" in g:
        g.pop("work").close()
