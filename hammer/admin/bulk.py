"""What staff do to several people of the list at once. Each is changed as by the single action, in a transaction of its own."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.admin import forms
from hammer.admin.access import admin_only
from hammer.admin.asking import Action, done, refuse
from hammer.admin.blueprint import blueprint
from hammer.admin.people import TOGETHER, kept
from hammer.refusals import N_, InvalidFields, NotAllowed, NotFound, Unavailable
from hammer.sessions.sessions import Caller
from hammer.users import accounts, oversight, search
from hammer.users.search import Person
from hammer.web.pages.frame import form_key, refused, shows_only
from hammer.web.settings import settings

TEMPLATE: Final = "admin/bulk.html"
CHOOSE_WHAT: Final = N_("Choose what to do.")
CHOOSE_WHOM: Final = N_("Select at least one person.")
TOO_MANY: Final = N_("Select 50 people at most.")
HOW_MANY: Final = N_("That is not the number of people to delete.")
NOBODY: Final = N_("Nobody was changed.")
OWN, STAFF, DELETED, UNKNOWN = N_("your own account"), N_("staff member"), N_("deleted"), N_("there is no such person")
BUSY: Final = N_("the service was busy")
ALREADY: Final = {"block": N_("blocked already"), "unblock": N_("not blocked")}
"""Why somebody is left out."""
UNDONE_BY: Final = {"block": "unblock", "unblock": "block"}

ACTIONS: Final = {
    "block": Action(
        N_("Block these people?"),
        (
            N_("All of them are signed out everywhere at once, and cannot sign in until they are unblocked."),
            N_("Their data stays."),
        ),
        TOGETHER["block"],
        N_("Blocked and signed out everywhere: %(count)s."),
        danger=True,
    ),
    "unblock": Action(
        N_("Unblock these people?"),
        (N_("All of them can sign in again with a code."),),
        TOGETHER["unblock"],
        N_("Can sign in again: %(count)s."),
    ),
    "sign-out": Action(
        N_("Sign these people out everywhere?"),
        (
            N_("All sessions end at once, also those of apps, and known devices are forgotten."),
            N_("All of them can sign in again with a code."),
        ),
        TOGETHER["sign-out"],
        N_("Signed out everywhere: %(count)s."),
        danger=True,
    ),
    "delete": Action(
        N_("Delete these people for ever?"),
        (
            N_("Numbers, names, devices and sessions are deleted at once. Nothing brings them back."),
            N_("The invites of all of them stay as counts without a name."),
        ),
        TOGETHER["delete"],
        N_("Deleted: %(count)s."),
        danger=True,
    ),
}


@blueprint.route("/people/bulk/", methods=["GET", "POST"])
@admin_only(recent=True)
def bulk(caller: Caller) -> ResponseReturnValue:
    """Asks, then does the `action` of the address to all people whose `ids` it has, except those who are left out."""
    what, ids = request.args.get("action", ""), list(dict.fromkeys(request.args.getlist("ids")))
    back = url_for("admin.list_people", **kept())
    if sentence := _unreadable(what, ids):
        return refuse(back, gettext(sentence))
    found = [(person, _why_not(caller, what, person)) for person in search.with_ids(ids)]
    chosen = [person for person, why in found if not why]
    whys = [why for _, why in found if why] + [UNKNOWN] * (len(ids) - len(found))
    if not chosen:
        return _answer(back, what, [], whys)

    form = forms.HowMany() if what == "delete" else None
    context: dict[str, Any] = {"action": ACTIONS[what], "back": back, "chosen": chosen, "found": found, "summary": _left_out(whys)}
    if shows_only():
        return render_template(TEMPLATE, form=form, **context)
    if form and (form.count.data or "").strip() != str(len(chosen)):
        return refused(InvalidFields({"count": [HOW_MANY]}), form, TEMPLATE, **context)
    outcomes: dict[str, str] = {}
    for person in chosen:
        outcomes[person.id] = BUSY if BUSY in outcomes.values() else _act(caller, what, person.id)
    changed = [user_id for user_id, why in outcomes.items() if not why]
    return _answer(back, what, changed, whys + [why for why in outcomes.values() if why])


def _unreadable(what: str, ids: Sequence[str]) -> str:
    """What is wrong with the address; empty if nothing."""
    if what not in ACTIONS:
        return CHOOSE_WHAT
    if not ids:
        return CHOOSE_WHOM
    return TOO_MANY if len(ids) > search.PER_PAGE else ""


def _why_not(caller: Caller, what: str, person: Person) -> str:
    """Why the person is left out; empty for those who are not."""
    if person.is_deleted:
        return DELETED
    if person.id == caller.user_id:
        return OWN
    if person.is_staff:
        return STAFF
    return ALREADY[what] if what in ALREADY and person.is_blocked == (what == "block") else ""


def _act(caller: Caller, what: str, user_id: str) -> str:
    """Does it to one person. Empty, or why they are left out: they have changed since they were read, or the database is away.

    Refuses with `NotAllowed` a caller who is staff no more.
    """
    try:
        if what == "delete":
            accounts.delete(settings(), user_id, actor_id=caller.user_id)
        elif what == "sign-out":
            key = form_key(caller.session_id, user_id)
            oversight.sign_out(user_id, actor_id=caller.user_id, not_staff=True, key=key)
        elif not accounts.set_blocked(user_id, what == "block", actor_id=caller.user_id, not_staff=True):
            return ALREADY[what]
    except NotFound:
        return DELETED
    except Unavailable:
        return BUSY
    except NotAllowed as refusal:
        if refusal.sentence == NotAllowed.sentence:  # about the caller, not about the person
            raise
        return STAFF
    return ""


def _answer(back: str, what: str, changed: Sequence[str], whys: Sequence[str]) -> ResponseReturnValue:
    """Leads back to the list, which says how many were changed, and how many were left out and why."""
    if not changed:
        return refuse(back, f"{gettext(NOBODY)} {_left_out(whys)}")
    sentence = f"{gettext(ACTIONS[what].done, count=len(changed))} {_left_out(whys)}".strip()
    undo = url_for("admin.bulk", **kept(), action=UNDONE_BY[what], ids=changed) if what in UNDONE_BY else ""
    return done(back, sentence, undo)


def _left_out(whys: Iterable[str]) -> str:
    """`Left out: staff (2), deleted (1).`; empty if nobody is."""
    counted = ", ".join(f"{gettext(why)} ({count})" for why, count in Counter(whys).items())
    return gettext("Left out: %(whom)s.", whom=counted) if counted else ""
