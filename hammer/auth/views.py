"""One function a page.

From one page of a login to the next the browser keeps two things in a signed cookie: the id of the verification, with that of the
one before it, and an invite code that was carried along. The pages that prove a number anew, and those that change it, keep the
same of their own. Besides, it keeps what need not be done twice (`_once`).

A form may be sent to be shown alone, in another language or because it came too late: so its page asks `only_shown`, and not
whether it was sent.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, cast

from flask import Blueprint, Response, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale, gettext

from hammer import accounts, codes, invites, languages, limits, login, logs, phones, sessions, tokens, verifications
from hammer.audience import Audience, guarded, public
from hammer.auth import faults, forms, pictures
from hammer.auth.show import phone as phone_number
from hammer.auth.show import told
from hammer.languages import say
from hammer.models import BROWSER, Verification
from hammer.refusals import (
    N_,
    AlreadyActivated,
    Choose,
    InvalidFields,
    InviteLoop,
    Mend,
    NotAllowed,
    NotFound,
    OwnInvite,
    Prove,
    Refusal,
    TooManyRequests,
    UnknownInvite,
    Wait,
)
from hammer.sessions import Caller

P = ParamSpec("P")

INVITEES_A_PAGE = 20
_NEED_PROOF: Final = ("auth.number", "auth.delete")
"""Pages that go on only with a fresh code."""
_LOGIN: Final = {"button": N_("Sign in"), "enter": "auth.code", "again": "auth.resend", "other": "auth.phone"}
_PROOF: Final = {"button": N_("Confirm"), "enter": "auth.prove", "again": "auth.send_proof", "away": "auth.profile"}
_NUMBER: Final = {
    "button": N_("Confirm"),
    "enter": "auth.number_code",
    "again": "auth.resend_number",
    "other": "auth.number",
    "away": "auth.profile",
}
"""What the button of each code page says, and where its forms and links lead."""
_TOO_OLD: Final = N_("Your last code is more than five minutes old, so nothing was done. A new one is needed first.")
_OTHER_NUMBER: Final = N_("You are signed in with another number now, so nothing was done.")
WEEKS_OF_GROWTH = 12
OTHER_LANGUAGE, TOO_LATE = "other-language", "too-late"
"""Why a form that was sent is only shown (`g.shown_alone`)."""

blueprint = Blueprint("auth", __name__)


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

    return guarded(Audience.USER, checked)


def signed_out(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Sends whoever is signed in already to their profile."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        visitor = tokens.visitor()
        return _already(visitor) if visitor else _lead_to_the_form() or view(*args, **kwargs)

    return guarded(Audience.PUBLIC, checked)


@blueprint.get("/")
@signed_out
def home() -> ResponseReturnValue:
    return _go("auth.phone")


@blueprint.route("/login/", methods=["GET", "POST"])
@signed_out
def phone() -> ResponseReturnValue:
    """The phone form; a code on its way, and on to the code form."""
    form = forms.Phone(telephone_number=_number_of(_asked()))
    if only_shown():
        return render_template("phone.html", form=form)
    typed = form.telephone_number.data or ""
    try:
        sent = login.send_code(tokens.settings(), typed, _asker(), attempt=request.form.get("csrf_token", ""))
    except (Mend, Wait) as refusal:
        if _has_its_text(refusal, typed):
            return _go("auth.code")
        return _refused(refusal, form, "phone.html")
    _remember("verification", sent.verification.id)
    return _go("auth.code")


@blueprint.route("/login/code/", methods=["GET", "POST"])
@signed_out
def code() -> ResponseReturnValue:
    """The code form; the right code signs the browser in."""
    asked = _asked()
    if asked is None:
        return _go("auth.phone")
    if _in_another_tab(asked):
        return _go("auth.code")
    form = forms.Code()
    if only_shown():
        return render_template("code.html", form=form, **_waiting(asked))
    try:
        opened = login.confirm_code(tokens.settings(), asked.id, form.code.data or "", door=BROWSER, device=tokens.device())
    except (Mend, Prove, Wait) as refusal:
        return _refused_code(refusal, asked)
    _forget_all_but("invite")
    response = _go("auth.profile")
    tokens.set_cookies(response, opened.session, opened.device)
    return response


@blueprint.route("/login/resend/", methods=["GET", "POST"])
@signed_out
def resend() -> ResponseReturnValue:
    """The same text once more, or a new code for the same number when the old one is over."""
    asked = _asked()
    if asked is None:
        return _go("auth.phone")
    if _in_another_tab(asked):
        return _go("auth.code")
    try:
        sent = _send_again(asked)
    except (Mend, Wait) as refusal:
        return _refused_code(refusal, asked)
    session["verification"] = sent.id
    return _resent(asked, sent)


@blueprint.route("/profile/", methods=["GET", "POST"])
@signed_in
def profile(caller: Caller) -> ResponseReturnValue:
    """One's own profile. Names that were typed are kept, and an invite code beside them is asked about; one alone is activated, and
    so is one that was carried along and said yes to."""
    me = accounts.profile(tokens.settings(), caller.user_id)
    names, invite = forms.Names(obj=me), forms.Invite()
    if only_shown():
        return render_template("profile.html", **_profile_page(caller, me, names, invite))
    carried = request.form.get("carried", "")
    activating = carried or ("invite_code" in request.form and not names.typed())
    form = invite if activating else names
    try:
        if activating:
            session.pop("invite", None)
            invite.invite_code.data = typed = carried or invite.invite_code.data or ""
            invites.activate(tokens.settings(), caller.user_id, typed, address=limits.address())
        else:
            _rename(caller, names)
    except (Mend, Choose, Wait) as refusal:
        if isinstance(refusal, UnknownInvite | OwnInvite | InviteLoop):
            _once("auth.profile")
        return _refused(refusal, form, "profile.html", **_profile_page(caller, me, names, invite))
    if not activating:
        return _ask(caller) if (invite.invite_code.data or "").strip() else _go("auth.profile", "about")
    flash(gettext("The invite is activated."), "activation")
    return _shown_again(caller) if names.changed() else _go("auth.profile", "activation")


@blueprint.route("/profile/invite/", methods=["GET", "POST"])
@signed_in
def ask(caller: Caller) -> ResponseReturnValue:
    """Asks before a typed invite code is activated, and looks the code up no more than the form did. Names beside it are kept."""
    if request.method != "POST":
        return _go("auth.profile")
    me = accounts.profile(tokens.settings(), caller.user_id)
    names = forms.Names(obj=me)
    if g.get("shown_alone") == TOO_LATE:  # the form is that of the profile, names and all
        return render_template("profile.html", **_profile_page(caller, me, names, forms.Invite()))
    try:
        if not only_shown():
            _rename(caller, names)
    except (Mend, Choose) as refusal:
        return _refused(refusal, names, "profile.html", **_profile_page(caller, me, names, forms.Invite()))
    return _ask(caller)


@blueprint.route("/profile/invite/decline/", methods=["GET", "POST"])
@signed_in
def decline(caller: Caller) -> ResponseReturnValue:
    """Forgets the invite code that was carried along; it can still be typed in."""
    if request.form.get("carried") in (None, session.get("invite")):  # else another one was opened since
        session.pop("invite", None)
    return _done(caller, "activation")


@blueprint.route("/profile/sessions/", methods=["GET", "POST"])
@signed_in
def end_others(caller: Caller) -> ResponseReturnValue:
    sessions.end_others(caller.user_id, caller.session_id)
    flash(gettext("All other devices are signed out."), "devices")
    return _done(caller, "devices")


@blueprint.route("/profile/sessions/<session_id>/", methods=["GET", "POST"])
@signed_in
def end(caller: Caller, session_id: str) -> ResponseReturnValue:
    try:
        sessions.end(caller.user_id, session_id)
    except NotFound:
        flash(gettext("That device is not signed in any more."), "devices")
        return _shown_again(caller), 404
    flash(gettext("The device is signed out."), "devices")
    return _done(caller, "devices")


@blueprint.get("/profile/export/")
@signed_in
def export(caller: Caller) -> ResponseReturnValue:
    """All that is stored about the caller, as a file to keep."""
    stored = accounts.export(tokens.settings(), caller.user_id)
    written = json.dumps(stored, ensure_ascii=False, indent=2, default=datetime.isoformat)
    to_keep = {"Content-Disposition": "attachment; filename=hammer.json"}
    return Response(written + "\n", mimetype="application/json", headers=to_keep)


@blueprint.route("/profile/delete/", methods=["GET", "POST"])
@signed_in
def delete(caller: Caller) -> ResponseReturnValue:
    """Asks once more, then deletes; with a fresh code alone."""
    if only_shown():
        me, fresh = accounts.profile(tokens.settings(), caller.user_id), accounts.proved_lately(caller.session_id)
        return render_template("delete.html", me=me, fresh=fresh)
    try:
        accounts.delete(tokens.settings(), caller.user_id, actor_id=caller.user_id, session_id=caller.session_id)
    except NotAllowed:
        flash(gettext(_TOO_OLD))
        return _go("auth.delete")
    return _goodbye(gettext("Your data is deleted."))


@blueprint.route("/profile/proof/send/", methods=["GET", "POST"])
@signed_in
def send_proof(caller: Caller) -> ResponseReturnValue:
    """A code on its way to the caller's own number, for a page that goes on only with a fresh one."""
    session["then"] = _then(request.form.get("then", session.get("then")))
    number, asked = _proof(caller)
    if asked and (
        ("verification" not in request.form and verifications.pending(tokens.settings(), asked.id)) or _in_another_tab(asked)
    ):
        return _go("auth.prove")
    try:
        sent = _send_again(asked) if asked else login.send_code(tokens.settings(), number, _asker()).verification
    except (Mend, Wait) as refusal:
        if asked is None:
            flash(told(refusal))
            return _go(_then())
        return _refused_code(refusal, asked, _PROOF)
    session["proof"] = sent.id
    return _resent(asked, sent, _PROOF) if asked else _go("auth.prove")


