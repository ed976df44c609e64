"""The log: a line for each request and for whatever else is worth telling; JSON in production, words in development.

No path, query, header or body stands in it, since numbers, codes and tokens stand in those: a request is told by the route it took,
and a person by their id. Whatever reaches a line all the same is masked, and cannot begin a line of its own.
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
from flask import Flask, Response, current_app, g, request

from hammer import events
from hammer.refusals import Refusal

REQUEST_ID: Final = "X-Request-ID"
_SOMEBODYS_ID: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_NUMBERS_AND_TOKENS: Final = re.compile(r"\+\d{6,}|\d{10,}|(?=[\w.-]*\d)[\w.-]{40,}")
_IN_FAULTS: Final = re.compile(r"\+?\d[\d ().-]{2,}\d|(?=[\w.-]*\d)[\w.-]{20,}")
"""Drivers and libraries put values into what they say of a fault, so there short codes and ids are masked too."""
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_OF_SERVERS: Final = re.compile(r" - - \[|^Invalid request from|^(\x1b\[\d+m)?Press CTRL\+C")
_SERVED: Final = re.compile(r"^ \* Running on (http\S+)", re.MULTILINE)

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Tells of every request of `app`, and silences servers, who would tell of it with its path."""
    name = app.config["SETTINGS"].env
    if name != "testing":
        _write(ForMachines() if name == "production" else ForPeople())
    logging.getLogger("hammer").setLevel(logging.INFO)
    if app.config["SETTINGS"].demo and _serves():
        _warn_of_demo_mode()
    for server in ("werkzeug", "gunicorn.error"):
        logging.getLogger(server).addFilter(_is_no_request)
    app.log_exception = _unforeseen  # type: ignore[method-assign]
    app.before_request(_begin)
    app.after_request(_tell)
    app.teardown_request(_end)


def _serves() -> bool:
    """Whether this process serves or carries texts; other commands are over before a person signs in."""
    command = click.get_current_context(silent=True)
    return command is None or command.info_name in ("run", "worker")


@cache
def _warn_of_demo_mode() -> None:
    """Once in a process."""
    log.warning("Demo mode is on (HAMMER_DEMO): codes are shown to everyone.")


def refused(refusal: Refusal) -> None:
    """Notes for the line of this request what was refused."""
    g.refusal = refusal.slug


class ForMachines(logging.Formatter):
    """One JSON object a line, in ASCII, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        line = _fields(record) | getattr(record, "request", {})
        if record.exc_info and record.exc_info[1]:
            line["trace"] = _trace(record.exc_info[1])
        return json.dumps(line)


class ForPeople(logging.Formatter):
    """A sentence a line; the trace of a fault below it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        more = {name: value for name, value in getattr(record, "request", {}).items() if name in ("duration_ms", "refusal")}
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


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": _NUMBERS_AND_TOKENS.sub("…", _COLOUR.sub("", record.getMessage())),
        "request_id": events.request_id.get(),
    }


def _trace(fault: BaseException) -> str:
    before = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    told = _IN_FAULTS.sub("…", _one_line(str(fault)))
    own = "".join(traceback.format_tb(fault.__traceback__)) + f"{type(fault).__name__}: {told}"
    return f"{_trace(before)}\nand then\n{own}" if before else own


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _is_no_request(record: logging.LogRecord) -> bool:
    if record.msg.startswith("Error handling request"):  # gunicorn's own last resort goes on with the path
        record.msg, record.args = "Error handling a request", ()
    said = record.getMessage()
    if served := _SERVED.findall(said):  # Flask's own words for it are a paragraph, of which a line would keep the beginning
        record.msg, record.args = f"Open {served[0]} in a browser. Ctrl+C ends the server.", ()
    return not _OF_SERVERS.search(said)


def _begin() -> None:
    g.began = time.perf_counter()
    given = request.headers.get(REQUEST_ID, "") if current_app.config["SETTINGS"].proxy_hops else ""
    events.request_id.set(given if _SOMEBODYS_ID.fullmatch(given) else secrets.token_hex(16))


def _tell(response: Response) -> Response:
    caller = g.get("bearer") or g.get("visitor")
    told = {
        "method": request.method,
        "route": _route(),
        "status": int(response.status[:3]),
        "duration_ms": round((time.perf_counter() - g.began) * 1000, 1),
        "user_id": caller.user_id if caller else None,
        "refusal": g.get("refusal"),
    }
    _line(told)
    response.headers[REQUEST_ID] = events.request_id.get() or ""
    return response


def _line(told: dict[str, Any]) -> None:
    # As `log.info` does it, without a look through the stack for a line number that nobody is told.
    words = (told["method"], told["route"], told["status"])
    if log.isEnabledFor(logging.INFO):
        log.handle(log.makeRecord(log.name, logging.INFO, "", 0, "%s %s %d", words, None, extra={"request": told}))


def _end(_: BaseException | None) -> None:
    events.request_id.set(None)


def _unforeseen(exc_info: Any) -> None:
    log.error("Unforeseen, at %s %s", request.method, _route(), exc_info=exc_info)


def _route() -> str:
    return request.url_rule.rule if request.url_rule else "(none)"
