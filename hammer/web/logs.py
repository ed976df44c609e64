"""The log: one line for each request and each other event; JSON in production, plain text in development.

Lines hold no path, query, header or body, because those can hold numbers, codes and tokens: a request is logged by its route, a
person by their id. As a second defence everything that looks like a number or a token is masked, and no value can start a new line.
"""

import json
import logging
import re
import secrets
import time
import traceback
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import click
from flask import Flask, Response, g, request

from hammer import events, measures
from hammer.refusals import Refusal
from hammer.web import load_shedding
from hammer.web.settings import settings

REQUEST_ID: Final = "X-Request-ID"
_ID_OF_PROXY: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_WORD: Final = r"(?=[\w.-]*\d)[\w.-]"
"""A word with a digit from here on."""
_NO_DIGIT: Final = r"((?:[^\W\d]|[.-]){40,})"
"""A long word without one, which is kept. It is taken whole: to search each of its letters for a word would take minutes."""
_NUMBERS_AND_TOKENS: Final = re.compile(rf"\+\d{{6,}}|\d{{10,}}|{_WORD}{{40,}}|{_NO_DIGIT}")
_VALUES: Final = re.compile(rf"\+?\d[\d ().-]{{2,}}\d|{_WORD}{{20,}}|{_NO_DIGIT}")
"""Masked in the messages of exceptions: drivers and libraries quote values there, so short codes and ids are masked too."""
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_OF_SERVERS: Final = re.compile(r" - - \[|^Invalid request from|^(\x1b\[\d+m)?Press CTRL\+C")
_SERVED: Final = re.compile(r"^ \* Running on (http\S+)", re.MULTILINE)
_LOOPBACK: Final = re.compile(r"(?<=//)(127\.0\.0\.1|\[::1\])(?=:)")

REFUSALS: Final = measures.counter(
    "refusals",
    "Requests that were refused, by the reason that callers are told.",
    "slug",
    known=((leaf.slug,) for group in Refusal.__subclasses__() for leaf in group.__subclasses__()),
)

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Logs every request of `app`, and suppresses the request lines of servers, which hold the path."""
    env = settings(app).env
    if env != "testing":
        _write(ForMachines() if env == "production" else ForPeople())
    logging.getLogger("hammer").setLevel(logging.INFO)
    if settings(app).demo and serves():
        _warn_of_demo_mode()
    for server in ("werkzeug", "gunicorn.error"):
        logging.getLogger(server).addFilter(_is_no_request)
    app.log_exception = _unforeseen  # type: ignore[method-assign]
    app.before_request(_begin)
    app.after_request(_log_request)
    app.teardown_request(_end)


def serves() -> bool:
    """Whether this process serves requests or sends messages. Other commands end before a person can sign in."""
    command = click.get_current_context(silent=True)
    return command is None or command.info_name in ("run", "worker")


@cache
def _warn_of_demo_mode() -> None:
    """Warns once in a process."""
    log.warning("Demo mode is on (HAMMER_DEMO): codes are shown to everyone.")


def refused(slug: str, reason: str = "") -> None:
    """Counts a refusal and adds it to the line of this request: its slug, which is a word of this program or of OAuth 2.0, and a
    sentence that says more and contains nothing that was sent."""
    REFUSALS.labels(slug).inc()
    g.refusal = slug
    g.refusal_reason = _NUMBERS_AND_TOKENS.sub(_masked, reason) or None


class ForMachines(logging.Formatter):
    """One JSON object a line, in ASCII, with times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        line = _fields(record) | getattr(record, "request", {}) | getattr(record, "about", {})
        if record.exc_info and record.exc_info[1]:
            line["trace"] = _trace(record.exc_info[1])
        return json.dumps(line)


class ForPeople(logging.Formatter):
    """One sentence a line, with the trace of an exception below it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        request = getattr(record, "request", {})
        more = {name: request[name] for name in ("duration_ms", "waited_ms", "refusal", "reason") if request.get(name) is not None}
        more |= {name: value for name, value in getattr(record, "about", {}).items() if name in ("text_id", "verification")}
        words = [datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S"), record.levelname, fields["message"]]
        line = _one_line(" ".join([*words, *(f"{name}={value}" for name, value in more.items())]))
        return f"{line}\n{_trace(record.exc_info[1])}" if record.exc_info and record.exc_info[1] else line


def _write(formatter: logging.Formatter) -> None:
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if handler.name == __name__]:
        root.removeHandler(former)
    handler = logging.StreamHandler()
    handler.name = __name__
    handler.setFormatter(formatter)
    root.addHandler(handler)
    # No line states them: https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.captureWarnings(True)  # a warning of Python is a line like all others


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": _NUMBERS_AND_TOKENS.sub(_masked, _COLOUR.sub("", record.getMessage())),
        "request_id": events.request_id.get(),
    }


def _masked(found: re.Match[str]) -> str:
    return found[1] or "…"


def _trace(error: BaseException) -> str:
    """The traceback of an exception after those of its causes, as Python prints them, with the values in their messages masked."""
    traces: list[str] = []
    current: BaseException | None = error
    while current is not None:
        message = _VALUES.sub(_masked, _one_line(str(current)))
        traces.append("".join(traceback.format_tb(current.__traceback__)) + f"{type(current).__name__}: {message}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nand then\n".join(reversed(traces))


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _is_no_request(record: logging.LogRecord) -> bool:
    if record.msg.startswith("Error handling request"):  # gunicorn adds the path to this message
        record.msg, record.args = "Error handling a request", ()
    message = record.getMessage()
    if served := _SERVED.findall(message):  # Flask's message is a paragraph; one line of it is enough
        address = _LOOPBACK.sub("localhost", served[0])  # a host that can have passkeys
        record.msg, record.args = f"Open {address} in a browser. Ctrl+C ends the server.", ()
    return not _OF_SERVERS.search(message)


def _begin() -> None:
    g.began = time.perf_counter()
    events.verification.set(None)
    given = request.headers.get(REQUEST_ID, "") if settings().proxy_hops else ""
    events.request_id.set(given if _ID_OF_PROXY.fullmatch(given) else secrets.token_hex(16))


def _log_request(response: Response) -> Response:
    caller, waited = g.get("bearer") or g.get("visitor"), load_shedding.waited()
    line = {
        "method": request.method,
        "route": _route(),
        "status": int(response.status[:3]),
        "duration_ms": round((time.perf_counter() - g.began) * 1000, 1),
        "waited_ms": None if waited is None else round(waited * 1000, 1),
        "user_id": getattr(caller, "user_id", None),
        "client_id": events.calling_client.get(),
        "verification": events.verification.get(),
        "refusal": g.get("refusal"),
        "reason": g.get("refusal_reason"),
    }
    log.info("%s %s %d", line["method"], line["route"], line["status"], extra={"request": line})
    response.headers[REQUEST_ID] = events.request_id.get() or ""
    return response


def _end(_: BaseException | None) -> None:
    events.request_id.set(None)
    events.calling_client.set(None)


def _unforeseen(exc_info: Any) -> None:
    log.error("Unforeseen, at %s %s", request.method, _route(), exc_info=exc_info)


def _route() -> str:
    return request.url_rule.rule if request.url_rule else "(none)"