@blueprint.route("/profile/proof/", methods=["GET", "POST"])
@signed_in
def prove(caller: Caller) -> ResponseReturnValue:
    """The code form for that; the right code opens a new session in place of this one."""
    _, asked = _proof(caller)
    then = _then(request.form.get("then"))
    if asked is None:
        return _go(then)
    session["then"] = then
    if _in_another_tab(asked):
        return _go("auth.prove")
    form = forms.Code()
    if only_shown():
        return render_template("code.html", form=form, **_waiting(asked, _PROOF))
    typed, door, device = form.code.data or "", BROWSER, tokens.device()
    try:
        opened = login.confirm_code(tokens.settings(), asked.id, typed, door=door, device=device, instead_of=caller.session_id)
    except (Mend, Prove, Wait) as refusal:
        return _refused_code(refusal, asked, _PROOF)
    response = _go(_then())
    _forget_all_but("invite")
    tokens.set_cookies(response, opened.session, opened.device)
    return response


@blueprint.route("/profile/number/", methods=["GET", "POST"])
@signed_in
def number(caller: Caller) -> ResponseReturnValue:
    """The form for another number; a code on its way there, and on to the code form."""
    me, fresh = accounts.profile(tokens.settings(), caller.user_id), accounts.proved_lately(caller.session_id)
    form = forms.Number(telephone_number=_number_of(_asked("number")), end_other_sessions=bool(session.get("end_others")))
    if only_shown() or not fresh:
        if not only_shown():
            flash(gettext(_TOO_OLD))
        return render_template("number.html", form=form, me=me, fresh=fresh)
    typed = form.telephone_number.data or ""
    try:
        _remember("number", _ask_number(caller, typed).id)
    except (Mend, Wait) as refusal:
        if not _has_its_text(refusal, typed, "number"):
            return _refused(refusal, form, "number.html", me=me, fresh=fresh)
    session["end_others"] = form.end_other_sessions.data
    return _go("auth.number_code")


