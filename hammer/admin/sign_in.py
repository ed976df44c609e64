"""The sign-in to the operator's pages: enrolment by link, the proof of a second factor, its confirmation, and the way out."""

import re

from flask import Response, flash, make_response, render_template, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext

from hammer.admin import forms
from hammer.admin.access import admin_only, signed_in_staff, to_place
from hammer.admin.blueprint import blueprint
from hammer.admin.people import SEARCHES
from hammer.factors import passkeys, staff, totp
from hammer.models import Session
from hammer.parsing import phones
from hammer.refusals import Invalid, InvalidFields, NotAllowed, RetryLater, WrongCode
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
    session.pop(SEARCHES, None)
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
    """Enrols an authenticator app or a passkey by a link. Shows recovery codes, and opens the operator's pages."""
    token = session.get(ENROLMENT, "")
    if not staff.is_good(settings(), token, visitor.user_id):
        form = forms.Link()
        form.refused(NotAllowed(staff.LINK_OVER))
        return render_template("admin/link.html", form=form), 403
    form = forms.App()
    if shows_only():
        return render_template("admin/enrol.html", form=form, **to_enrol(visitor))
    ids, device = (visitor.user_id, visitor.session_id, token), tokens.device()
    try:
        if form.passkey.data:
            opened = passkeys.enrol_by_link(settings(), *ids, form.passkey.data, passkey_name(), device=device)
        else:
            opened = staff.enrol_by_link(settings(), *ids, form.code.data or "", device=device)
    except (Invalid, NotAllowed) as refusal:
        return refused(refusal, form, "admin/enrol.html", **to_enrol(visitor))
    session.pop(ENROLMENT)
    response = make_response(render_template("admin/recovery.html", codes=opened.recovery_codes))
    tokens.set_admin_cookie(response, opened.session)
    return response


def to_enrol(caller: Caller) -> dict[str, object]:
    """What a page shows to enrol an authenticator app or a passkey."""
    return app_to_enrol(caller) | {"options": passkeys.options_to_add(settings(), caller.user_id, caller.session_id)}


def passkey_name() -> str:
    """The name of a new passkey until its owner chooses another one: the device."""
    return tokens.device() or gettext("Passkey")


def app_to_enrol(caller: Caller) -> dict[str, object]:
    """What a page shows to enrol an authenticator app. The entry in the app has the masked number: apps copy it to clouds."""
    secret = staff.next_secret(settings(), caller.user_id)
    account = phones.masked(people.profile(settings(), caller.user_id).telephone_number)
    groups = re.findall(".{4}", secret)
    return {"qr": pictures.qr(totp.address(settings(), account, secret)), "secret": " ".join(groups)}


def _ask(
    form: Form, caller: Caller, factors: staff.Factors, *, browser_id: str | None = None, instead_of: str | None = None
) -> ResponseReturnValue:
    """The page that asks for a second factor; with a right one, the page that was asked for, with a new session."""
    template, user_id = "admin/confirm.html" if instead_of else "admin/sign_in.html", caller.user_id
    shown = {"factors": factors, "options": passkeys.options_to_prove(settings(), caller.session_id), "unknown": None}
    if shows_only():
        return render_template(template, form=form, **shown)
    answer, device, where = form.passkey.data, tokens.device(), {"browser_id": browser_id, "instead_of": instead_of}
    try:
        if answer:
            opened = passkeys.open_by_passkey(settings(), user_id, answer, device=device, **where)
        else:
            typed, key = form.code.data or "", form_key(caller.session_id)
            opened = staff.open_by_code(settings(), user_id, typed, key=key, device=device, **where)
    except InvalidFields as refusal:
        if passkeys.UNKNOWN in refusal.errors.get("passkey", ()):
            shown["unknown"] = passkeys.unknown(settings(), answer)
        return refused(refusal, form, template, **shown)
    except (WrongCode, RetryLater) as refusal:
        return refused(refusal, form, template, **shown)
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
