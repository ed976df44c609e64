"""One function a page.

From one page of a login to the next the browser keeps two things in a signed cookie: the id of the verification, and an invite code
that was carried along.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from flask import Blueprint, Response, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer import accounts, codes, invites, languages, login, phones, sessions, tokens
from hammer.auth import faults, forms, pictures
from hammer.database import db
from hammer.models import BROWSER, Verification
from hammer.refusals import AlreadyActivated, Choose, InvalidFields, Mend, NotFound, Prove, Refusal, TooManyRequests, Wait
from hammer.sessions import Caller

P = ParamSpec("P")

INVITEES_A_PAGE = 20
WEEKS_OF_GROWTH = 12

blueprint = Blueprint("auth", __name__)


def signed_in(view: Callable[Concatenate[Caller, P], ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Hands the view whoever is signed in, and sends strangers to the phone form."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        caller = tokens.visitor()
        return view(caller, *args, **kwargs) if caller else _go("auth.phone")

    return guarded


def signed_out(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Sends whoever is signed in already to their profile."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        return _go("auth.profile") if tokens.visitor() else view(*args, **kwargs)

    return guarded


@blueprint.get("/")
@signed_out
def home() -> ResponseReturnValue:
    return _go("auth.phone")


@blueprint.route("/login/", methods=["GET", "POST"])
@signed_out
def phone() -> ResponseReturnValue:
    """The phone form; a code on its way, and on to the code form."""
    waiting = login.pending(tokens.settings(), session.get("verification", ""))
    if request.method != "POST":
        number = phones.pretty(waiting.verification.telephone_number) if waiting else ""
        return render_template("phone.html", form=forms.Phone(telephone_number=number))
    form = forms.Phone()
    typed = form.telephone_number.data or ""
    try:
        sent = login.send_code(tokens.settings(), typed, language=languages.chosen())
    except (Mend, Wait) as refusal:
        number = phones.canonical(typed, region=tokens.settings().region) or ""
        if isinstance(refusal, TooManyRequests) and waiting and waiting.verification.telephone_number == number:
            return _go("auth.code")  # went back and pressed the button again: the text they have is still good
        return _refused(refusal, form, "phone.html")
    session["verification"] = sent.verification.id
    return _go("auth.code")


@blueprint.route("/login/code/", methods=["GET", "POST"])
@signed_out
def code() -> ResponseReturnValue:
    """The code form; the right code signs the browser in."""
    asked = _asked()
    if asked is None:
        return _go("auth.phone")
    form = forms.Code()
    if request.method != "POST":
        return render_template("code.html", form=form, **_waiting(asked))
    try:
        opened = login.confirm_code(tokens.settings(), asked.id, form.code.data or "", door=BROWSER, device=tokens.device())
    except (Mend, Prove, Wait) as refusal:
        return _refused(refusal, form, "code.html", **_waiting(asked))
    _forget_all_but("language", "invite")
    response = _go("auth.profile")
    tokens.set_cookie(response, opened.session)
    return response


@blueprint.post("/login/resend/")
@signed_out
def resend() -> ResponseReturnValue:
    """The same text once more, or a new code for the same number when the old one is over."""
    asked = _asked()
    if asked is None:
        return _go("auth.phone")
    try:
        session["verification"] = _send_again(asked).id
    except (Mend, Wait) as refusal:
        return _refused(refusal, forms.Code(), "code.html", **_waiting(asked))
    flash(gettext("We have sent you another text."))
    return _go("auth.code")


@blueprint.route("/profile/", methods=["GET", "POST"])
@signed_in
def profile(caller: Caller) -> ResponseReturnValue:
    """One's own profile. A sent `invite_code` is activated; without one, names are changed."""
    me = accounts.profile(caller.user_id)
    names, invite = forms.Names(obj=me), forms.Invite()
    if request.method != "POST":
        return render_template("profile.html", **_profile_page(caller, me, names, invite))
    activating = "invite_code" in request.form
    form = invite if activating else names
    try:
        if activating:
            session.pop("invite", None)
            invites.activate(caller.user_id, invite.invite_code.data)
        else:
            accounts.rename(caller.user_id, {name: names[name].data for name in ("username", "first_name", "last_name")})
    except (Mend, Choose, Wait) as refusal:
        return _refused(refusal, form, "profile.html", **_profile_page(caller, me, names, invite))
    flash(gettext("The invite is activated.") if activating else gettext("Saved."))
    return _go("auth.profile")


@blueprint.post("/profile/invite/")
@signed_in
def ask(caller: Caller) -> ResponseReturnValue:
    """Asks before a typed invite code is activated; changes nothing, and looks the code up no more than the form did."""
    me, invite = accounts.profile(caller.user_id), forms.Invite()
    code = codes.read_invite_code(invite.invite_code.data or "")
    try:
        if me.activated_invite_code not in (None, code):
            raise AlreadyActivated
        if code is None:
            raise InvalidFields({"invite_code": [invites.NOT_A_CODE]})
    except (Mend, Choose) as refusal:
        return _refused(refusal, invite, "profile.html", **_profile_page(caller, me, forms.Names(obj=me), invite))
    return render_template("activate.html", code=code, me=me)


