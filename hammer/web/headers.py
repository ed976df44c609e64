"""Security headers of every answer, including errors and files, and the check of the `Host` header."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest
from werkzeug.sansio.utils import host_is_trusted

from config import is_local
from hammer.web.settings import settings

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
"""A header that a view has set stays: the policy of the pages with documents, and the caching of files."""
_CALLERS: Final = ("X-Forwarded-For", "X-Real-IP")
"""Headers in which proxies name the caller."""
HSTS: Final = "max-age=31536000; includeSubDomains"


def init_app(app: Flask) -> None:
    """Adds the headers to every answer, and refuses requests for hosts other than that of `HAMMER_PUBLIC_URL`.

    Development also accepts loopback and private addresses. In demo mode at a local public address, callers from outside are
    refused whatever host they name, so that they see no codes if the server can be reached from the internet by mistake.
    """
    app.after_request(_protect)
    app.wsgi_app = _without_impossible_hosts(app.wsgi_app)  # type: ignore[method-assign,assignment]
    ours = settings(app)
    if ours.env != "testing":
        host = urlsplit(ours.public_url).hostname or ""
        app.before_request(lambda: _refuse_other_hosts(host, ours.env == "development"))
        if ours.demo and ours.local:
            app.before_request(_refuse_strangers)


def _without_impossible_hosts(serve: "WSGIApplication") -> "WSGIApplication":
    """Replaces a host that is impossible in the DNS (an empty label, or one of more than 63 letters) by an empty one, which is
    refused. With the original host, Flask could build no address, not even on the error page."""

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
    if settings().https:  # browsers ignore it over http (RFC 6797 §8.1)
        response.headers["Strict-Transport-Security"] = HSTS
    return response


def _refuse_other_hosts(ours: str, local_too: bool) -> None:
    # Monitoring uses the address of the process, and the answers of these routes name no host.
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
    # The `Host` header proves nothing: callers choose it, and nginx sends its own address unless configured otherwise. Callers
    # cannot choose the address that they connect from, and a forged header can only add a reason to refuse them.
    named = [request.remote_addr or "", *(entry for name in _CALLERS for entry in request.headers.get(name, "").split(","))]
    callers = [entry for entry in map(str.strip, named) if entry]
    if request.blueprint != "health" and not all(map(_is_local, callers)):
        log.warning("Refused a caller from outside: demo mode is on, and HAMMER_PUBLIC_URL is a local address.")
        raise BadRequest


def _is_local(caller: str) -> bool:
    bare_ipv6 = caller.count(":") > 1 and "[" not in caller
    return is_local(f"//[{caller}]" if bare_ipv6 else f"//{caller}")
