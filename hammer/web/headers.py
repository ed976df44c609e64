"""What every answer says to browsers, errors and files included, and the one host that we answer for."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import BadRequest
from werkzeug.sansio.utils import host_is_trusted

from config import Settings, is_local

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "otp-credentials=(self), camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Where a view has set one of its own, that one stands: the documents' policy, and what may be kept of files."""
_CALLERS: Final = ("X-Forwarded-For", "X-Real-IP")
"""Where proxies write whom they speak for."""
HTTPS_ALONE: Final = "max-age=31536000; includeSubDomains"


def init_app(app: Flask) -> None:
    """Adds the headers to every answer, and refuses requests for other hosts than that of `HAMMER_PUBLIC_URL`.

    Development also answers for loopback and private addresses. Where it is served to strangers by mistake, they see no codes: in
    demo mode at a local public address, callers from elsewhere are refused whatever host they name.
    """
    app.after_request(_protect)
    app.wsgi_app = _without_impossible_hosts(app.wsgi_app)  # type: ignore[method-assign,assignment]
    settings: Settings = app.config["SETTINGS"]
    if settings.env != "testing":
        ours = urlsplit(settings.public_url).hostname or ""
        app.before_request(lambda: _refuse_other_hosts(ours, settings.env == "development"))
        if settings.demo and settings.local:
            app.before_request(_refuse_strangers)


def _without_impossible_hosts(serve: "WSGIApplication") -> "WSGIApplication":
    """Reads a host that cannot be in the DNS (an empty label, or one of more than 63 letters) as an empty one, which is refused.
    For the host itself Flask could build no address, not even on the page that says so."""

    def served(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        try:
            environ.get("HTTP_HOST", "").partition(":")[0].encode("idna")
        except UnicodeError:
            environ["HTTP_HOST"] = ""
        return serve(environ, start_response)

    return served


def _protect(response: Response) -> Response:
    set_already = {name for name, _ in response.headers}
    for name, value in HEADERS.items():
        if name not in set_already:
            response.headers.add(name, value)
    if current_app.config["SETTINGS"].https:  # over http browsers have to ignore it (RFC 6797 §8.1)
        response.headers["Strict-Transport-Security"] = HTTPS_ALONE
    return response


def _refuse_other_hosts(ours: str, local_too: bool) -> None:
    # Those who watch over the process ask by its address; their answers name no host.
    host = request.host.lower()
    if host == ours or request.blueprint == "health" or host_is_trusted(host, [ours]):
        return
    if not local_too:
        raise BadRequest
    if not is_local(f"//{host}"):
        log.warning(
            "Refused a request for a host that is neither that of HAMMER_PUBLIC_URL nor of this machine or a private network."
        )
        raise BadRequest


def _refuse_strangers() -> None:
    # Callers choose their `Host`, and nginx passes its own address on unless it is configured otherwise. They do not choose where
    # they connect from, and a header that they invent only gets them refused.
    written = [request.remote_addr or "", *(entry for name in _CALLERS for entry in request.headers.get(name, "").split(","))]
    callers = [entry for entry in map(str.strip, written) if entry]
    if request.blueprint != "health" and not all(map(_is_near, callers)):
        log.warning("Refused a caller from outside: demo mode is on, and HAMMER_PUBLIC_URL is a local address.")
        raise BadRequest


def _is_near(caller: str) -> bool:
    bare_ipv6 = caller.count(":") > 1 and "[" not in caller
    return is_local(f"//[{caller}]" if bare_ipv6 else f"//{caller}")
