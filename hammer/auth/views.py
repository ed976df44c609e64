"""One function a page.

From one page of a login to the next the browser keeps two things in a signed cookie: the id of the verification, and an invite code
that was carried along. The pages that prove a number anew, and those that change it, keep the same of their own.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, cast

from flask import Blueprint, Response, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer import accounts, codes, invites, languages, limits, login, logs, phones, sessions, tokens, verifications
from hammer.audience import Audience, guarded, public
from hammer.auth import faults, forms
from hammer.auth.show import phone as phone_number
from hammer.auth.show import told
from hammer.database import db
from hammer.models import BROWSER, Verification
from hammer.refusals import Choose, InvalidFields, Mend, NotAllowed, NotFound, Prove, Refusal, TooManyRequests, Wait
from hammer.sessions import Caller

P = ParamSpec("P")

INVITEES_A_PAGE = 20
_NEED_PROOF: Final = ("auth.number", "auth.delete")
"""Pages that go on only with a fresh code."""
_LOGIN: Final = {"enter": "auth.code", "again": "auth.resend", "other": "auth.phone"}
_PROOF: Final = {"enter": "auth.prove", "again": "auth.send_proof", "away": "auth.profile"}
_NUMBER: Final = {"enter": "auth.number_code", "again": "auth.resend_number", "other": "auth.number", "away": "auth.profile"}
"""Where the forms and links of each code page lead."""

blueprint = Blueprint("auth", __name__)


def signed_in(view: Callable[Concatenate[Caller, P], ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Hands the view whoever is signed in, and sends strangers to the phone form."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        caller = tokens.visitor()
        return view(caller, *args, **kwargs) if caller else _go("auth.phone")

    return guarded(Audience.USER, checked)


def signed_out(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Sends whoever is signed in already to their profile."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        return _go("auth.profile") if tokens.visitor() else view(*args, **kwargs)

    return guarded(Audience.PUBLIC, checked)


@blueprint.get("/")
@signed_out
def home() -> ResponseReturnValue:
    return _go("auth.phone")


@blueprint.route("/login/", methods=["GET", "POST"])
@signed_out
def phone() -> ResponseReturnValue:
    """The phone form; a code on its way, and on to the code form."""
    waiting = verifications.pending(tokens.settings(), session.get("verification", ""))
    if request.method != "POST":
        number = phones.pretty(waiting.verification.telephone_number) if waiting else ""
        return render_template("phone.html", form=forms.Phone(telephone_number=number))
    form = forms.Phone()
    typed = form.telephone_number.data or ""
    try:
        sent = login.send_code(tokens.settings(), typed, _asker())
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
    tokens.set_cookies(response, opened.session, opened.device)
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
    me = accounts.profile(tokens.settings(), caller.user_id)
    names, invite = forms.Names(obj=me), forms.Invite()
    if request.method != "POST":
        return render_template("profile.html", **_profile_page(caller, me, names, invite))
    activating = "invite_code" in request.form
    form = invite if activating else names
    try:
        if activating:
            session.pop("invite", None)
            typed = invite.invite_code.data or ""
            invites.activate(tokens.settings(), caller.user_id, typed, address=limits.address())
        else:
            accounts.rename(caller.user_id, {name: names[name].data for name in ("username", "first_name", "last_name")})
    except (Mend, Choose, Wait) as refusal:
        return _refused(refusal, form, "profile.html", **_profile_page(caller, me, names, invite))
    flash(gettext("The invite is activated.") if activating else gettext("Saved."))
    return _go("auth.profile")


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
    export = accounts.export(tokens.settings(), caller.user_id)
    stored = json.dumps(export, ensure_ascii=False, indent=2, default=datetime.isoformat)
    return Response(stored + "\n", mimetype="application/json", headers={"Content-Disposition": "attachment; filename=hammer.json"})


@blueprint.route("/profile/delete/", methods=["GET", "POST"])
@signed_in
def delete(caller: Caller) -> ResponseReturnValue:
    """Asks once more, then deletes; with a fresh code alone."""
    if request.method != "POST":
        me, fresh = accounts.profile(tokens.settings(), caller.user_id), accounts.proved_lately(caller.session_id)
        return render_template("delete.html", me=me, fresh=fresh)
    try:
        accounts.delete(tokens.settings(), caller.user_id, actor_id=caller.user_id, session_id=caller.session_id)
    except NotAllowed:
        return _go("auth.delete")
    return _goodbye(gettext("Your data is deleted."))


@blueprint.post("/profile/proof/send/")
@signed_in
def send_proof(caller: Caller) -> ResponseReturnValue:
    """A code on its way to the caller's own number, for a page that goes on only with a fresh one."""
    session["then"] = request.form.get("then", session.get("then"))
    number, asked = _proof(caller)
    try:
        asked = _send_again(asked) if asked else login.send_code(tokens.settings(), number, _asker()).verification
    except (Mend, Wait) as refusal:
        if asked is None:
            flash(told(refusal))
            return _go(_then())
        return _refused(refusal, forms.Code(), "code.html", **_waiting(asked, _PROOF))
    session["proof"] = asked.id
    return _go("auth.prove")


