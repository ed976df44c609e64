"""What staff do to a person. Each address shows a page that says what will happen, takes its form, and leads back to the person."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.acting import OWN_ACCOUNT
from hammer.admin import forms
from hammer.admin.access import admin_only
from hammer.admin.asking import Action, ask, done, refuse, show_once
from hammer.admin.blueprint import blueprint
from hammer.refusals import N_, NotAllowed
from hammer.sessions.sessions import Caller
from hammer.sms import messages
from hammer.users import accounts, oversight, people
from hammer.users.people import Profile
from hammer.web.languages import say
from hammer.web.pages.filters import grouped, last_four
from hammer.web.pages.forms import Form
from hammer.web.pages.frame import shows_only
from hammer.web.settings import settings

RENAME = Action(N_("Change names"), (), N_("Save"), N_("The names are changed. Before: %(before)s."), undo="admin.rename", own=True)
MOVE = Action(
    N_("Move to another number?"),
    (
        N_("The person signs in only with the new number from now on, and keeps everything else."),
        N_("The old number gets a text about it. Codes that are on their way stop working, and known devices are forgotten."),
    ),
    N_("Move"),
    N_("The person has another number now."),
    danger=True,
)
BLOCK = Action(
    N_("Block this person?"),
    (N_("They are signed out everywhere at once, and cannot sign in until they are unblocked."), N_("Their data stays.")),
    N_("Block"),
    N_("The person is blocked, and signed out everywhere."),
    undo="admin.unblock",
    danger=True,
)
UNBLOCK = Action(
    N_("Unblock this person?"),
    (N_("They can sign in again with a code."),),
    N_("Unblock"),
    N_("The person can sign in again."),
    undo="admin.block",
)
DELETE = Action(
    N_("Delete this person for ever?"),
    (
        N_("Number, names, devices and sessions are deleted at once. Nothing brings them back."),
        N_("Their invites stay as counts without a name."),
    ),
    N_("Delete for ever"),
    N_("The person is deleted."),
    danger=True,
)
MAKE_STAFF = Action(
    N_("Make this person staff?"),
    (
        N_("They may see and change all people: in the API at once, and here once they have a second factor."),
        N_("The next page shows a link to set one up. It is shown once, and works once within a day."),
    ),
    N_("Make staff"),
    danger=True,
)
NEW_LINK = Action(
    N_("Make a new enrolment link?"),
    (N_("For staff who have no second factor yet. The links before stop working."),),
    N_("Make the link"),
    danger=True,
)
TAKE_STAFF = Action(
    N_("Take the rights of staff away?"),
    (
        N_("They see nothing of others any more, from their next request on. Their second factors are removed here."),
        N_("Their own account stays as it is."),
    ),
    N_("Take the rights away"),
    N_("The person is not staff any more."),
    undo="admin.make_staff",
    danger=True,
)
SIGN_OUT = Action(
    N_("Sign this person out everywhere?"),
    (
        N_("All sessions end at once, also those of apps, and known devices are forgotten."),
        N_("They can sign in again with a code."),
    ),
    N_("Sign out everywhere"),
    N_("The person is signed out everywhere."),
    danger=True,
    own=True,
)
END_SESSION = Action(
    N_("End this session?"),
    (N_("It ends at once, and its device is forgotten. The other sessions stay."),),
    N_("End the session"),
    N_("The session has ended."),
    danger=True,
    own=True,
)
ATTACH = Action(
    N_("Attach a referral?"),
    (
        N_("The person counts as invited by the other one, as if they had activated that code."),
        N_("Apps that reward invites learn of it."),
    ),
    N_("Attach"),
    N_("The referral is attached."),
    undo="admin.detach",
    danger=True,
)
DETACH = Action(
    N_("Detach the referral?"),
    (N_("The activation counts no more."), N_("Apps that reward invites learn of it.")),
    N_("Detach"),
    N_("The referral is detached."),
    undo="admin.attach",
    danger=True,
)


@blueprint.route("/people/<user_id>/rename/", methods=["GET", "POST"])
@admin_only()
def rename(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Changes those names of the person that differ."""
    person = _person(user_id)
    before = {name: getattr(person, name) for name in ("username", "first_name", "last_name")}
    form = forms.Names(data=before)

    changed = {name: form[name].data or "" for name in before if (form[name].data or "").strip() != before[name]}
    if not shows_only() and not changed:
        return done(_page_of(user_id), gettext("Nothing was changed."))
    shown = " ".join(filter(None, [person.first_name, person.last_name, person.username and f"({person.username})"]))
    act = accounts.change
    return _ask(
        caller, person, RENAME, lambda: act(user_id, changed, actor_id=caller.user_id), form, before=shown or gettext("no names")
    )


