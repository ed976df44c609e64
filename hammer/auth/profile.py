"""The views of the profile and of what is done there, and the landing page of an invite link."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial

from flask import Response, flash, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.auth.blueprint import blueprint
from hammer.auth.profile_page import ProfilePage, seen_as
from hammer.grants import apps
from hammer.invites import activation, invite_codes
from hammer.quotas import idempotency
from hammer.refusals import Conflict, Invalid, NotAllowed, NotFound, RetryLater
from hammer.sessions import sessions
from hammer.sessions.sessions import Caller
from hammer.users import accounts, exports, people
from hammer.web import languages, request_limits, tokens
from hammer.web.access import public
from hammer.web.pages import kept_invites
from hammer.web.pages.frame import (
    PROOF_TOO_OLD,
    REFUSED,
    TOO_LATE,
    answers_repeats,
    forget_all_but,
    form_key,
    go,
    shows_only,
    signed_in,
)
from hammer.web.settings import settings


@blueprint.route("/profile/", methods=["GET", "POST"])
@signed_in
def profile(caller: Caller) -> ResponseReturnValue:
    """The caller's profile. Its form either confirms an activation, or saves names and asks about the invite code beside them."""
    page = ProfilePage(caller)
    if shows_only():
        return page.show()
    code = page.confirmed_invite()
    if code is not None:
        return _activate(page, code)
    try:
        _rename(page)
    except (Invalid, Conflict) as refusal:
        return page.show(refusal, page.names)
    return _ask(caller) if (page.invite.invite_code.data or "").strip() else go("auth.profile", "about")


@blueprint.route("/profile/invite/", methods=["GET", "POST"])
@signed_in
def ask(caller: Caller) -> ResponseReturnValue:
    """Asks before an invite code that was typed is activated. Does not look the code up. Saves names that were typed beside it."""
    if request.method != "POST":
        return go("auth.profile")
    page = ProfilePage(caller)
    if g.get("shows_only") == TOO_LATE:  # the form is that of the profile, with its names
        return page.show()
    try:
        if not shows_only():
            _rename(page)
    except (Invalid, Conflict) as refusal:
        return page.show(refusal, page.names)
    return _ask(caller)


@blueprint.route("/profile/invite/decline/", methods=["GET", "POST"])
@signed_in
def decline(caller: Caller) -> ResponseReturnValue:
    """Forgets an invite that was opened and asked about. Its code can still be typed."""
    kept_invites.drop(request.form.get("carried", kept_invites.newest()))
    return _back(caller, "activation")


@blueprint.route("/profile/sessions/", methods=["GET", "POST"])
@signed_in
def end_others(caller: Caller) -> ResponseReturnValue:
    """Signs out all other devices."""
    sessions.end_others(caller.user_id, caller.session_id)
    flash(gettext("All other devices are signed out."), "devices")
    return _back(caller, "devices")


@blueprint.route("/profile/sessions/<session_id>/", methods=["GET", "POST"])
@signed_in
def end(caller: Caller, session_id: str) -> ResponseReturnValue:
    """Signs out one device."""
    try:
        sessions.end(caller.user_id, session_id, asked_in=caller.session_id)
    except NotFound:
        flash(gettext("That device is not signed in any more."), "devices")
        return make_response(ProfilePage(caller).show(), 404)
    flash(gettext("The device is signed out."), "devices")
    return _back(caller, "devices")


@blueprint.route("/profile/apps/<client_id>/end/", methods=["GET", "POST"])
@signed_in
def end_app(caller: Caller, client_id: str) -> ResponseReturnValue:
    """Signs the caller out of an app. What they allowed it stays allowed."""
    return _leave_app(caller, partial(apps.end, caller.user_id, client_id), gettext("You are signed out of the app."))


@blueprint.route("/profile/apps/<client_id>/forget/", methods=["GET", "POST"])
@signed_in
def forget_app(caller: Caller, client_id: str) -> ResponseReturnValue:
    """Signs the caller out of an app and withdraws what they allowed it."""
    done = gettext("The app is forgotten. Next time it asks you again.")
    return _leave_app(caller, partial(apps.forget, caller.user_id, client_id), done)


@blueprint.get("/profile/export/")
@signed_in
def export(caller: Caller) -> ResponseReturnValue:
    """Everything that is stored about the caller, as a JSON file to download."""
    stored = exports.export(settings(), caller.user_id)
    written = json.dumps(stored, ensure_ascii=False, indent=2, default=datetime.isoformat)
    download = {"Content-Disposition": "attachment; filename=my-data.json"}
    return Response(written + "\n", mimetype="application/json", headers=download)