@blueprint.route("/profile/proof/", methods=["GET", "POST"])
@signed_in
def prove(caller: Caller) -> ResponseReturnValue:
    """The code form for that; the right code opens a new session in place of this one."""
    _, asked = _proof(caller)
    if asked is None:
        return _go(_then())
    form = forms.Code()
    if request.method != "POST":
        return render_template("code.html", form=form, **_waiting(asked, _PROOF))
    typed, door, device = form.code.data or "", BROWSER, tokens.device()
    try:
        opened = login.confirm_code(tokens.settings(), asked.id, typed, door=door, device=device, instead_of=caller.session_id)
    except (Mend, Prove, Wait) as refusal:
        return _refused(refusal, form, "code.html", **_waiting(asked, _PROOF))
    response = _go(_then())
    _forget_all_but("language", "invite")
    tokens.set_cookies(response, opened.session, opened.device)
    return response


@blueprint.route("/profile/number/", methods=["GET", "POST"])
@signed_in
def number(caller: Caller) -> ResponseReturnValue:
    """The form for another number; a code on its way there, and on to the code form."""
    me, fresh = accounts.profile(tokens.settings(), caller.user_id), accounts.proved_lately(caller.session_id)
    form = forms.Number()
    if request.method != "POST" or not fresh:
        return render_template("number.html", form=form, me=me, fresh=fresh)
    try:
        sent = _ask_number(caller, form.telephone_number.data or "")
    except (Mend, Wait) as refusal:
        return _refused(refusal, form, "number.html", me=me, fresh=fresh)
    session["number"], session["end_others"] = sent.id, form.end_other_sessions.data
    return _go("auth.number_code")


@blueprint.route("/profile/number/code/", methods=["GET", "POST"])
@signed_in
def number_code(caller: Caller) -> ResponseReturnValue:
    """The code form for that; the right code makes the number the caller's."""
    asked = _asked("number")
    if asked is None:
        return _go("auth.number")
    form = forms.Code()
    if request.method != "POST":
        return render_template("code.html", form=form, **_waiting(asked, _NUMBER))
    typed, others = form.code.data or "", bool(session.get("end_others"))
    mine = tokens.settings(), caller.user_id, caller.session_id
    try:
        accounts.change_number(*mine, asked.id, typed, end_other_sessions=others)
    except (Mend, Prove, Choose, Wait) as refusal:
        return _refused(refusal, form, "code.html", **_waiting(asked, _NUMBER))
    for key in ("number", "end_others"):
        session.pop(key, None)
    flash(gettext("Your number is %(number)s now.", number=phone_number(asked.telephone_number)))
    return _go("auth.profile")


