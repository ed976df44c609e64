"""What operators read about a server of an app that cannot be posted to: why, and what to do. The operator's pages translate it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from hammer.outgoing.post import Fault, Outcome
from hammer.refusals import N_

SECONDS: Final = 3
"""How long `doctor` waits for one server, or for the addresses of one host."""

_START: Final = N_("Start the app, or open its port to this machine.")
OF_CONNECTION: Final[Mapping[Fault, tuple[str, str]]] = {
    Fault.REFUSED: (
        N_("Hammer may not post to it"),
        N_("Use https:// and a public host, or name the host in HAMMER_WEBHOOK_HOSTS."),
    ),
    Fault.RESOLVE: (N_("its host has no address"), N_("Correct the host, or let this machine look it up.")),
    Fault.TLS: (
        N_("it has no certificate that this machine trusts"),
        N_("Give it one for its host name, of an authority that is known here."),
    ),
    Fault.CONNECT: ("it accepts no connection", _START),
    Fault.ANSWER: ("it accepts no connection", _START),
    Fault.TIMEOUT: (f"it accepts no connection within {SECONDS} seconds", _START),
}
"""Where a connection was tried and nothing was posted."""

_LOG: Final = N_("Look at the log of the app.")
_OF_POST: Final[Mapping[Fault, tuple[str, str]]] = {
    Fault.CONNECT: (N_("it accepts no connection, or closes it without an answer"), _START),
    Fault.ANSWER: (N_("its answer is not HTTP, or has too long headers"), N_("Check the port, and what else listens there.")),
    Fault.TIMEOUT: (N_("its answer was not complete in time"), N_("Let the app answer first, and work on the event after that.")),
}
_OF_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    HTTPStatus.UNAUTHORIZED: (
        N_("it refuses the signature or wants credentials"),
        N_("Give the app the secret that begins with whsec_."),
    ),
    HTTPStatus.FORBIDDEN: (N_("it refuses the signature, or something before the app refuses the post"), _LOG),
    HTTPStatus.NOT_FOUND: (N_("it has no such path"), N_("Correct the path of the URL.")),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        N_("its path takes no POST"),
        N_("Correct the path of the URL, or let the app take POST there."),
    ),
    HTTPStatus.GONE: (
        N_("it says that it is gone, which disables it at the next event"),
        N_("Remove the endpoint, or mend the app."),
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (N_("it limits how often it is called"), N_("Exempt Hammer from the limit.")),
}


def of_post(outcome: Outcome) -> tuple[str, str]:
    """Why a post was not accepted, and what to do about it."""
    if outcome.fault:
        return _OF_POST.get(outcome.fault) or OF_CONNECTION[outcome.fault]
    status = outcome.status or 0
    if status in _OF_STATUS:
        return _OF_STATUS[status]
    if status // 100 == 3:
        return N_("it redirects, and redirects are not followed"), N_("Give the endpoint the URL to which it leads.")
    return (N_("the app failed") if status >= HTTPStatus.INTERNAL_SERVER_ERROR else N_("it does not accept the post")), _LOG