@blueprint.post("/profile/invite/decline/")
@signed_in
def decline(_: Caller) -> ResponseReturnValue:
    """Forgets the invite code that was carried along; it can still be typed in."""
    session.pop("invite", None)
    return _go("auth.profile")


@blueprint.post("/profile/sessions/")
@signed_in
def end_others(caller: Caller) -> ResponseReturnValue:
    sessions.end_others(caller.user_id, caller.session_id)
    flash(gettext("All other devices are signed out."))
    return _go("auth.profile")


@blueprint.post("/profile/sessions/<session_id>/")
@signed_in
def end(caller: Caller, session_id: str) -> ResponseReturnValue:
    sessions.end(caller.user_id, session_id)
    flash(gettext("The device is signed out."))
    return _go("auth.profile")


@blueprint.get("/profile/export/")
@signed_in
def export(caller: Caller) -> ResponseReturnValue:
    """All that is stored about the caller, as a file to keep."""
    stored = json.dumps(accounts.export(caller.user_id), ensure_ascii=False, indent=2, default=datetime.isoformat)
    return Response(stored + "\n", mimetype="application/json", headers={"Content-Disposition": "attachment; filename=hammer.json"})


@blueprint.route("/profile/delete/", methods=["GET", "POST"])
@signed_in
def delete(caller: Caller) -> ResponseReturnValue:
    """Asks once more, then deletes."""
    if request.method != "POST":
        return render_template("delete.html", me=accounts.profile(caller.user_id))
    accounts.delete(caller.user_id)
    return _goodbye(gettext("Your data is deleted."))


@blueprint.post("/logout/")
@signed_in
def logout(caller: Caller) -> ResponseReturnValue:
    with suppress(NotFound):
        sessions.end(caller.user_id, caller.session_id)
    return _goodbye(gettext("You are signed out."))


@blueprint.get("/i/<invite_code>")
def landing(invite_code: str) -> ResponseReturnValue:
    """Where an invite link leads. Changes nothing and tells nothing: whether the code exists is said after the login."""
    read = codes.read_invite_code(invite_code)
    if read:
        session["invite"] = read
    return render_template("landing.html", code=read, visitor=tokens.visitor()), 200 if read else 404


@blueprint.after_request
def _keep_to_oneself(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.app_context_processor
def _for_every_page() -> dict[str, Any]:
    # The visitor is known where a view has asked; an error page must not ask a database that may be gone.
    return {
        "here": faults.here,
        "language": languages.chosen(),
        "languages": languages.LANGUAGES,
        "public_url": tokens.settings().public_url,
        "visitor": g.get("visitor"),
    }


def _go(endpoint: str) -> Response:
    return cast(Response, redirect(url_for(endpoint), 303))


def _refused(refusal: Refusal, form: forms.Form, template: str, **context: Any) -> ResponseReturnValue:
    """The same page again with what was typed, and why it was not enough."""
    form.refused(refusal)
    return render_template(template, form=form, **context), faults.status(refusal), faults.headers(refusal)


def _asked() -> Verification | None:
    """The verification that this browser asked for, which may be over; None when it asked for none, or that is long ago."""
    return db.session.get(Verification, session.get("verification", ""))


def _send_again(asked: Verification) -> Verification:
    settings = tokens.settings()
    try:
        return login.resend_code(settings, asked.id).verification
    except NotFound:
        return login.send_code(settings, asked.telephone_number, language=languages.chosen()).verification


def _waiting(asked: Verification) -> dict[str, Any]:
    """What the code form shows: `sent` is None once the code is over."""
    settings = tokens.settings()
    return {
        "number": asked.telephone_number,
        "sent": login.pending(settings, asked.id),
        "guesses_at_first": settings.guesses_per_code,
        "demo_code": asked.code(settings.key("codes")) if settings.demo else None,
    }


def _profile_page(caller: Caller, me: accounts.Profile, names: forms.Names, invite: forms.Invite) -> dict[str, Any]:
    activated = invites.activated(caller.user_id)
    if activated or session.get("invite") == me.invite_code:
        session.pop("invite", None)
    link = f"{tokens.settings().public_url}/i/{me.invite_code}"
    after = request.args.get("after")
    try:
        invitees = invites.invitees(caller.user_id, limit=INVITEES_A_PAGE, after=after)
    except InvalidFields:
        after, invitees = None, invites.invitees(caller.user_id, limit=INVITEES_A_PAGE)
    return {
        "me": me,
        "names": names,
        "invite": invite,
        "activated": activated,
        "carried": session.get("invite"),
        "invitees": invitees,
        "further_down": bool(after),
        "devices": sessions.devices(caller.user_id),
        "link": link,
        "qr": pictures.qr(link),
        "growth": pictures.growth(me.invite_count, invites.by_week(caller.user_id, WEEKS_OF_GROWTH)),
    }


def _goodbye(word: str) -> Response:
    _forget_all_but("language")
    flash(word)
    response = _go("auth.phone")
    tokens.clear_cookie(response)
    return response


def _forget_all_but(*kept: str) -> None:
    """Leaves nothing of the login in the signed cookie; the form tokens of before are void."""
    for key in set(session) - set(kept):
        del session[key]
