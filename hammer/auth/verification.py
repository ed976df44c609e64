"""The pages that send a code and take it: to sign in, to prove one's number again, to change the number. Each page has one view."""

from functools import partial
from typing import Final

from flask import flash, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from markupsafe import Markup

from hammer.auth import forms
from hammer.auth.blueprint import blueprint
from hammer.auth.code_form import CodeForm, asker
from hammer.login import by_code
from hammer.login.verifications import CodeSent
from hammer.models import SessionKind, Verification
from hammer.parsing import phones
from hammer.quotas import idempotency
from hammer.refusals import N_, Conflict, NotAllowed
from hammer.sessions.sessions import Caller
from hammer.users import accounts, people
from hammer.web import request_limits, tokens
from hammer.web.pages import apps, kept_invites
from hammer.web.pages.filters import explained, strong
from hammer.web.pages.filters import phone as phone_number
from hammer.web.pages.forms import Phone
from hammer.web.pages.frame import (
    AFTER_SIGN_IN,
    ENROLMENT,
    PROOF_TOO_OLD,
    REFUSED,
    answers_repeats,
    forget_all_but,
    form_key,
    go,
    refused,
    shows_only,
    signed_in,
    signed_out,
)
from hammer.web.settings import settings

_NEED_PROOF: Final = ("auth.number", "auth.delete")
"""The endpoints of pages that go on only with a fresh proof of the number."""


def _next_page(requested: str | None = None) -> str:
    """The endpoint of the page to show after a proof: `requested`, or the one in the signed cookie. The profile if that page
    needs no proof; for a sign-in to an app, the one that leads on to it."""
    then = requested or session.get("then")
    return apps.next_page(then if then in _NEED_PROOF else "auth.profile")


LOGIN: Final = CodeForm("verification", N_("Sign in"), "auth.code", "auth.resend", number_page="auth.phone")
PROOF: Final = CodeForm("proof", N_("Confirm"), "auth.prove", "auth.send_proof", way_out="auth.profile", next_page=_next_page)
NUMBER: Final = CodeForm(
    "number", N_("Confirm"), "auth.number_code", "auth.resend_number", number_page="auth.number", way_out="auth.profile"
)


@blueprint.get("/")
@signed_out
def home() -> ResponseReturnValue:
    """The first page: the phone form."""
    return go("auth.phone")


@blueprint.route("/login/", methods=["GET", "POST"])
@signed_out
def phone() -> ResponseReturnValue:
    """The phone form. Sends a code to the number, and leads to the code form."""
    form = Phone(telephone_number=LOGIN.number() or apps.expected_number())
    if shows_only():
        return render_template("phone.html", form=form)
    typed = form.telephone_number.data or ""
    refusal = LOGIN.ask(typed, lambda: by_code.send_code(settings(), typed, asker(), key=form_key()))
    return refused(refusal, form, "phone.html") if refusal else go("auth.code")


@blueprint.route("/login/code/", methods=["GET", "POST"])
@signed_out
def code() -> ResponseReturnValue:
    """The code form of a login. The right code signs the browser in."""
    asked = LOGIN.asked()
    if asked is None:
        return go("auth.phone")

    def sign_in(typed: str) -> ResponseReturnValue:
        opened = _confirm(asked, typed, form_key("", asked.id))
        then = session.get(AFTER_SIGN_IN, "auth.profile") if opened.user.is_staff else "auth.profile"
        return _signed_in_at(apps.next_page(then), opened)

    return LOGIN.enter(asked, sign_in)


@blueprint.route("/login/resend/", methods=["GET", "POST"])
@signed_out
def resend() -> ResponseReturnValue:
    """Sends the code of a login again, or a new one to the same number when the old one is over."""
    asked = LOGIN.asked()
    if asked is None:
        return go("auth.phone")
    key = form_key("", asked.id)
    return LOGIN.resend(asked, key, partial(by_code.send_code_to_stored, settings(), asked.telephone_number, asker(), key=key))


@blueprint.route("/profile/proof/send/", methods=["GET", "POST"])
@signed_in
def send_proof(caller: Caller) -> ResponseReturnValue:
    """Sends a code to the caller's own number, or sends it again. Pages that need a fresh proof have a button for this."""
    session["then"] = _next_page(request.form.get("then", session.get("then")))
    number, asked = _own_number_and_verification(caller)
    key = form_key(caller.session_id, asked.id if asked else "")
    send = partial(by_code.send_code_to_stored, settings(), number, asker(), key=key)
    if asked is None:
        refusal = PROOF.ask(number, send)
        if refusal is None:
            return go("auth.prove")
        flash(explained(refusal), REFUSED)
        return go(_next_page())
    if "verification" not in request.form and PROOF.is_pending(asked):  # sent by the page that needs the proof, for the second time
        return go("auth.prove")
    return PROOF.resend(asked, key, send)