@blueprint.route("/profile/number/code/", methods=["GET", "POST"])
@signed_in
def number_code(caller: Caller) -> ResponseReturnValue:
    """The code form for that; the right code makes the number the caller's."""
    asked = _asked("number")
    if asked is None:
        return _go("auth.number")
    if _in_another_tab(asked):
        return _go("auth.number_code")
    form = forms.Code()
    if only_shown():
        return render_template("code.html", form=form, **_waiting(asked, _NUMBER))
    typed, others = form.code.data or "", bool(session.get("end_others"))
    mine = tokens.settings(), caller.user_id, caller.session_id
    try:
        accounts.change_number(*mine, asked.id, typed, end_other_sessions=others)
    except Choose as refusal:
        del session["number"]  # or there would be another text for it
        me, form = accounts.profile(tokens.settings(), caller.user_id), forms.Number(telephone_number=_number_of(asked))
        form.end_other_sessions.data = others
        return _refused(refusal, form, "number.html", me=me, fresh=True)
    except (Mend, Prove, Wait) as refusal:
        return _refused_code(refusal, asked, _NUMBER)
    for key in ("number", "number-before", "end_others"):
        session.pop(key, None)
    flash(gettext("Your number is %(number)s now.", number=phone_number(asked.telephone_number)), "about")
    return _go("auth.profile", "about")