@blueprint.route("/people/<user_id>/move/", methods=["GET", "POST"])
@admin_only(recent=True)
def move(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks, then gives the person another number."""
    person, form = _person(user_id), forms.NewNumber()

    def act() -> None:
        language = messages.language_of(person.telephone_number)
        typed, ends = form.telephone_number.data or "", form.end_sessions.data
        accounts.move(settings(), user_id, typed, language=language, end_sessions=ends, actor_id=caller.user_id)

    return _ask(caller, person, MOVE, act, form)


@blueprint.route("/people/<user_id>/block/", methods=["GET", "POST"])
@admin_only(recent=True)
def block(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks, then blocks the person."""
    return _ask(caller, _person(user_id), BLOCK, lambda: accounts.set_blocked(user_id, True, actor_id=caller.user_id))


@blueprint.route("/people/<user_id>/unblock/", methods=["GET", "POST"])
@admin_only()
def unblock(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks, then lets the person sign in again."""
    return _ask(caller, _person(user_id), UNBLOCK, lambda: accounts.set_blocked(user_id, False, actor_id=caller.user_id))


@blueprint.route("/people/<user_id>/delete/", methods=["GET", "POST"])
@admin_only(recent=True)
def delete_user(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks, then deletes the person."""
    return _ask(caller, _person(user_id), DELETE, lambda: accounts.delete(settings(), user_id, actor_id=caller.user_id))


@blueprint.route("/people/<user_id>/make-staff/", methods=["GET", "POST"])
@admin_only(recent=True)
def make_staff(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks, then makes the person staff, and shows the enrolment link once."""
    person = _person(user_id)
    if shows_only() or caller.user_id == user_id:
        return _ask(caller, person, NEW_LINK if person.is_staff else MAKE_STAFF, lambda: None)
    try:
        token = oversight.make_staff(settings(), user_id, actor_id=caller.user_id)
    except NotAllowed as refusal:
        return refuse(_page_of(user_id), say(refusal))
    link = settings().public_url + url_for("admin.enrolment_link", token=token)
    what = [
        gettext(
            "With this link they set up a second factor. Hand it over yourself, not by text: with it and the number one can open "
            "the operator’s pages."
        ),
        gettext("It works once within a day."),
    ]
    return show_once(gettext("The person is staff now"), [(gettext("Enrolment link"), link)], _page_of(user_id), what=what)


@blueprint.route("/people/<user_id>/take-staff/", methods=["GET", "POST"])
@admin_only(recent=True)
def take_staff(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks, then takes the rights of staff away."""
    act = accounts.set_staff
    return _ask(caller, _person(user_id), TAKE_STAFF, lambda: act(settings(), user_id, False, actor_id=caller.user_id))


@blueprint.route("/people/<user_id>/sign-out/", methods=["GET", "POST"])
@admin_only(recent=True)
def sign_out(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks, then ends all sessions of the person."""
    return _ask(caller, _person(user_id), SIGN_OUT, lambda: oversight.sign_out(user_id, actor_id=caller.user_id))


@blueprint.route("/people/<user_id>/sessions/<session_id>/", methods=["GET", "POST"])
@admin_only(recent=True)
def end_session(caller: Caller, user_id: str, session_id: str) -> ResponseReturnValue:
    """Asks, then ends one session of the person."""
    person, session = _person(user_id), oversight.session(user_id, session_id)
    if session.over:
        return done(_page_of(user_id), gettext("This session has ended already."))
    act, facts = oversight.end_session, [(gettext("Device"), session.device)]
    return _ask(caller, person, END_SESSION, lambda: act(user_id, session_id, actor_id=caller.user_id), facts=facts)


@blueprint.route("/people/<user_id>/attach/", methods=["GET", "POST"])
@admin_only(recent=True)
def attach(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks by whom the person was invited and why that is attached, then attaches it."""
    person, form = _person(user_id), forms.Attach()

    def act() -> None:
        typed, reason = form.referrer.data or "", form.reason.data or ""
        oversight.attach(settings(), user_id, typed, reason, actor_id=caller.user_id)

    return _ask(caller, person, ATTACH, act, form)


@blueprint.route("/people/<user_id>/detach/", methods=["GET", "POST"])
@admin_only(recent=True)
def detach(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks why the referral of the person is detached, then detaches it."""
    person, form = _person(user_id), forms.Detach()
    if person.activated_invite_code is None:
        return refuse(_page_of(user_id), gettext(oversight.NO_REFERRER))

    def act() -> None:
        oversight.detach(user_id, form.reason.data or "", may_activate=form.may_activate.data, actor_id=caller.user_id)

    return _ask(caller, person, DETACH, act, form, [(gettext("Activated invite code"), grouped(person.activated_invite_code))])


def _ask(
    caller: Caller,
    person: Profile,
    action: Action,
    act: Callable[[], object],
    form: Form | None = None,
    facts: Sequence[tuple[str, object]] = (),
    **details: Any,
) -> ResponseReturnValue:
    """The page that asks, about a person; see `ask`."""
    back = _page_of(person.id)
    if caller.user_id == person.id and not action.own:
        return refuse(back, gettext(OWN_ACCOUNT))
    name = f"{person.first_name} {person.last_name}".strip() or person.username
    who = (gettext("Person"), name), (gettext("Number"), last_four(person.telephone_number))
    undo = url_for(action.undo, user_id=person.id) if action.undo else ""
    return ask(action, act, back, facts=(*who, *facts), form=form, undo=undo, **details)


def _person(user_id: str) -> Profile:
    """Refuses with `NotFound` a deleted or unknown person."""
    return people.profile(settings(), user_id)


def _page_of(user_id: str) -> str:
    return url_for("admin.person", user_id=user_id)
