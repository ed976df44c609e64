"""What only staff do on the operator's pages: show a number, change referrals, end sessions, make staff with their link.

Each verb notes an event that names the actor, and refuses with `NotAllowed` an actor who is staff no more.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update

from config import Settings
from hammer import clock, codes, events
from hammer.acting import acting, refuse_oneself, refuse_staff
from hammer.db.database import Transaction, db, one_at_a_time
from hammer.factors import staff
from hammer.invites import activation, invite_codes
from hammer.models import Session, SessionKind, User
from hammer.quotas import idempotency
from hammer.refusals import (
    N_,
    REQUIRED,
    AlreadyActivated,
    InvalidFields,
    InviteLoop,
    NotAllowed,
    NotFound,
    OwnInvite,
    Refusal,
    UnknownInvite,
)
from hammer.sessions import devices, revocation, sessions
from hammer.users.accounts import give_staff
from hammer.users.names import NOT_TEXT

LONGEST_REASON: Final = 200
TOO_LONG: Final = N_("This is longer than 200 characters.")
NOT_A_REFERRER: Final = N_("Enter an invite code, like Q9UK59, or the id of a person.")
NO_REFERRER: Final = N_("This person has no referral.")
ALREADY_STAFF: Final = N_("This person is staff already, with a second factor.")
CIRCLE: Final = N_("This person joined through an invite of the person on this page, directly or through others.")
BLOCKED: Final = N_("This person is blocked. Unblock them first.")
CHOOSE_A_REASON: Final = N_("Choose a reason.")
REASONS_TO_SHOW: Final[Mapping[str, str]] = {
    "asked-for-help": N_("The person asked for help"),
    "text-did-not-arrive": N_("A text did not arrive"),
    "suspected-fraud": N_("Suspected fraud"),
    "legal-request": N_("A legal request"),
}
"""Why staff may see a whole number: the `detail` of the event, and its name."""
_WHY_NOT: Final[Mapping[type[Refusal], str]] = {
    UnknownInvite: N_("No person has this invite code or id."),
    OwnInvite: N_("People cannot invite themselves."),
    InviteLoop: CIRCLE,
    AlreadyActivated: N_("Another person invited them already. Detach that referral first."),
}
"""Why a referral cannot be attached, as staff read it."""


@dataclass(frozen=True)
class OneSession:
    """A session, as staff see it before they end it."""

    device: str
    over: bool


def show_number(user_id: str, reason: str, *, actor_id: str) -> str:
    """The user's whole number. `reason` is a key of `REASONS_TO_SHOW`.

    Refuses with `InvalidFields` another reason, and with `NotFound` a deleted or unknown user.
    """
    if reason not in REASONS_TO_SHOW:
        raise InvalidFields({"reason": [CHOOSE_A_REASON]})
    with acting(actor_id, user_id) as tx:
        number = tx.scalar(select(User.telephone_number).where(User.id == user_id))
        if number is None:
            raise NotFound
        events.note(tx, events.Kind.NUMBER_SHOWN, user_id, actor_id=actor_id, detail=reason)
    return number


def make_staff(settings: Settings, user_id: str, *, actor_id: str) -> str:
    """Makes the user staff. Returns the token of a link by which they enrol a second factor, once within a day.

    The same again returns a new link as long as they have not enrolled: the ones before are void. Refuses with `NotFound`; with
    `NotAllowed` oneself, the blocked, the user of a test number, and staff with a second factor.
    """
    refuse_oneself(actor_id, user_id)
    with acting(actor_id, user_id) as tx:
        user = _lock(tx, user_id)
        if user.blocked_at is not None:
            raise NotAllowed(BLOCKED)
        if user.is_staff and staff.factors(user_id).enrolled:
            raise NotAllowed(ALREADY_STAFF)
        if not user.is_staff:
            give_staff(tx, settings, user_id, actor_id)
        return staff.allowed_link(tx, settings, user_id, actor_id)


def attach(settings: Settings, user_id: str, typed: str, reason: str, *, actor_id: str) -> None:
    """Makes the user a referee of another one, whose invite code or id was typed. The same again changes nothing.

    It does not matter whether the user could activate the code: staff decide. Refuses with `InvalidFields`, with `NotFound`, and
    with `NotAllowed` oneself.
    """
    refuse_oneself(actor_id, user_id)
    reason = _read_reason(reason)
    with acting(actor_id, user_id) as tx:
        one_at_a_time(tx, "activate")
        _lock(tx, user_id)
        code = _code_of(tx, settings, typed)
        if activation.FIND_ACTIVATED_CODE.value(tx, user=user_id) == code:
            return
        noted_as = events.Kind.REFERRAL_ATTACHED
        refusal = activation.join(tx, user_id, code, clock.now(), noted_as, actor_id=actor_id, reason=reason)
        if refusal is not None:
            raise InvalidFields({"referrer": [_WHY_NOT[type(refusal)]]})


def detach(user_id: str, reason: str, *, may_activate: bool, actor_id: str) -> None:
    """Removes the user's referral. With `may_activate` they may activate a code once more; else that is refused as a second one.

    Refuses with `InvalidFields`, with `NotFound`, and with `NotAllowed` oneself and a user without a referral.
    """
    refuse_oneself(actor_id, user_id)
    reason = _read_reason(reason)
    with acting(actor_id, user_id) as tx:
        one_at_a_time(tx, "activate")
        _lock(tx, user_id)
        if not activation.part(tx, user_id, actor_id=actor_id, reason=reason):
            raise NotAllowed(NO_REFERRER)
        tx.execute(update(User).where(User.id == user_id).values(activation_closed=not may_activate))


def sign_out(user_id: str, *, actor_id: str, not_staff: bool = False, key: idempotency.Key | None = None) -> None:
    """Ends all sessions of the user, and forgets all devices. A request that is repeated with its `key` changes nothing.

    Refuses with `NotFound`; with `NotAllowed`, where `not_staff` is set, a user who is staff.
    """
    with acting(actor_id, user_id) as tx:
        if idempotency.claim(tx, key) is not None:
            return
        revocation.end_all(tx, user_id, noted_as=events.Kind.SESSIONS_ENDED, actor_id=actor_id)
        _lock(tx, user_id)
        if not_staff:
            refuse_staff(tx, user_id)
        idempotency.keep(tx, key)


def session(user_id: str, session_id: str) -> OneSession:
    """One session of the user, of any kind. Refuses with `NotFound`."""
    live = sessions.is_live(clock.now(), *SessionKind)
    if codes.is_id(session_id):
        found = db.session.execute(select(Session.device, live).where(Session.id == session_id, Session.user_id == user_id)).first()
        if found is not None:
            return OneSession(found[0], over=not found[1])
    raise NotFound


def end_session(user_id: str, session_id: str, *, actor_id: str) -> None:
    """Ends a session of the user, of any kind, and forgets its device. Changes nothing if it is over."""
    this = Session.id == session_id, sessions.is_live(clock.now(), *SessionKind)
    with acting(actor_id, user_id) as tx:
        devices.forget(tx, user_id, devices.signed_in_by(*this))
        revocation.end(tx, user_id, *this, noted_as=events.Kind.SESSION_ENDED, actor_id=actor_id)


def _lock(tx: Transaction, user_id: str) -> User:
    """The user, with the row locked. Refuses with `NotFound` a deleted or unknown one."""
    living = select(User).where(User.id == user_id, User.deleted_at.is_(None))
    user = tx.scalar(living.with_for_update(key_share=True).execution_options(populate_existing=True))
    if user is None:
        raise NotFound
    return user


def _code_of(tx: Transaction, settings: Settings, typed: str) -> str:
    """The invite code that was typed, or that of the user whose id was typed."""
    typed = typed.strip()
    if codes.is_id(typed):
        code = tx.scalar(select(User.invite_code).where(User.id == typed))
        why_not = _WHY_NOT[UnknownInvite]
    else:
        code, why_not = invite_codes.read(typed, settings.public_url), NOT_A_REFERRER
    if code is None:
        raise InvalidFields({"referrer": [why_not]})
    return code


def _read_reason(typed: str) -> str:
    """The reason as it is stored. Refuses with `InvalidFields`."""
    reason = " ".join(typed.split())
    if not reason:
        raise InvalidFields({"reason": [REQUIRED]})
    if len(reason) > LONGEST_REASON:
        raise InvalidFields({"reason": [TOO_LONG]})
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in reason):
        raise InvalidFields({"reason": [NOT_TEXT]})
    return reason