@blueprint.route("/profile/number/resend/", methods=["GET", "POST"])
@signed_in
def resend_number(caller: Caller) -> ResponseReturnValue:
    """The same text once more, or a new code for the same number when the old one is over."""
    asked = _asked("number")
    if asked is None:
        return _go("auth.number")
    if _in_another_tab(asked):
        return _go("auth.number_code")
    try:
        sent = _send_again(asked, lambda: _ask_number(caller, asked.telephone_number))
    except NotAllowed:
        flash(gettext(_TOO_OLD))
        return _go("auth.number")
    except (Mend, Wait) as refusal:
        return _refused_code(refusal, asked, _NUMBER)
    session["number"] = sent.id
    return _resent(asked, sent, _NUMBER)


@blueprint.post("/logout/")
@signed_in
def logout(caller: Caller) -> ResponseReturnValue:
    with suppress(NotFound):
        sessions.end(caller.user_id, caller.session_id)
    return _goodbye(gettext("You are signed out."), "invite")


@blueprint.get("/i/<invite_code>")
@public
def landing(invite_code: str) -> ResponseReturnValue:
    """Where an invite link leads. Changes nothing and tells nothing: whether the code exists is said after the login."""
    read, visitor = codes.read_invite_code(invite_code), tokens.visitor()
    own = bool(visitor and read == accounts.profile(tokens.settings(), visitor.user_id).invite_code)
    if read and not own:
        session["invite"] = read
    activated = visitor is not None and invites.activated(visitor.user_id) is not None
    return render_template("landing.html", code=read, own=own, visitor=visitor, activated=activated), 200 if read else 404


@blueprint.before_request
def _spend_nothing_twice() -> ResponseReturnValue | None:
    """Leads on from a form that is sent again as it was, as by reloading what it was answered, when that has cost something."""
    mark, endpoint = session.get("once", ("", ""))
    return _go(endpoint) if request.method == "POST" and mark == _mark() else None


@blueprint.after_request
def _keep_to_oneself(response: Response) -> Response:
    if g.get("shown_alone") == TOO_LATE and response.status_code == 200:
        response.status_code = 403
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.app_context_processor
def _for_every_page() -> dict[str, Any]:
    # The visitor is known where a view has asked; an error page must not ask a database that may be gone.
    return {
        "example": phones.example(tokens.settings().region),
        "here": faults.here,
        "language": languages.chosen(),
        "languages": languages.names(),
        "direction": get_locale().text_direction,
        "invitee_numbers": tokens.settings().invitee_numbers,
        "too_late": g.get("shown_alone") == TOO_LATE,
        "public_url": tokens.settings().public_url,
        "visitor": g.get("visitor"),
        "whose": whose(g.visitor) if g.get("visitor") else "",
    }


def whose(caller: Caller) -> str:
    """The mark that a form carries of whoever it was shown to. Names nobody."""
    return tokens.settings().keyed_hash("forms", caller.user_id)


