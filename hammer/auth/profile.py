"""The profile and what is done from there, and the landing of an invite link. One function a page."""

import json
from contextlib import suppress
from datetime import datetime
from typing import Any

from flask import Response, flash, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.auth import carried, forms, pictures
from hammer.auth.blueprint import blueprint
from hammer.invites import activation, invite_codes
from hammer.parsing import phones
from hammer.quotas import idempotency
from hammer.refusals import AlreadyActivated, Conflict, Invalid, InvalidFields, NotAllowed, NotFound, OwnInvite, RetryLater
from hammer.sessions import sessions
from hammer.sessions.sessions import Caller
from hammer.users import accounts, exports, people
from hammer.web import languages, request_limits, tokens
from hammer.web.access import public
from hammer.web.languages import say
from hammer.web.pages.frame import (
    TOO_LATE,
    TOO_OLD,
    forget_all_but,
    form_key,
    go,
    leads_on,
    only_shown,
    refused,
    signed_in,
)
from hammer.web.settings import settings

INVITEES_A_PAGE = 20
WEEKS_OF_GROWTH = 12


@blueprint.route("/profile/", methods=["GET", "POST"])
@signed_in
def profile(caller: Caller) -> ResponseReturnValue:
    """One's own profile. Names that were typed are kept, and an invite code beside them is asked about; one alone is activated, and
    so is one that was carried along and said yes to."""
    me = people.profile(settings(), caller.user_id)
    names, invite = forms.Names(obj=me), forms.Invite()
    if only_shown():
        return render_template("profile.html", **_profile_page(caller, me, names, invite))
    said_yes_to = request.form.get("carried", "")
    activating = said_yes_to or ("invite_code" in request.form and not names.typed())
    form = invite if activating else names
    try:
        if activating:
            invite.invite_code.data = typed = said_yes_to or invite.invite_code.data or ""
            carried.drop(invite_codes.read(typed, settings().public_url))
            key = form_key(caller.session_id)
            activation.activate(settings(), caller.user_id, typed, address=request_limits.address(), key=key)
            carried.drop_all()
        else:
            _rename(caller, names)
    except (Invalid, Conflict, RetryLater) as refusal:
        return refused(refusal, form, "profile.html", **_profile_page(caller, me, names, invite))
    if not activating:
        return _ask(caller) if (invite.invite_code.data or "").strip() else go("auth.profile", "about")
    flash(gettext("The invite is activated."), "activation")
    return _shown_again(caller) if names.changed() else go("auth.profile", "activation")


@blueprint.route("/profile/invite/", methods=["GET", "POST"])
@signed_in
def ask(caller: Caller) -> ResponseReturnValue:
    """Asks before a typed invite code is activated, and looks the code up no more than the form did. Names beside it are kept."""
    if request.method != "POST":
        return go("auth.profile")
    me = people.profile(settings(), caller.user_id)
    names = forms.Names(obj=me)
    if g.get("shown_alone") == TOO_LATE:  # the form is that of the profile, names and all
        return render_template("profile.html", **_profile_page(caller, me, names, forms.Invite()))
    try:
        if not only_shown():
            _rename(caller, names)
    except (Invalid, Conflict) as refusal:
        return refused(refusal, names, "profile.html", **_profile_page(caller, me, names, forms.Invite()))
    return _ask(caller)


@blueprint.route("/profile/invite/decline/", methods=["GET", "POST"])
@signed_in
def decline(caller: Caller) -> ResponseReturnValue:
    """Forgets the invite code that was carried along and asked about; it can still be typed in."""
    carried.drop(request.form.get("carried", carried.newest()))
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
        sessions.end(caller.user_id, session_id, asked_in=caller.session_id)
    except NotFound:
        flash(gettext("That device is not signed in any more."), "devices")
        return _shown_again(caller), 404
    flash(gettext("The device is signed out."), "devices")
    return _done(caller, "devices")


@blueprint.get("/profile/export/")
@signed_in
def export(caller: Caller) -> ResponseReturnValue:
    """All that is stored about the caller, as a file to keep."""
    stored = exports.export(settings(), caller.user_id)
    written = json.dumps(stored, ensure_ascii=False, indent=2, default=datetime.isoformat)
    to_keep = {"Content-Disposition": "attachment; filename=hammer.json"}
    return Response(written + "\n", mimetype="application/json", headers=to_keep)


def _deleted_before(key: idempotency.Key) -> ResponseReturnValue | None:
    return _goodbye(gettext("Your data is deleted.")) if accounts.was_deleted(key) else None


