"""Pages that text a code and take it: to sign in, to prove one's number anew, to have another number. One function a page.

From one page of a login to the next the browser keeps two things in a signed cookie: the id of the verification, with that of the
one before it, and the invite codes that were carried along. The pages that prove a number anew, and those that change it, keep the
same of their own.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import flash, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from markupsafe import Markup

from hammer.auth import carried, forms
from hammer.auth.blueprint import blueprint
from hammer.login import by_code, verifications
from hammer.models import SessionKind, Verification
from hammer.parsing import phones
from hammer.quotas import idempotency
from hammer.refusals import N_, Conflict, Invalid, NotAllowed, NotFound, Refusal, RetryLater, TooManyRequests, Unauthenticated
from hammer.sessions.sessions import Caller
from hammer.users import accounts, people
from hammer.web import languages, request_limits, tokens
from hammer.web.pages.filters import phone as phone_number
from hammer.web.pages.filters import strong, told
from hammer.web.pages.forms import Phone
from hammer.web.pages.frame import (
    TOO_OLD,
    forget_all_but,
    form_key,
    go,
    leads_on,
    only_shown,
    refused,
    signed_in,
    signed_out,
)
from hammer.web.settings import settings

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


@blueprint.get("/")
@signed_out
def home() -> ResponseReturnValue:
    return go("auth.phone")


@blueprint.route("/login/", methods=["GET", "POST"])
@signed_out
def phone() -> ResponseReturnValue:
    """The phone form; a code on its way, and on to the code form."""
    form = Phone(telephone_number=_number_of(_asked()))
    if only_shown():
        return render_template("phone.html", form=form)
    typed = form.telephone_number.data or ""
    try:
        sent = by_code.send_code(settings(), typed, _asker(), key=form_key())
    except (Invalid, RetryLater) as refusal:
        if _has_its_text(refusal, typed):
            return go("auth.code")
        return refused(refusal, form, "phone.html")
    _remember("verification", sent.verification.id)
    return go("auth.code")


@blueprint.route("/login/code/", methods=["GET", "POST"])
@signed_out
def code() -> ResponseReturnValue:
    """The code form; the right code signs the browser in."""
    asked = _asked()
    if asked is None:
        return go("auth.phone")
    if _in_another_tab(asked):
        return go("auth.code")
    form = forms.Code()
    if only_shown():
        return render_template("code.html", form=form, **_waiting(asked))
    try:
        opened = _confirm(asked, form.code.data or "", form_key("", asked.id))
    except (Invalid, Unauthenticated, RetryLater) as refusal:
        return _refused_code(refusal, asked)
    forget_all_but(carried.KEY)
    response = go("auth.profile")
    tokens.set_cookies(response, opened.session, opened.device)
    return response


@blueprint.route("/login/resend/", methods=["GET", "POST"])
@signed_out
def resend() -> ResponseReturnValue:
    """The same text once more, or a new code for the same number when the old one is over."""
    asked = _asked()
    if asked is None:
        return go("auth.phone")
    if _in_another_tab(asked):
        return go("auth.code")
    try:
        sent = _send_again(asked, form_key("", asked.id))
    except (Invalid, RetryLater) as refusal:
        return _refused_code(refusal, asked)
    session["verification"] = sent.id
    return _resent(asked, sent)


@blueprint.route("/profile/proof/send/", methods=["GET", "POST"])
@signed_in
def send_proof(caller: Caller) -> ResponseReturnValue:
    """A code on its way to the caller's own number, for a page that goes on only with a fresh one."""
    session["then"] = _then(request.form.get("then", session.get("then")))
    number, asked = _proof(caller)
    if asked and (("verification" not in request.form and verifications.pending(settings(), asked.id)) or _in_another_tab(asked)):
        return go("auth.prove")
    try:
        key = form_key(caller.session_id, asked.id if asked else "")
        sent = _send_again(asked, key) if asked else _ask_stored(number, key)
    except (Invalid, RetryLater) as refusal:
        if asked is None:
            flash(told(refusal))
            return go(_then())
        return _refused_code(refusal, asked, _PROOF)
    session["proof"] = sent.id
    return _resent(asked, sent, _PROOF) if asked else go("auth.prove")