def _of_somebody_else(caller: Caller) -> Response | None:
    """Away from a form that was shown to another person, who has signed out in this browser since."""
    if request.form.get("whose", mine := whose(caller)) == mine:
        return None
    flash(gettext(_OTHER_NUMBER))
    return _go("auth.profile")


def _already(visitor: Caller) -> Response:
    """To the profile; with a word to whoever wanted to sign in with another number and would take it for theirs."""
    asked = verifications.find(request.form.get("verification", ""))
    typed = request.form.get("telephone_number", "")
    meant = asked.telephone_number if asked else phones.canonical(typed, region=tokens.settings().region)
    if meant and meant != accounts.profile(tokens.settings(), visitor.user_id).telephone_number:
        flash(gettext(_OTHER_NUMBER))
    return _go("auth.profile")


def _nobody() -> Response:
    if request.method == "POST" and request.endpoint != "auth.logout":
        flash(gettext("You are not signed in here any more, so nothing was done. Please sign in and do it once more."))
    return _go("auth.phone")


def _lead_to_the_form() -> Response | None:
    """From an address that only answers a form and was opened by itself, as out of the line where addresses stand."""
    return _go(faults.SENT_FROM[request.endpoint]) if request.method != "POST" and request.endpoint in faults.SENT_FROM else None


def _go(endpoint: str, place: str | None = None) -> Response:
    return cast(Response, redirect(url_for(endpoint, _anchor=place), 303))


def _once(endpoint: str) -> None:
    """Remembers that this form, with its token and all that was typed, has cost something and need not do so again."""
    session["once"] = _mark(), endpoint


def _mark() -> str:
    sent = request.path, sorted(request.form.items(multi=True))
    return tokens.settings().keyed_hash("forms", repr(sent))


def _refused(refusal: Refusal, form: forms.Form, template: str, **context: Any) -> ResponseReturnValue:
    """The same page again with what was typed, and why it was not enough."""
    logs.refused(refusal)
    form.refused(refusal)
    return render_template(template, form=form, **context), faults.status(refusal), faults.headers(refusal)


def _refused_code(refusal: Refusal, asked: Verification, ways: Mapping[str, str] = _LOGIN) -> ResponseReturnValue:
    if isinstance(refusal, Prove):
        _once(ways["enter"])
    return _refused(refusal, forms.Code(), "code.html", **_waiting(asked, ways))


def _resent(asked: Verification, sent: Verification, ways: Mapping[str, str] = _LOGIN) -> ResponseReturnValue:
    """The code form after another text; with the digits that were typed meanwhile, if they are still those of the code."""
    flash(gettext("We have sent you another text."))
    form = forms.Code()
    if not form.code.data or sent.id != asked.id:
        return _go(ways["enter"])
    _once(ways["enter"])
    return render_template("code.html", form=form, **_waiting(sent, ways))


def _ask(caller: Caller) -> ResponseReturnValue:
    """The question before a code is activated; the profile, where what was typed cannot be."""
    me, invite = accounts.profile(tokens.settings(), caller.user_id), forms.Invite()
    try:
        code = invites.meant(invite.invite_code.data or "", me.activated_invite_code)
    except (Mend, Choose) as refusal:
        names = forms.Names(obj=me)
        names.saved = not only_shown()
        return _refused(refusal, invite, "profile.html", **_profile_page(caller, me, names, invite))
    return render_template("activate.html", code=code, seen_as=_seen_as(me))


def _rename(caller: Caller, names: forms.Names) -> None:
    """Changes those names that were changed in the form, which may be older than what another tab has saved."""
    changed = names.changed()
    if changed:
        accounts.rename(caller.user_id, changed)
    if changed or request.endpoint == "auth.profile":
        flash(gettext("Saved."), "about")


def _done(caller: Caller, place: str) -> ResponseReturnValue:
    """The profile after a deed of its form; what is typed there and not yet saved stays."""
    names, invite = forms.Names(obj=accounts.profile(tokens.settings(), caller.user_id)), forms.Invite()
    return _shown_again(caller) if names.changed() or invite.invite_code.data else _go("auth.profile", place)