def _deleted_before(key: idempotency.Key) -> ResponseReturnValue | None:
    """The answer to a deletion that is sent again because its answer was lost; None if nothing was deleted before."""
    return _goodbye(gettext("Your data is deleted.")) if accounts.was_deleted(key) else None


@blueprint.route("/profile/delete/", methods=["GET", "POST"])
@answers_repeats(_deleted_before)
@signed_in
def delete(caller: Caller) -> ResponseReturnValue:
    """Asks for confirmation, then deletes the caller's data. Needs a fresh proof of the number."""
    if shows_only():
        shown, fresh = people.profile(settings(), caller.user_id), accounts.proved_lately(caller.session_id)
        return render_template("delete.html", me=shown, fresh=fresh)
    try:
        user_id, session_id = caller.user_id, caller.session_id
        accounts.delete(settings(), user_id, actor_id=user_id, session_id=session_id, key=form_key(session_id))
    except NotAllowed:
        flash(gettext(PROOF_TOO_OLD), REFUSED)
        return go("auth.delete")
    return _goodbye(gettext("Your data is deleted."))


@blueprint.post("/logout/")
@signed_in
def logout(caller: Caller) -> ResponseReturnValue:
    """Ends the session. Invites that were opened stay in the browser."""
    with suppress(NotFound):
        sessions.sign_out(caller.user_id, caller.session_id)
    return _goodbye(gettext("You are signed out."), kept_invites.KEY)


@blueprint.get("//I/<rest:invite_code>")
@blueprint.get("//i/<rest:invite_code>")
@blueprint.get("/I/<rest:invite_code>")
@blueprint.get("/i/<rest:invite_code>")  # the last one is what `url_for` makes
@public
def landing(invite_code: str) -> ResponseReturnValue:
    """The page that an invite link opens, also when a messenger or a person misspelled the link.

    Changes nothing in the database, and does not reveal whether the code exists.
    """
    read, visitor = invite_codes.read_path(invite_code), tokens.visitor()
    own = bool(visitor and read == people.profile(settings(), visitor.user_id).invite_code)
    if read and not own:
        kept_invites.add(read)
    activated = visitor is not None and activation.activated(visitor.user_id) is not None
    invitation = settings().invitation(languages.chosen())
    page = render_template("landing.html", code=read, own=own, visitor=visitor, activated=activated, invitation=invitation)
    return page, 200 if read else 404


def _activate(page: ProfilePage, code: str) -> ResponseReturnValue:
    """Activates the code and shows the profile. Names that were typed and are not saved yet stay in its form."""
    page.invite.invite_code.data = code
    kept_invites.drop(invite_codes.read(code, settings().public_url))
    caller = page.caller
    key = form_key(caller.session_id)
    try:
        activation.activate(settings(), caller.user_id, code, address=request_limits.address(), key=key)
    except (Invalid, Conflict, RetryLater) as refusal:
        return page.show(refusal, page.invite)
    kept_invites.drop_all()
    flash(gettext("The invite is activated."), "activation")
    return ProfilePage(caller).show() if page.names.changed() else go("auth.profile", "activation")


def _ask(caller: Caller) -> ResponseReturnValue:
    """The page that asks before a code is activated. When what was typed is no code, the profile with the refusal."""
    page = ProfilePage(caller)
    try:
        code = activation.meant(settings(), page.invite.invite_code.data or "", page.me.activated_invite_code)
    except (Invalid, Conflict) as refusal:
        page.names.saved = not shows_only()
        return page.show(refusal, page.invite)
    return render_template("activate.html", code=code, seen_as=seen_as(page.me))


def _rename(page: ProfilePage) -> None:
    """Saves only the names that were changed in this form: another tab may have saved others since the form was shown."""
    changed = page.names.changed()
    if changed:
        accounts.change(page.caller.user_id, changed)
    if changed or request.endpoint == "auth.profile":
        flash(gettext("Saved."), "about")


def _back(caller: Caller, place: str) -> ResponseReturnValue:
    """Back to the profile. What was typed into its form and is not saved yet stays there."""
    page = ProfilePage(caller)
    return page.show() if page.names.changed() or page.invite.invite_code.data else go("auth.profile", place)


def _leave_app(caller: Caller, leave: Callable[[], None], done: str) -> ResponseReturnValue:
    try:
        leave()
    except NotFound:
        flash(gettext("You are not signed in to that app any more."), "apps")
        return make_response(ProfilePage(caller).show(), 404)
    flash(done, "apps")
    return _back(caller, "apps")


def _goodbye(sentence: str, *kept: str) -> Response:
    """Leads to the phone form with this sentence, and takes the session out of the browser."""
    forget_all_but(*kept)
    flash(sentence)
    response = go("auth.phone")
    tokens.clear_cookie(response)
    return response