def _proved_before(key: idempotency.Key) -> ResponseReturnValue | None:
    opened = by_code.signed_in_before(key)
    return _lead_to_what_waits(opened) if opened else None


@blueprint.route("/profile/proof/", methods=["GET", "POST"])
@leads_on(_proved_before)
@signed_in
def prove(caller: Caller) -> ResponseReturnValue:
    """The code form for that; the right code opens a new session in place of this one."""
    _, asked = _proof(caller)
    then = _then(request.form.get("then"))
    if asked is None:
        return go(then)
    session["then"] = then
    if _in_another_tab(asked):
        return go("auth.prove")
    form = forms.Code()
    if only_shown():
        return render_template("code.html", form=form, **_waiting(asked, _PROOF))
    try:
        opened = _confirm(asked, form.code.data or "", form_key(caller.session_id), instead_of=caller.session_id)
    except (Invalid, Unauthenticated, RetryLater) as refusal:
        return _refused_code(refusal, asked, _PROOF)
    return _lead_to_what_waits(opened)


def _lead_to_what_waits(opened: by_code.SignedIn) -> ResponseReturnValue:
    response = go(_then(request.form.get("then")))
    forget_all_but(carried.KEY)
    tokens.set_cookies(response, opened.session, opened.device)
    return response


@blueprint.route("/profile/number/", methods=["GET", "POST"])
@signed_in
def number(caller: Caller) -> ResponseReturnValue:
    """The form for another number; a code on its way there, and on to the code form."""
    me, fresh = people.profile(settings(), caller.user_id), accounts.proved_lately(caller.session_id)
    form = forms.Number(telephone_number=_number_of(_asked("number")), end_other_sessions=bool(session.get("end_others")))
    if only_shown() or not fresh:
        if not only_shown():
            flash(gettext(TOO_OLD))
        return render_template("number.html", form=form, me=me, fresh=fresh)
    typed = form.telephone_number.data or ""
    try:
        _remember("number", _ask_number(caller, typed, form_key(caller.session_id)).id)
    except (Invalid, RetryLater) as refusal:
        if not _has_its_text(refusal, typed, "number"):
            return refused(refusal, form, "number.html", me=me, fresh=fresh)
    session["end_others"] = form.end_other_sessions.data
    return go("auth.number_code")


@blueprint.route("/profile/number/code/", methods=["GET", "POST"])
@signed_in
def number_code(caller: Caller) -> ResponseReturnValue:
    """The code form for that; the right code makes the number the caller's."""
    asked = _asked("number")
    if asked is None:
        return go("auth.number")
    if _in_another_tab(asked):
        return go("auth.number_code")
    form = forms.Code()
    if only_shown():
        return render_template("code.html", form=form, **_waiting(asked, _NUMBER))
    typed, others = form.code.data or "", bool(session.get("end_others"))
    mine = settings(), caller.user_id, caller.session_id
    same_form = form_key(caller.session_id, asked.id)
    try:
        accounts.change_number(*mine, asked.id, typed, end_other_sessions=others, key=same_form)
    except Conflict as refusal:
        del session["number"]  # or there would be another text for it
        me, form = people.profile(settings(), caller.user_id), forms.Number(telephone_number=_number_of(asked))
        form.end_other_sessions.data = others
        return refused(refusal, form, "number.html", me=me, fresh=True)
    except (Invalid, Unauthenticated, RetryLater) as refusal:
        return _refused_code(refusal, asked, _NUMBER)
    for key in ("number", "number-before", "end_others"):
        session.pop(key, None)
    number_now = strong(phone_number(asked.telephone_number))
    flash(Markup(gettext("Your number is %(number)s now.")) % {"number": number_now}, "about")  # noqa: S704  # our own sentence
    return go("auth.profile", "about")


