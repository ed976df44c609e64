"""The frame of every page: who is let in, by which key a form that is sent twice is known again, and how a page says no.

A form may be sent to be shown alone, in another language or because it came too late: so its page asks `only_shown`, and not
whether it was sent.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from flask import Blueprint, Response, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale, gettext

from hammer.login import verifications
from hammer.parsing import phones
from hammer.quotas import idempotency
from hammer.refusals import N_, Refusal
from hammer.sessions.sessions import Caller
from hammer.users import people
from hammer.web import languages, logs, tokens
from hammer.web.access import Access, guarded
from hammer.web.pages import errors, forms
from hammer.web.settings import settings
from hammer.web.statuses import status_of

P = ParamSpec("P")
View = TypeVar("View", bound=Callable[..., ResponseReturnValue])

OTHER_LANGUAGE, TOO_LATE = "other-language", "too-late"
"""Why a form that was sent is only shown (`g.shown_alone`)."""
TOO_OLD: Final = N_("Your last code is more than five minutes old, so nothing was done. A new one is needed first.")
_OTHER_NUMBER: Final = N_("You are signed in with another number now, so nothing was done.")


def only_shown() -> bool:
    """Whether the page is to be shown and nothing done; what was typed into its form, if it was sent, stays there."""
    return request.method != "POST" or "shown_alone" in g


def signed_in(view: Callable[Concatenate[Caller, P], ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Hands the view whoever is signed in, and sends strangers to the phone form."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        caller = tokens.visitor()
        if caller is None:
            return _nobody()
        return _of_somebody_else(caller) or _lead_to_the_form() or view(caller, *args, **kwargs)

    return guarded(Access.USER, checked)


def leads_on(done: Callable[[idempotency.Key], ResponseReturnValue | None]) -> Callable[[View], View]:
    """For a form that ends the session that sent it: if its answer was lost and it is sent again, the answer is that of `done`.
    Stands above `signed_in`, which would take its sender for a stranger."""

    def decorate(view: View) -> View:
        @wraps(view)
        def led(*args: Any, **kwargs: Any) -> ResponseReturnValue:
            sent_by = None if only_shown() or tokens.visitor() else tokens.session_shown()
            return (sent_by and done(form_key(sent_by))) or view(*args, **kwargs)

        return cast(View, led)

    return decorate


def signed_out(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Sends whoever is signed in already to their profile."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        visitor = tokens.visitor()
        return _already(visitor) if visitor else _lead_to_the_form() or view(*args, **kwargs)

    return guarded(Access.PUBLIC, checked)


def frame(blueprint: Blueprint) -> None:
    """Makes the views of `blueprint` pages: no cache keeps them, and a form that came too late is answered with 403."""
    blueprint.after_request(_keep_to_oneself)


def _keep_to_oneself(response: Response) -> Response:
    if g.get("shown_alone") == TOO_LATE and response.status_code == 200:
        response.status_code = 403
    response.headers["Cache-Control"] = "no-store"
    return response


def context() -> dict[str, Any]:
    """What every template can use. The visitor is known only where a view has asked for them: an error page must not ask a database
    that may be down."""
    visitor = g.get("visitor")
    return {
        "example": phones.example(settings().region),
        "here": errors.here,
        "language": languages.chosen(),
        "languages": languages.names(),
        "demo": settings().demo,
        "direction": get_locale().text_direction,
        "invitee_numbers": settings().invitee_numbers,
        "too_late": g.get("shown_alone") == TOO_LATE,
        "public_url": settings().public_url,
        "visitor": visitor,
        "whose": whose(visitor) if visitor else "",
    }


def whose(caller: Caller) -> str:
    """The mark that a form carries of whoever it was shown to. Names nobody."""
    return settings().keyed_hash("forms", caller.user_id)


def _of_somebody_else(caller: Caller) -> Response | None:
    """Away from a form that was shown to another person, who has signed out in this browser since."""
    if request.form.get("whose", mine := whose(caller)) == mine:
        return None
    flash(gettext(_OTHER_NUMBER))
    return go("auth.profile")


def _already(visitor: Caller) -> Response:
    """To the profile; with a word to whoever wanted to sign in with another number and would take it for theirs."""
    asked = verifications.find(request.form.get("verification", ""))
    typed = request.form.get("telephone_number", "")
    meant = asked.telephone_number if asked else phones.canonical(settings(), typed)
    if meant and meant != people.profile(settings(), visitor.user_id).telephone_number:
        flash(gettext(_OTHER_NUMBER))
    return go("auth.profile")


def _nobody() -> Response:
    """To the phone form; with a word to whoever sent something that they would take for done."""
    if request.method == "POST" and request.endpoint != "auth.logout":
        flash(gettext("You are not signed in here any more, so nothing was done. Please sign in and do it once more."))
    return go("auth.phone")


def _lead_to_the_form() -> Response | None:
    """From an address that only answers a form and was opened by itself, as out of the line where addresses stand."""
    return go(errors.SENT_FROM[request.endpoint]) if request.method != "POST" and request.endpoint in errors.SENT_FROM else None


def go(endpoint: str, place: str | None = None) -> Response:
    """On to a page, by GET whatever was sent (RFC 9110 §15.4.4), and to a place on it."""
    return cast(Response, redirect(url_for(endpoint, _anchor=place), 303))


def form_key(caller: str = "", *about: str) -> idempotency.Key:
    """The idempotency key of the form that was sent: its browser, its token, and all that was typed, with what else it is `about`.
    `caller` is the session that sent it."""
    sent = session.get("csrf_token"), sorted(request.form.items(multi=True)), about
    lifetime = idempotency.FORM_LIFETIME
    return idempotency.made(settings(), repr(sent), call=request.path, caller=caller, lifetime=lifetime)


def refused(refusal: Refusal, form: forms.Form, template: str, **context: Any) -> ResponseReturnValue:
    """The same page again with what was typed, and why it was not enough."""
    logs.refused(refusal)
    form.refused(refusal)
    return render_template(template, form=form, **context), status_of(type(refusal)), errors.headers(refusal)


def forget_all_but(*kept: str) -> None:
    """Leaves nothing of the login in the signed cookie; the form tokens of before are void."""
    for key in set(session) - set(kept):
        del session[key]