@blueprint.route("/profile/delete/", methods=["GET", "POST"])
@leads_on(_deleted_before)
@signed_in
def delete(caller: Caller) -> ResponseReturnValue:
    """Asks once more, then deletes; with a fresh code alone."""
    if only_shown():
        shown, fresh = people.profile(settings(), caller.user_id), accounts.proved_lately(caller.session_id)
        return render_template("delete.html", me=shown, fresh=fresh)
    try:
        me, mine = caller.user_id, caller.session_id
        accounts.delete(settings(), me, actor_id=me, session_id=mine, key=form_key(mine))
    except NotAllowed:
        flash(gettext(TOO_OLD))
        return go("auth.delete")
    return _goodbye(gettext("Your data is deleted."))


@blueprint.post("/logout/")
@signed_in
def logout(caller: Caller) -> ResponseReturnValue:
    with suppress(NotFound):
        sessions.sign_out(caller.user_id, caller.session_id)
    return _goodbye(gettext("You are signed out."), carried.KEY)


@blueprint.get("//I/<rest:invite_code>")
@blueprint.get("//i/<rest:invite_code>")
@blueprint.get("/I/<rest:invite_code>")
@blueprint.get("/i/<rest:invite_code>")  # the last one is what `url_for` makes
@public
def landing(invite_code: str) -> ResponseReturnValue:
    """Where an invite link leads, with what messengers and people make of it. Changes nothing and tells nothing: whether the code
    exists is said after the login."""
    read, visitor = invite_codes.read_path(invite_code), tokens.visitor()
    own = bool(visitor and read == people.profile(settings(), visitor.user_id).invite_code)
    if read and not own:
        carried.add(read)
    activated = visitor is not None and activation.activated(visitor.user_id) is not None
    invitation = settings().invitation(languages.chosen())
    page = render_template("landing.html", code=read, own=own, visitor=visitor, activated=activated, invitation=invitation)
    return page, 200 if read else 404


def _ask(caller: Caller) -> ResponseReturnValue:
    """The question before a code is activated; the profile, where what was typed cannot be."""
    me, invite = people.profile(settings(), caller.user_id), forms.Invite()
    try:
        code = activation.meant(settings(), invite.invite_code.data or "", me.activated_invite_code)
    except (Invalid, Conflict) as refusal:
        names = forms.Names(obj=me)
        names.saved = not only_shown()
        return refused(refusal, invite, "profile.html", **_profile_page(caller, me, names, invite))
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
    names, invite = forms.Names(obj=people.profile(settings(), caller.user_id)), forms.Invite()
    return _shown_again(caller) if names.changed() or invite.invite_code.data else go("auth.profile", place)


def _shown_again(caller: Caller) -> str:
    """The profile with what was typed into it."""
    me = people.profile(settings(), caller.user_id)
    return render_template("profile.html", **_profile_page(caller, me, forms.Names(obj=me), forms.Invite()))


def _profile_page(caller: Caller, me: people.Profile, names: forms.Names, invite: forms.Invite) -> dict[str, Any]:
    activated = activation.activated(caller.user_id)
    in_vain = _carried_in_vain(me.invite_code, activated[0] if activated else None)
    link = f"{settings().public_url}/i/{me.invite_code}"
    after = request.args.get("after")
    try:
        invitees = activation.invitees(settings(), caller.user_id, limit=INVITEES_A_PAGE, after=after)
    except InvalidFields:
        after, invitees = None, activation.invitees(settings(), caller.user_id, limit=INVITEES_A_PAGE)
    return {
        "me": me,
        "names": names,
        "invite": invite,
        "activated": activated,
        "carried": carried.newest(),
        "in_vain": in_vain,
        "not_an_invite": invite_codes.NOT_AN_INVITE,
        "not_a_username": accounts.NOT_A_USERNAME,
        "invitees": invitees,
        "place": after,
        "seen_as": _seen_as(me),
        # This one first, so that it is never among those that are folded.
        "devices": sorted(sessions.devices(caller.user_id), key=lambda device: device.id != caller.session_id),
        "link": link,
        "qr": pictures.qr(link),
        "growth": pictures.growth(me.invite_count, activation.by_week(caller.user_id, WEEKS_OF_GROWTH)),
    }


def _carried_in_vain(own: str, activated: str | None) -> str | None:
    """Why the invite codes that were carried along are of no use to the owner of the code `own`, and forgotten now; None when one
    may be, or was the one that they activated."""
    codes = carried.all_codes()
    if activated is None:
        carried.drop(own)
        return say(OwnInvite()) if codes == [own] else None
    carried.drop_all()
    others = [code for code in codes if code != activated]
    if not others:
        return None
    return say(OwnInvite()) if others == [own] else say(AlreadyActivated())


def _goodbye(word: str, *kept: str) -> Response:
    forget_all_but(*kept)
    flash(word)
    response = go("auth.phone")
    tokens.clear_cookie(response)
    return response


def _seen_as(me: people.Profile) -> str | None:
    """How the owner of an invite code will see the number of this person, who is told so before."""
    return phones.shown(me.telephone_number, settings().invitee_numbers)