@blueprint.route("/profile/number/resend/", methods=["GET", "POST"])
@signed_in
def resend_number(caller: Caller) -> ResponseReturnValue:
    """The same text once more, or a new code for the same number when the old one is over."""
    asked = _asked("number")
    if asked is None:
        return go("auth.number")
    if _in_another_tab(asked):
        return go("auth.number_code")
    try:
        key = form_key(caller.session_id, asked.id)
        sent = _send_again(asked, key, lambda: _ask_number(caller, asked.telephone_number, key))
    except NotAllowed:
        flash(gettext(TOO_OLD))
        return go("auth.number")
    except (Invalid, RetryLater) as refusal:
        return _refused_code(refusal, asked, _NUMBER)
    session["number"] = sent.id
    return _resent(asked, sent, _NUMBER)


def _refused_code(refusal: Refusal, asked: Verification, ways: Mapping[str, str] = _LOGIN) -> ResponseReturnValue:
    return refused(refusal, forms.Code(), "code.html", **_waiting(asked, ways))


def _resent(asked: Verification, sent: Verification, ways: Mapping[str, str] = _LOGIN) -> ResponseReturnValue:
    """The code form after another text; with the digits that were typed meanwhile, if they are still those of the code."""
    if verifications.pending(settings(), sent.id) is None:  # the form was sent again, long after
        return go(ways["enter"])
    flash(gettext("We have sent you another text."))
    form = forms.Code()
    if not form.code.data or sent.id != asked.id:
        return go(ways["enter"])
    return render_template("code.html", form=form, **_waiting(sent, ways))


def _waiting(asked: Verification, ways: Mapping[str, str] = _LOGIN) -> dict[str, Any]:
    """What the code form shows: `sent` is None once the code is over."""
    return {
        "ways": ways,
        "asked": asked.id,
        "number": asked.telephone_number,
        "sent": verifications.pending(settings(), asked.id),
        "guesses_at_first": settings().guesses_per_code,
        "usual_length": settings().code_length,
        "then": _then() if ways is _PROOF else None,
        "demo_code": asked.code(settings().key("codes")) if settings().demo else None,
    }


def _confirm(asked: Verification, typed: str, key: idempotency.Key, *, instead_of: str | None = None) -> by_code.SignedIn:
    return by_code.confirm_code(
        settings(),
        asked.id,
        typed,
        kind=SessionKind.BROWSER,
        device=tokens.device(),
        address=request_limits.address(),
        instead_of=instead_of,
        key=key,
    )


def _asker() -> verifications.Asker:
    return verifications.Asker(request_limits.address(), languages.chosen(), tokens.device_token())


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
    number = phones.canonical(settings(), typed)
    for last in (what, f"{what}-before") if isinstance(refusal, TooManyRequests) else ():
        waiting = verifications.pending(settings(), session.get(last, ""))
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


def _send_again(asked: Verification, key: idempotency.Key, ask: Callable[[], Verification] | None = None) -> Verification:
    try:
        return by_code.resend_code(settings(), asked.id, _asker(), key=key).verification
    except NotFound:
        return ask() if ask else _ask_stored(asked.telephone_number, key)


def _ask_stored(number: str, key: idempotency.Key) -> Verification:
    return by_code.send_code_to_stored(settings(), number, _asker(), key=key).verification


def _ask_number(caller: Caller, typed: str, key: idempotency.Key) -> Verification:
    return accounts.ask_number(settings(), caller.user_id, caller.session_id, typed, _asker(), key=key).verification


def _proof(caller: Caller) -> tuple[str, Verification | None]:
    """The caller's number, and the verification of it that this browser asked for."""
    mine, asked = people.profile(settings(), caller.user_id).telephone_number, _asked("proof")
    return mine, asked if asked and asked.telephone_number == mine else None


def _then(wished: str | None = None) -> str:
    """The page that waits for a proof."""
    then = wished or session.get("then")
    return then if then in _NEED_PROOF else "auth.profile"
