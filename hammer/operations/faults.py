"""What operators read about a server of an app that cannot be posted to: why, and what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from hammer.outgoing.post import Fault, Outcome

SECONDS: Final = 3
"""How long `doctor` waits for one server, or for the addresses of one host."""

_START: Final = "Start the app, or open its port to this machine."
OF_CONNECTION: Final[Mapping[Fault, tuple[str, str]]] = {
    Fault.REFUSED: ("Hammer may not post to it", "Use https:// and a public host, or name the host in HAMMER_WEBHOOK_HOSTS."),
    Fault.RESOLVE: ("its host has no address", "Correct the host, or let this machine look it up."),
    Fault.TLS: (
        "it has no certificate that this machine trusts",
        "Give it one for its host name, of an authority that is known here.",
    ),
    Fault.CONNECT: ("it accepts no connection", _START),
    Fault.ANSWER: ("it accepts no connection", _START),
    Fault.TIMEOUT: (f"it accepts no connection within {SECONDS} seconds", _START),
}
"""Where a connection was tried and nothing was posted."""

_LOG: Final = "Look at the log of the app."
_OF_POST: Final[Mapping[Fault, tuple[str, str]]] = {
    Fault.CONNECT: ("it accepts no connection, or closes it without an answer", _START),
    Fault.ANSWER: ("its answer is not HTTP, or has too long headers", "Check the port, and what else listens there."),
    Fault.TIMEOUT: ("its answer was not complete in time", "Let the app answer first, and work on the event after that."),
}
_OF_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    HTTPStatus.UNAUTHORIZED: ("it refuses the signature or wants credentials", "Give the app the secret that begins with whsec_."),
    HTTPStatus.FORBIDDEN: ("it refuses the signature, or something before the app refuses the post", _LOG),
    HTTPStatus.NOT_FOUND: ("it has no such path", "Correct the path of the URL."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("its path takes no POST", "Correct the path of the URL, or let the app take POST there."),
    HTTPStatus.GONE: ("it says that it is gone, which disables it at the next event", "Remove the endpoint, or mend the app."),
    HTTPStatus.TOO_MANY_REQUESTS: ("it limits how often it is called", "Exempt Hammer from the limit."),
}


def of_post(outcome: Outcome) -> tuple[str, str]:
    """Why a post was not accepted, and what to do about it."""
    if outcome.fault:
        return _OF_POST.get(outcome.fault) or OF_CONNECTION[outcome.fault]
    status = outcome.status or 0
    if status in _OF_STATUS:
        return _OF_STATUS[status]
    if status // 100 == 3:
        return "it redirects, and redirects are not followed", "Give the endpoint the URL to which it leads."
    return ("the app failed" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "it does not accept the post"), _LOG