def _shown_again(caller: Caller) -> str:
    """The profile with what was typed into it."""
    me = accounts.profile(tokens.settings(), caller.user_id)
    return render_template("profile.html", **_profile_page(caller, me, forms.Names(obj=me), forms.Invite()))


def _asker() -> verifications.Asker:
    return verifications.Asker(limits.address(), languages.chosen(), tokens.device_token())


def _asked(what: str = "verification") -> Verification | None:
    """The verification that this browser asked for, which may be over; None when it asked for none, or that is long ago."""
    return verifications.find(session.get(what, ""))


def _in_another_tab(asked: Verification) -> bool:
    """Whether the form that was sent is that of an older code, and says so: a newer one was asked for since."""
    if request.form.get("verification", asked.id) == asked.id:
        return False
    flash(gettext("Another code was asked for in another tab. Here is the form for that one."))
    return True


def _has_its_text(refusal: Refusal, typed: str, what: str = "verification") -> bool:
    """Whether somebody went back and pressed the button again: the text that they have is still good."""
    number = phones.canonical(typed, region=tokens.settings().region)
    for last in (what, f"{what}-before") if isinstance(refusal, TooManyRequests) else ():
        waiting = verifications.pending(tokens.settings(), session.get(last, ""))
        if waiting is not None and waiting.verification.telephone_number == number:
            _remember(what, waiting.verification.id)
            return True
    return False


def _remember(what: str, verification_id: str) -> None:
    """The verification that was asked for last, and the one before it, for whoever goes back to their first number."""
    if session.get(what, verification_id) != verification_id:
        session[f"{what}-before"] = session[what]
    session[what] = verification_id


def _number_of(asked: Verification | None) -> str:
    return phones.pretty(asked.telephone_number) if asked else ""


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


def _then(wished: str | None = None) -> str:
    """The page that waits for a proof."""
    then = wished or session.get("then")
    return then if then in _NEED_PROOF else "auth.profile"


def _waiting(asked: Verification, ways: Mapping[str, str] = _LOGIN) -> dict[str, Any]:
    """What the code form shows: `sent` is None once the code is over."""
    settings = tokens.settings()
    return {
        "ways": ways,
        "asked": asked.id,
        "number": asked.telephone_number,
        "sent": verifications.pending(settings, asked.id),
        "guesses_at_first": settings.guesses_per_code,
        "usual_length": settings.code_length,
        "then": _then() if ways is _PROOF else None,
        "demo_code": asked.code(settings.key("codes")) if settings.demo else None,
    }


def _profile_page(caller: Caller, me: accounts.Profile, names: forms.Names, invite: forms.Invite) -> dict[str, Any]:
    activated = invites.activated(caller.user_id)
    in_vain = _carried_in_vain(me.invite_code, activated[0] if activated else None)
    link = f"{tokens.settings().public_url}/i/{me.invite_code}"
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
        "in_vain": in_vain,
        "invitees": invitees,
        "place": after,
        "seen_as": _seen_as(me),
        "devices": sessions.devices(caller.user_id),
        "link": link,
        "qr": pictures.qr(link),
        "growth": pictures.growth(me.invite_count, invites.by_week(caller.user_id, WEEKS_OF_GROWTH)),
    }


def _carried_in_vain(own: str, activated: str | None) -> str | None:
    """Why the invite code that was carried along is of no use to the owner of the code `own`, and forgotten now; None when it may
    be, or was the one that they activated."""
    if activated is None and session.get("invite") != own:
        return None
    carried = session.pop("invite", None)
    if carried == own:
        return say(OwnInvite())
    return say(AlreadyActivated()) if carried not in (None, activated) else None


def _goodbye(word: str, *kept: str) -> Response:
    _forget_all_but(*kept)
    flash(word)
    response = _go("auth.phone")
    tokens.clear_cookie(response)
    return response


def _forget_all_but(*kept: str) -> None:
    """Leaves nothing of the login in the signed cookie; the form tokens of before are void."""
    for key in set(session) - set(kept):
        del session[key]


def _seen_as(me: accounts.Profile) -> str | None:
    """How the owner of an invite code will see the number of this person, who is told so before."""
    return phones.shown(me.telephone_number, tokens.settings().invitee_numbers)