@blueprint.post("/profile/number/resend/")
@signed_in
def resend_number(caller: Caller) -> ResponseReturnValue:
    """The same text once more, or a new code for the same number when the old one is over."""
    asked = _asked("number")
    if asked is None:
        return _go("auth.number")
    try:
        session["number"] = _send_again(asked, lambda: _ask_number(caller, asked.telephone_number)).id
    except NotAllowed:
        return _go("auth.number")
    except (Mend, Wait) as refusal:
        return _refused(refusal, forms.Code(), "code.html", **_waiting(asked, _NUMBER))
    flash(gettext("We have sent you another text."))
    return _go("auth.number_code")


@blueprint.post("/logout/")
@signed_in
def logout(caller: Caller) -> ResponseReturnValue:
    with suppress(NotFound):
        sessions.end(caller.user_id, caller.session_id)
    return _goodbye(gettext("You are signed out."))


@blueprint.get("/i/<invite_code>")
@public
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
    logs.refused(refusal)
    form.refused(refusal)
    return render_template(template, form=form, **context), faults.status(refusal), faults.headers(refusal)


def _asker() -> verifications.Asker:
    return verifications.Asker(limits.address(), languages.chosen(), tokens.device_token())


def _asked(what: str = "verification") -> Verification | None:
    """The verification that this browser asked for, which may be over; None when it asked for none, or that is long ago."""
    return db.session.get(Verification, session.get(what, ""))


def _send_again(asked: Verification, anew: Callable[[], Verification] | None = None) -> Verification:
    settings = tokens.settings()
    try:
        return login.resend_code(settings, asked.id, _asker()).verification
    except NotFound:
        return anew() if anew else login.send_code(settings, asked.telephone_number, _asker()).verification


def _ask_number(caller: Caller, typed: str) -> Verification:
    return accounts.ask_number(tokens.settings(), caller.user_id, caller.session_id, typed, _asker()).verification


def _proof(caller: Caller) -> tuple[str, Verification | None]:
    """The caller's number, and the verification of it that this browser asked for."""
    mine, asked = accounts.profile(tokens.settings(), caller.user_id).telephone_number, _asked("proof")
    return mine, asked if asked and asked.telephone_number == mine else None


def _then() -> str:
    """The page that waits for a proof."""
    then = session.get("then")
    return then if then in _NEED_PROOF else "auth.profile"


def _waiting(asked: Verification, ways: Mapping[str, str] = _LOGIN) -> dict[str, Any]:
    """What the code form shows: `sent` is None once the code is over."""
    settings = tokens.settings()
    return {
        "ways": ways,
        "number": asked.telephone_number,
        "sent": verifications.pending(settings, asked.id),
        "guesses_at_first": settings.guesses_per_code,
        "usual_length": settings.code_length,
        "demo_code": asked.code(settings.key("codes")) if settings.demo else None,
    }


def _profile_page(caller: Caller, me: accounts.Profile, names: forms.Names, invite: forms.Invite) -> dict[str, Any]:
    activated = invites.activated(caller.user_id)
    if activated or session.get("invite") == me.invite_code:
        session.pop("invite", None)
    after = request.args.get("after")
    try:
        invitees = invites.invitees(tokens.settings(), caller.user_id, limit=INVITEES_A_PAGE, after=after)
    except InvalidFields:
        after, invitees = None, invites.invitees(tokens.settings(), caller.user_id, limit=INVITEES_A_PAGE)
    return {
        "me": me,
        "names": names,
        "invite": invite,
        "activated": activated,
        "carried": session.get("invite"),
        "invitees": invitees,
        "further_down": bool(after),
        "seen_as": phones.shown(me.telephone_number, tokens.settings().invitee_numbers),
        "devices": sessions.devices(caller.user_id),
        "link": f"{tokens.settings().public_url}/i/{me.invite_code}",
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
