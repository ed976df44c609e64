"""What the views of all pages share: guards, the idempotency keys of forms, and how a page shows a refusal.

A form that was sent is sometimes only shown again: when the person changes the language, when it came too late, and when staff must
confirm first that it is them. So a view asks `shows_only`, not whether the method is POST.
"""

from collections.abc import Callable
from datetime import timedelta
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
from hammer.web import branding, languages, logs, tokens
from hammer.web.access import Access, guarded
from hammer.web.pages import apps, errors, forms
from hammer.web.settings import settings
from hammer.web.statuses import status_of

P = ParamSpec("P")
View = TypeVar("View", bound=Callable[..., ResponseReturnValue])

OTHER_LANGUAGE, TOO_LATE, UNPROVED = "other-language", "too-late", "unproved"
"""Why a form that was sent is only shown again (`g.shows_only`)."""
AFTER_SIGN_IN: Final = "after_sign_in"
"""The key in the signed cookie of the endpoint that a sign-in of staff leads to, where a page asked for it."""
ENROLMENT: Final = "enrolment"
"""The key in the signed cookie of the token of an enrolment link that was opened in this browser."""
REFUSED: Final = "refused"
"""The category of a message for the next page that says why something was not done."""
PROOF_TOO_OLD: Final = N_("Nothing was changed. Confirm your number again first: your last code is more than five minutes old.")
NOTHING_DONE: Final = N_("You are not signed in here any more, so nothing was done. Please sign in and do it once more.")
_OTHER_NUMBER: Final = N_("You are signed in with another number now, so nothing was done.")


def shows_only() -> bool:
    """Whether the view must show its page and change nothing. What was typed into a form that was sent stays in it."""
    return request.method != "POST" or "shows_only" in g


def signed_in(view: Callable[Concatenate[Caller, P], ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Guards a view: passes it the caller who is signed in, and leads everyone else to the phone form."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        caller = tokens.visitor()
        if caller is None:
            return _to_phone_form()
        if is_of_another_user(caller):
            flash(gettext(_OTHER_NUMBER), REFUSED)
            return go("auth.profile")
        return _to_form_page() or view(caller, *args, **kwargs)

    return guarded(Access.USER, checked)


def answers_repeats(done: Callable[[idempotency.Key], ResponseReturnValue | None]) -> Callable[[View], View]:
    """For a form that ends the session that sent it. When its answer was lost and it is sent again, `done` answers.

    Must be the decorator above `signed_in`, which would lead the sender to the phone form.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> ResponseReturnValue:
            sent_by = None if shows_only() or tokens.visitor() else tokens.session_id_in_cookie()
            return (sent_by and done(form_key(sent_by))) or view(*args, **kwargs)

        return cast(View, checked)

    return decorate


def signed_out(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Guards a view for people who are signed out: leads those who are signed in to their profile, or on to
    the app that they are signing in to."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        visitor = tokens.visitor()
        return _past_sign_in(visitor) if visitor else _to_form_page() or view(*args, **kwargs)

    return guarded(Access.PUBLIC, checked)


def frame(blueprint: Blueprint) -> None:
    """Makes pages of the views of `blueprint`: no cache stores them, and a form that came too late, or needs a newer proof, gets
    status 403."""
    blueprint.after_request(_complete)


def _complete(response: Response) -> Response:
    if g.get("shows_only") in (TOO_LATE, UNPROVED) and response.status_code == 200:
        response.status_code = 403
    response.headers["Cache-Control"] = "no-store"
    return response


def context() -> dict[str, Any]:
    """The variables of every template.

    `visitor` is set only when a guard has looked for one: an error page must not query a database that may be down.
    """
    visitor = g.get("visitor")
    return {
        "app": apps.shown(),
        "example": phones.example(settings().region),
        "here": errors.here,
        "language": languages.chosen(),
        "languages": languages.names(),
        "brand": branding.brand(),
        "links": branding.links(languages.chosen()),
        "demo": settings().demo,
        "direction": get_locale().text_direction,
        "kept_for": retention_times(),
        "invitee_numbers": settings().invitee_numbers,
        "too_late": g.get("shows_only") == TOO_LATE,
        "public_url": settings().public_url,
        "visitor": visitor,
        "owner_mark": owner_mark(visitor) if visitor else "",
    }


def retention_times() -> dict[str, timedelta]:
    """How long data are kept that pages speak of."""
    ours = settings()
    return {
        "texts": ours.texts_kept,
        "sessions": ours.sessions_kept,
        "webhook_log": ours.webhook_log_kept,
        "events": ours.events_kept,
    }


def owner_mark(caller: Caller) -> str:
    """A keyed hash of the user. Each form holds that of the user it was shown to, in its hidden field `whose`."""
    return settings().keyed_hash("forms", caller.user_id)


def is_of_another_user(caller: Caller) -> bool:
    """Whether the form that was sent was shown to another user, who has signed out in this browser since."""
    mine = settings().keyed_hashes("forms", caller.user_id)
    return request.form.get("whose", mine[0]) not in mine


def _past_sign_in(visitor: Caller) -> Response:
    return go(apps.CONTINUE) if apps.current_id() else _to_profile(visitor)


def _to_profile(visitor: Caller) -> Response:
    """Leads to the profile. Says so when the form was to sign in with another number, whose profile the person expects."""
    asked = verifications.find(request.form.get("verification", ""))
    typed = request.form.get("telephone_number", "")
    meant = asked.telephone_number if asked else phones.canonical(settings(), typed)
    if meant and meant != people.profile(settings(), visitor.user_id).telephone_number:
        flash(gettext(_OTHER_NUMBER), REFUSED)
    return go("auth.profile")


def _to_phone_form() -> Response:
    """Leads to the phone form. After a sent form it says that nothing was done: the person would expect otherwise."""
    if request.method == "POST" and request.endpoint != "auth.logout":
        flash(gettext(NOTHING_DONE), REFUSED)
    return go("auth.phone")


def _to_form_page() -> Response | None:
    """Leads from an address that only takes a form, when it was opened by GET, to the page with that form."""
    return go(errors.FORM_PAGES[request.endpoint]) if request.method != "POST" and request.endpoint in errors.FORM_PAGES else None


def go(endpoint: str, place: str | None = None) -> Response:
    """Redirects to a page, always by GET (RFC 9110 §15.4.4), and to the element with the id `place` on it."""
    return cast(Response, redirect(url_for(endpoint, _anchor=place), 303))


def form_key(caller: str = "", *about: str) -> idempotency.Key:
    """The idempotency key of the form that was sent: made of its token, of all its fields, and of what else it is `about`.

    `caller` is the id of the session that sent it.
    """
    sent = session.get("csrf_token"), sorted(request.form.items(multi=True)), about
    lifetime = idempotency.FORM_LIFETIME
    return idempotency.make_key(settings(), repr(sent), call=request.path, caller=caller, lifetime=lifetime)


def refused(refusal: Refusal, form: forms.Form, template: str, **context: Any) -> ResponseReturnValue:
    """The same page again, with what was typed and with the refusal at its field."""
    logs.refused(refusal.slug)
    form.refused(refusal)
    return render_template(template, form=form, **context), status_of(type(refusal)), errors.headers(refusal)


def forget_all_but(*kept: str) -> None:
    """Removes everything else from the signed cookie. This also voids the form tokens that were issued before."""
    for key in set(session) - set(kept):
        del session[key]
