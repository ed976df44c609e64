"""Error pages. Each says what happened and what to do next."""

import logging
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext
from flask_wtf.csrf import CSRFError
from jinja2 import TemplateError
from markupsafe import escape
from werkzeug.exceptions import HTTPException

from hammer.refusals import N_, Conflict, Invalid, Refusal, RetryLater, Unauthenticated
from hammer.web.languages import say
from hammer.web.pages import forms
from hammer.web.pages.filters import retry
from hammer.web.settings import settings
from hammer.web.statuses import status_of

log = logging.getLogger(__name__)

_EXPIRED: Final = (
    N_("The form has expired"),
    N_("It was open for too long, or you signed in or out meanwhile. Open it anew and send it once more."),
)
_NO_COOKIES: Final = (
    N_("It looks as if your browser blocks cookies"),
    N_("Without cookies we cannot keep you signed in. Allow them for this site, or open it in another browser."),
)
_SENTENCES: Final = {
    400: (N_("We could not read this request"), N_("Go back and try once more.")),
    403: (
        N_("You cannot open this page"),
        N_("If you think that you should be able to, please write to whoever runs this service."),
    ),
    404: (N_("There is no such page"), N_("The address may be mistyped, or what was here is gone.")),
    405: (N_("This page cannot be opened like that"), N_("Please start from the home page.")),
    413: (N_("That is too much at once"), N_("Go back and send something shorter.")),
    429: (N_("Too many tries in a row"), N_("Please wait a little and try again.")),
    500: (N_("Something broke on our side"), N_("It is not your fault, and it is in our log. Please try again in a few minutes.")),
    503: (N_("We are busy right now"), N_("Nothing is lost. Please try again in a moment.")),
}
_FILE_TOO_LARGE: Final = (
    N_("This file is too large"),
    N_("It may have 256 kB at most. Split it, or use the command line."),
)
_BUTTONS: Final = {number: N_("Back to the form") for number in (400, 413)} | {
    number: N_("Try again") for number in (429, 500, 503)
}
_OURS_TO_MEND: Final = (403, 500, 503)
"""Statuses whose page links to `HAMMER_SUPPORT`: there is nothing else that the person could do."""

FORM_PAGES: Final = {
    "auth.resend": "auth.code",
    "auth.resend_number": "auth.number_code",
    "auth.send_proof": "auth.prove",
    "auth.decline": "auth.profile",
    "auth.end": "auth.profile",
    "auth.end_others": "auth.profile",
    "auth.end_app": "auth.profile",
    "auth.forget_app": "auth.profile",
    "admin.take_link": "admin.enrol",
}
"""Endpoints that only take a form -> the endpoint of the page with that form. The page is shown when the form must only be shown
again, and when the address is opened by GET."""


ASKED_IN_ADDRESS: Final = {"sign_in.authorize", "sign_in.logout"}
"""Endpoints that are nothing without the parameters in their address."""


def headers(refusal: Refusal) -> dict[str, str]:
    """`Retry-After` (RFC 9110 §10.2.3) when waiting helps."""
    return {"Retry-After": str(refusal.retry_after)} if isinstance(refusal, RetryLater) else {}


def error_page(error: Exception) -> Response:
    """The error page: what happened, what to do, and one button. Does not query the database, which may be what failed.

    When the phone form was sent without cookies, the page shows that form instead of the button, with the number that was typed.
    """
    number, kept = 500, {"Cache-Control": "no-store"}
    if isinstance(error, Refusal):
        number = status_of(type(error))
        kept |= headers(error)
    elif isinstance(error, HTTPException):
        number = 403 if isinstance(error, CSRFError) else error.code or 500
        kept |= {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    what, then = _sentences(error, number)
    label, way_on = gettext(N_("To the home page")), url_for("auth.home")
    if number in _BUTTONS or isinstance(error, CSRFError):
        label, way_on = gettext(_BUTTONS.get(number, _BUTTONS[400])), here()
    form = forms.Phone() if _without_cookies(error) and request.endpoint == "auth.phone" else None
    write_to = settings().support if number in _OURS_TO_MEND and not isinstance(error, CSRFError) else ""
    try:
        page = render_template("error.html", what=what, then=then, label=label, way_on=way_on, form=form, write_to=write_to)
    except TemplateError:  # of the operator: an error page in the same frame would break at the same place
        log.exception("A template of HAMMER_TEMPLATES is broken.")
        return Response(f"{what}\n{escape(then).striptags()}\n", number, kept, mimetype="text/plain")
    return make_response(page, number, kept)


def _without_cookies(error: Exception) -> bool:
    return isinstance(error, CSRFError) and not request.cookies


def _sentences(error: Exception, number: int) -> tuple[str, str]:
    """What happened, and what to do."""
    what, then = _SENTENCES.get(number) or _SENTENCES[500 if number >= 500 else 400]
    if isinstance(error, CSRFError):
        what, then = _NO_COOKIES if _without_cookies(error) else _EXPIRED
    if number == 413 and request.endpoint == "admin.import_":
        what, then = _FILE_TOO_LARGE
    if isinstance(error, RetryLater):
        return gettext(what), retry(error.retry_after)
    if isinstance(error, Invalid | Unauthenticated | Conflict):
        return say(error), gettext(then)
    return gettext(what), gettext(then)


def here(**query: Any) -> str:
    """The address that opens this page again; the first page when this one cannot be opened by a link."""
    rule = request.url_rule
    if rule is None or "GET" not in (rule.methods or ()):
        return url_for("auth.home", **query)
    if rule.endpoint in FORM_PAGES:
        return url_for(FORM_PAGES[rule.endpoint], **query)
    if rule.endpoint in ASKED_IN_ADDRESS:
        return this_page([*request.args.items(multi=True)], **query)
    return url_for(rule.endpoint, **(request.view_args or {}), **query)


def this_page(sent: Sequence[tuple[str, str]], **query: str) -> str:
    """The address of this page with the parameters that were `sent`. Not by `url_for`, in which some names have a meaning of their
    own."""
    others = [(name, value) for name, value in sent if name not in query]
    return f"{request.path}?{urlencode([*others, *query.items()])}"
