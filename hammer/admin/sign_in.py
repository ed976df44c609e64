"""The sign-in to the operator's pages: enrolment by link, the proof of a second factor, its confirmation, and the way out."""

import re

from flask import Response, flash, make_response, render_template, session
from flask.typing import ResponseReturnValue
from flask_babel import ngettext

from hammer.admin import forms
from hammer.admin.access import admin_only, signed_in_staff, to_place
from hammer.admin.blueprint import blueprint
from hammer.factors import staff, totp
from hammer.models import Session
from hammer.parsing import phones
from hammer.refusals import Invalid, NotAllowed, RetryLater, WrongCode
from hammer.sessions.sessions import Caller
from hammer.users import people
from hammer.web import tokens
from hammer.web.access import public
from hammer.web.pages import pictures
from hammer.web.pages.forms import Form
from hammer.web.pages.frame import ENROLMENT, form_key, go, refused, shows_only
from hammer.web.settings import settings

FEW_LEFT = 3
"""From this number of recovery codes on, the first page says how many are left."""


@blueprint.route("/sign-in/", methods=["GET", "POST"])
@signed_in_staff
def sign_in(visitor: Caller) -> ResponseReturnValue:
    """Asks for the second factor, and opens the operator's pages."""
    opened = tokens.operator()
    if opened is not None and opened.user_id == visitor.user_id:
        return to_place()
    factors = staff.factors(visitor.user_id)
    if not factors.enrolled:
        return render_template("admin/link.html", form=forms.Link()), 403
    return _ask(forms.Factor(), visitor, factors, browser_id=visitor.session_id)


@blueprint.route("/confirm/", methods=["GET", "POST"])
@admin_only()
def confirm(caller: Caller) -> ResponseReturnValue:
    """Asks for the second factor again, and leads back to the page that needs it. Opens a new session in place of this one."""
    return _ask(forms.Factor(), caller, staff.factors(caller.user_id), instead_of=caller.session_id)


@blueprint.post("/leave/")
@admin_only()
def leave(caller: Caller) -> ResponseReturnValue:
    """Ends the session of the operator's pages. The person stays signed in to their profile."""
    staff.close(caller.user_id, caller.session_id)
    response = go("auth.profile")
    tokens.clear_admin_cookie(response)
    return response


@blueprint.get("/enrol/<token>/")
@public
def enrolment_link(token: str) -> ResponseReturnValue:
    """Where an enrolment link leads. Keeps its token in this browser, and leads on without it in the address."""
    session[ENROLMENT] = _token_in(token)
    return go("admin.enrol")


@blueprint.post("/link/")
@signed_in_staff
def take_link(_: Caller) -> ResponseReturnValue:
    """Takes an enrolment link that was pasted."""
    session[ENROLMENT] = _token_in(forms.Link().link.data or "")
    return go("admin.enrol")


@blueprint.route("/enrol/", methods=["GET", "POST"])
@signed_in_staff
def enrol(visitor: Caller) -> ResponseReturnValue:
    """Enrols an authenticator app by a link. Shows recovery codes, and opens the operator's pages."""
    token = session.get(ENROLMENT, "")
    if not staff.is_good(settings(), token, visitor.user_id):
        form = forms.Link()
        form.refused(NotAllowed(staff.LINK_OVER))
        return render_template("admin/link.html", form=form), 403
    form = forms.App()
    if shows_only():
        return render_template("admin/enrol.html", form=form, **app_to_enrol(visitor))
    user_id, typed = visitor.user_id, form.code.data or ""
    try:
        opened = staff.enrol_by_link(settings(), user_id, visitor.session_id, token, typed, device=tokens.device())
    except (Invalid, NotAllowed) as refusal:
        return refused(refusal, form, "admin/enrol.html", **app_to_enrol(visitor))
    session.pop(ENROLMENT)
    response = make_response(render_template("admin/recovery.html", codes=opened.recovery_codes))
    tokens.set_admin_cookie(response, opened.session)
    return response


def app_to_enrol(caller: Caller) -> dict[str, object]:
    """What a page shows to enrol an authenticator app. The entry in the app has the masked number: apps copy it to clouds."""
    secret = staff.next_secret(settings(), caller.user_id)
    account = phones.masked(people.profile(settings(), caller.user_id).telephone_number)
    groups = re.findall(".{4}", secret)
    return {"qr": pictures.qr(totp.address(settings(), account, secret)), "secret": " ".join(groups)}


def _ask(
    form: Form, caller: Caller, factors: staff.Factors, *, browser_id: str | None = None, instead_of: str | None = None
) -> ResponseReturnValue:
    """The page that asks for a second factor; with a right code, the page that was asked for, with a new session."""
    template = "admin/confirm.html" if instead_of else "admin/sign_in.html"
    if shows_only():
        return render_template(template, form=form, factors=factors)
    try:
        opened = staff.open_by_code(
            settings(),
            caller.user_id,
            form.code.data or "",
            device=tokens.device(),
            browser_id=browser_id,
            instead_of=instead_of,
            key=form_key(caller.session_id),
        )
    except (WrongCode, RetryLater) as refusal:
        return refused(refusal, form, template, factors=factors)
    return opened_at_place(opened)


def opened_at_place(opened: Session) -> Response:
    """Leads to the page that was asked for, with the cookie of the session that was opened."""
    left = staff.factors(opened.user_id).recovery_codes
    if 0 < left <= FEW_LEFT:
        flash(ngettext("%(num)d recovery code is left.", "%(num)d recovery codes are left.", left))
    response = to_place()
    tokens.set_admin_cookie(response, opened)
    return response


def _token_in(link: str) -> str:
    """The token in a link, or the whole text. It is checked when it is used."""
    return link.strip().rstrip("/").rpartition("/")[2][:100]