def _proved_before(key: idempotency.Key) -> ResponseReturnValue | None:
    """The answer to a right code that is sent again because its answer was lost; None if no code was accepted before."""
    opened = by_code.signed_in_before(key)
    return _signed_in_at(_next_page(request.form.get("then")), opened) if opened else None


@blueprint.route("/profile/proof/", methods=["GET", "POST"])
@answers_repeats(_proved_before)
@signed_in
def prove(caller: Caller) -> ResponseReturnValue:
    """The code form in which people prove their own number again. The right code opens a new session in place of this one, and
    leads to the page that needed the proof."""
    _, asked = _own_number_and_verification(caller)
    then = _next_page(request.form.get("then"))
    if asked is None:
        return go(then)
    session["then"] = then

    def renew(typed: str) -> ResponseReturnValue:
        opened = _confirm(asked, typed, form_key(caller.session_id), instead_of=caller.session_id)
        return _signed_in_at(then, opened)

    return PROOF.enter(asked, renew)


@blueprint.route("/profile/number/", methods=["GET", "POST"])
@signed_in
def number(caller: Caller) -> ResponseReturnValue:
    """The form for a new number. Sends a code there, and leads to the code form."""
    me, fresh = people.profile(settings(), caller.user_id), accounts.proved_lately(caller.session_id)
    form = forms.Number(telephone_number=NUMBER.number(), end_other_sessions=bool(session.get("end_others")))
    if shows_only() or not fresh:
        if not shows_only():
            flash(gettext(PROOF_TOO_OLD), REFUSED)
        return render_template("number.html", form=form, me=me, fresh=fresh)
    typed, key = form.telephone_number.data or "", form_key(caller.session_id)
    user_id, session_id = caller.user_id, caller.session_id
    refusal = NUMBER.ask(typed, lambda: accounts.ask_number(settings(), user_id, session_id, typed, asker(), key=key))
    if refusal:
        return refused(refusal, form, "number.html", me=me, fresh=fresh)
    session["end_others"] = form.end_other_sessions.data
    return go("auth.number_code")


@blueprint.route("/profile/number/code/", methods=["GET", "POST"])
@signed_in
def number_code(caller: Caller) -> ResponseReturnValue:
    """The code form of a new number. The right code makes the number the caller's."""
    asked = NUMBER.asked()
    return go("auth.number") if asked is None else NUMBER.enter(asked, partial(_change_number, caller, asked))


@blueprint.route("/profile/number/resend/", methods=["GET", "POST"])
@signed_in
def resend_number(caller: Caller) -> ResponseReturnValue:
    """Sends the code of a new number again, or a new one to the same number when the old one is over."""
    asked = NUMBER.asked()
    if asked is None:
        return go("auth.number")
    key = form_key(caller.session_id, asked.id)

    def send() -> CodeSent:
        return accounts.ask_number(settings(), caller.user_id, caller.session_id, asked.telephone_number, asker(), key=key)

    try:
        return NUMBER.resend(asked, key, send)
    except NotAllowed:
        flash(gettext(PROOF_TOO_OLD), REFUSED)
        return go("auth.number")


def _change_number(caller: Caller, asked: Verification, typed: str) -> ResponseReturnValue:
    """Gives the caller the number that was verified. When another user has it, shows the form for a new number again."""
    user_id, session_id = caller.user_id, caller.session_id
    others, key = bool(session.get("end_others")), form_key(session_id, asked.id)
    try:
        accounts.change_number(settings(), user_id, session_id, asked.id, typed, end_other_sessions=others, key=key)
    except Conflict as refusal:
        NUMBER.forget_last()  # the code is spent: the page would offer to send another to this number
        me, form = people.profile(settings(), caller.user_id), forms.Number(telephone_number=phones.pretty(asked.telephone_number))
        form.end_other_sessions.data = others
        return refused(refusal, form, "number.html", me=me, fresh=True)
    NUMBER.forget()
    session.pop("end_others", None)
    number_now = strong(phone_number(asked.telephone_number))
    flash(Markup(gettext("Your number is %(number)s now.")) % {"number": number_now}, "about")  # noqa: S704  # our own sentence
    return go("auth.profile", "about")


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


def _signed_in_at(endpoint: str, opened: by_code.SignedIn) -> ResponseReturnValue:
    """Leads to a page with the cookies of the session that was opened."""
    forget_all_but(kept_invites.KEY, apps.KEY, ENROLMENT)
    response = go(endpoint)
    tokens.set_cookies(response, opened.session, opened.device)
    return response


def _own_number_and_verification(caller: Caller) -> tuple[str, Verification | None]:
    """The caller's number, and the verification of it that this browser asked for; None if there is none."""
    number, asked = people.profile(settings(), caller.user_id).telephone_number, PROOF.asked()
    return number, (asked if asked and asked.telephone_number == number else None)
