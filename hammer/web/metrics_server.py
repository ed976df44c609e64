"""`/metrics` of a process that serves nothing else, like a worker (`HAMMER_WORKER_METRICS`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, NotFound

from hammer.web import health

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

LOOPBACK: Final = "127.0.0.1"


class _Handler(WSGIRequestHandler):
    timeout = 5  # seconds in which a request has to arrive: the server answers one after the other

    def log_message(self, *_: object) -> None:
        pass


class _Server(WSGIServer):
    def handle_error(self, *_: object) -> None:
        """Says nothing of a caller who hung up or was too slow: a trace with their address would not be a line of the log."""


@contextmanager
def serve(app: Flask, where: str) -> Iterator[None]:
    """Answers `/metrics` during the block, to the same callers as a web server. Raises `OSError` if the port cannot be taken.

    :param where: a port of 127.0.0.1, or `HOST:PORT`; nothing is answered if it is empty.
    """
    if not where:
        yield
        return
    host, _, port = where.rpartition(":")
    with make_server(host or LOOPBACK, int(port), lambda *call: _answer(app, *call), _Server, _Handler) as server:
        Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _answer(app: Flask, environ: "WSGIEnvironment", start: "StartResponse") -> "Iterable[bytes]":
    """Without the steps of the application before a request, which would start the threads of a server."""
    with app.request_context(environ):
        try:
            if environ["PATH_INFO"] != "/metrics":
                raise NotFound
            answer = app.make_response(health.telemetry())
        except HTTPException as error:
            answer = Response(f"{error.name}\n", status=error.code, mimetype="text/plain")
        return answer(environ, start)
