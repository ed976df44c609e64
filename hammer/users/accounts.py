"""What people change about their accounts (`change`, `change_number`, `delete`), and what staff and the command line do to users.

`actor_id` is the user who acts, for the audit trail: staff act on other users, and are refused with `NotAllowed` once they are not
staff any more (`acting`). The command line and clients pass none. Clients set `not_staff`, which refuses with `NotAllowed` to
change staff: with a stolen secret one could block all of them. Staff do not block, delete or move other staff either.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Select, exists, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError

from config import Settings
from hammer import clock, events
from hammer.acting import STAFF_FIRST, acting, refuse_oneself, refuse_staff
from hammer.db.database import Transaction, db, transaction
from hammer.factors import staff
from hammer.invites import tombstones
from hammer.login import new_users, test_numbers, verifications
from hammer.login.verifications import Asker, CodeSent
from hammer.models import Authorization, Consent, Session, User, Verification
from hammer.parsing import phones
from hammer.quotas import idempotency, invite_attempts, staff_limits
from hammer.refusals import (
    N_,
    InvalidFields,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refusal,
    TelephoneNumberTaken,
    UsernameTaken,
)
from hammer.sessions import devices, revocation
from hammer.sms import outbox
from hammer.users.metadata import read as read_metadata
from hammer.users.names import read as read_names

log = logging.getLogger(__name__)

PROOF_STAYS_FRESH: Final = timedelta(minutes=5)
"""How long after proving their number people may change it or delete their account. It protects a device that was left open."""
SIGN_IN_AGAIN = N_("Please sign in again first: this needs a code that is at most five minutes old.")
STAFF_CHANGE_STAFF: Final = N_("Apps cannot change staff.")
YOUR_NUMBER = N_("This is your number already.")
EMPTIED: Final[dict[str, object]] = {
    "telephone_number": None,
    "username": None,
    "first_name": "",
    "last_name": "",
    "is_staff": False,
    "app_metadata": None,
    "passkey_handle": None,
}
"""What a deletion leaves in the personal columns of a user."""


def create(
    settings: Settings,
    telephone_number: str,
    names: Mapping[str, str],
    metadata: Mapping[str, Any] | None = None,
    *,
    is_staff: bool = False,
    actor_id: str | None = None,
    key: idempotency.Key | None = None,
) -> str:
    """The id of a new user. A request that is repeated with its `key` gets the same id.

    Refuses with `InvalidFields`, `RegionNotServed`, `TelephoneNumberTaken`, `UsernameTaken`; with `NotAllowed` staff with a test
    number.
    """
    number, stored = phones.read(settings, telephone_number), _stored(names, metadata)
    if is_staff:
        test_numbers.refuse_staff(settings, number, clock.now())
    with acting(actor_id) as tx:
        if idempotency.claim(tx, key) is not None:
            # Found by the number, which is part of the request: the id of a user is not stored with the key.
            created_id = tx.scalar(select(User.id).where(User.telephone_number == number))
            if created_id is not None:
                return created_id
        user = new_users.insert(tx, number, clock.now(), is_staff=is_staff, **stored)
        if isinstance(user, Refusal):
            raise user
        events.note(tx, events.Kind.USER_CREATED, user.id, actor_id=actor_id)
        if is_staff:
            events.note(tx, events.Kind.STAFF_GIVEN, user.id, actor_id=actor_id)
        idempotency.keep(tx, key)
    return user.id


def change(
    user_id: str,
    names: Mapping[str, str],
    metadata: Mapping[str, Any] | None = None,
    *,
    actor_id: str | None = None,
    not_staff: bool = False,
) -> None:
    """Changes those of `username`, `first_name` and `last_name` that are given, and replaces the metadata if they are given.

    Refuses with `InvalidFields`, `UsernameTaken`, `NotFound`. With `not_staff` a user who is staff is refused with `NotAllowed`,
    also if nothing is given.
    """
    stored = _stored(names, metadata)
    if not stored and not not_staff:
        return
    try:
        with acting(actor_id, user_id) as tx:
            if not_staff:
                refuse_staff(tx, user_id, STAFF_CHANGE_STAFF)
            if stored:
                _update_user(tx, user_id, **stored)
            if names:
                events.note(tx, events.Kind.USER_RENAMED, user_id, actor_id=actor_id)
            if metadata is not None:
                events.note(tx, events.Kind.USER_METADATA_CHANGED, user_id, actor_id=actor_id)
    except IntegrityError as error:
        raise UsernameTaken from error


def proved_lately(session_id: str) -> bool:
    """Whether the number was proved for this session within `PROOF_STAYS_FRESH`."""
    return _is_fresh(db.session(), session_id)


def ask_number(
    settings: Settings,
    user_id: str,
    session_id: str,
    telephone_number: str,
    asker: Asker,
    *,
    key: idempotency.Key | None = None,
) -> CodeSent:
    """A new verification of the number that the user wants to change to; the message with its code is in the outbox. A request that
    is repeated with its `key` gets the same verification.

    The answer does not depend on whether another user has the number. Refuses with `NotAllowed` when the present number was not
    proved lately for this session; with `InvalidFields`, `RegionNotServed`, `TooManyRequests` and `Unavailable` like a login; with
    `InvalidFields` to or from a test number.
    """
    number = phones.read(settings, telephone_number)

    def ask() -> CodeSent:
        if not _is_fresh(tx, session_id):
            raise NotAllowed(SIGN_IN_AGAIN)
        own = tx.scalar(_number_of(user_id))
        if own == number:
            raise InvalidFields({"telephone_number": [YOUR_NUMBER]})
        if refusal := test_numbers.refuses_change(settings, own, number, clock.now()):
            raise refusal
        return verifications.begin(tx, settings, number, asker, purpose=verifications.CHANGE_NUMBER, user_id=user_id)

    with transaction() as tx:
        sent = verifications.ask_once(tx, settings, key, ask)
    outbox.wake_senders()
    return sent


def change_number(
    settings: Settings,
    user_id: str,
    session_id: str,
    verification_id: str,
    code: str,
    *,
    end_other_sessions: bool = False,
    key: idempotency.Key | None = None,
) -> None:
    """Gives the user the number that `ask_number` sent a code to, and sends a notice to the old number.

    A request that is repeated with its `key` takes no guess.

    Refuses with `WrongCode` and `InvalidFields` like a login; with `TelephoneNumberTaken`, which only the holder of that number
    can learn; with `NotSignedIn` when the user was deleted while this request was on its way.
    """
    with transaction() as tx:
        if idempotency.claim(tx, key) is not None:
            return
        _lock_verifications(tx, user_id)
        purpose = verifications.CHANGE_NUMBER
        proved = verifications.guess(tx, settings, verification_id, code, purpose=purpose, user_id=user_id, key=key)
        if isinstance(proved, Refusal):
            refusal: Refusal | None = proved
        else:
            session_to_keep = session_id if end_other_sessions else None
            refusal = _set_number(tx, settings, user_id, proved.telephone_number, proved.language, session_to_keep=session_to_keep)
            if refusal is None and end_other_sessions:
                revocation.end(tx, user_id, revocation.all_but(session_id), noted_as=events.Kind.SESSIONS_ENDED)
            idempotency.keep_outcome(tx, key, refusal)
    if refusal is not None:
        raise refusal
    outbox.wake_senders()


def move(
    settings: Settings,
    user_id: str,
    telephone_number: str,
    *,
    language: str,
    end_sessions: bool = False,
    actor_id: str | None = None,
) -> None:
    """Gives the user another number without a proof, for operators: for example after a change of a numbering plan.

    Known devices and pending codes of the old number are deleted. Sessions stay unless `end_sessions` is set: the person is the
    same, and a mistyped number would lock them out. The old number gets a notice in `language`.

    Refuses with `InvalidFields` and `RegionNotServed` like a new number; with `InvalidFields` to or from a test number; with
    `TelephoneNumberTaken`, and with `NotFound`; with `NotAllowed` staff who would move themselves or other staff.
    """
    refuse_oneself(actor_id, user_id)
    number = phones.read(settings, telephone_number)
    with acting(actor_id, user_id) as tx:
        _lock_verifications(tx, user_id)
        _delete_verifications(tx, user_id)
        devices.forget(tx, user_id)
        refusal = _set_number(tx, settings, user_id, number, language, actor_id=actor_id)
        if refusal is not None:
            raise NotFound if isinstance(refusal, NotSignedIn) else refusal
        if actor_id:
            refuse_staff(tx, user_id)
        devices.forget(tx, user_id)  # a login that got its locks first has left a new one
        if end_sessions:
            revocation.end(tx, user_id, noted_as=events.Kind.SESSIONS_ENDED, actor_id=actor_id)
    outbox.wake_senders()


def delete(
    settings: Settings,
    user_id: str,
    *,
    actor_id: str | None = None,
    session_id: str | None = None,
    not_staff: bool = False,
    key: idempotency.Key | None = None,
) -> None:
    """Deletes everything personal and ends every session. The row of the user stays, empty, for the counts of other users.

    A request that is repeated with its `key` changes nothing; a caller whose session is gone can ask `was_deleted`.

    Users who delete themselves (`actor_id` is `user_id`) must have proved their number lately for their session `session_id`.
    Refuses with `NotAllowed`, also staff who would delete other staff; with `NotFound`.
    """
    with acting(actor_id, user_id) as tx:
        if idempotency.claim(tx, key) is not None:
            return
        if actor_id == user_id and not _is_fresh(tx, session_id):
            raise NotAllowed(SIGN_IN_AGAIN)
        # Locks are taken in the order of a login: first verifications, then devices, then the user, then sessions.
        _lock_verifications(tx, user_id)
        _delete_verifications(tx, user_id)
        devices.forget(tx, user_id)
        number = _lock_number(tx, user_id)
        if number is None:
            raise NotFound
        if not_staff or actor_id not in (None, user_id):
            refuse_staff(tx, user_id, STAFF_CHANGE_STAFF if not_staff else STAFF_FIRST)
        now = clock.now()
        _update_user(tx, user_id, **EMPTIED, deleted_at=now)
        tombstones.mark(tx, settings, user_id, number, now)
        invite_attempts.forget(tx, user_id)
        staff_limits.forget(tx, user_id)
        revocation.end(tx, user_id)  # before they are deleted: apps get logout notices
        theirs = select(Session.id).where(Session.user_id == user_id)
        tx.execute(delete_from(Authorization).where(or_(Authorization.session_id.in_(theirs), Authorization.login_hint == number)))
        for table in (Session, Consent):
            tx.execute(delete_from(table).where(table.user_id == user_id))
        devices.forget(tx, user_id)  # again: a login that got its locks first has left a new one
        staff.delete(tx, user_id)
        events.note(tx, events.Kind.USER_DELETED, user_id, actor_id=actor_id)
        idempotency.keep(tx, key)
    log.info("Deleted user %s.", user_id)  # after a restored backup, users in this log are deleted again: docs/privacy.md


def was_deleted(key: idempotency.Key) -> bool:
    """Whether `delete` has done the request with this key."""
    return idempotency.peek(db.session(), key) is not None


def set_staff(settings: Settings, user_id: str, is_staff: bool, *, actor_id: str | None = None) -> None:
    """Gives or takes the rights of staff, from the user's next request on. Their second factors go with the rights.

    Refuses with `NotFound`; with `NotAllowed` to give them to the user of a test number, and staff who name themselves. Since those
    who act stay staff, staff cannot take the rights of the last one.
    """
    refuse_oneself(actor_id, user_id)
    with acting(actor_id, user_id) as tx:
        if is_staff:
            give_staff(tx, settings, user_id, actor_id)
        else:
            _update_user(tx, user_id, is_staff=False)
            staff.forget(tx, user_id)
            events.note(tx, events.Kind.STAFF_TAKEN, user_id, actor_id=actor_id)


def give_staff(tx: Transaction, settings: Settings, user_id: str, actor_id: str | None) -> None:
    """Gives the rights of staff, in the caller's transaction. Refuses with `NotFound`, and with `NotAllowed` a test number."""
    test_numbers.refuse_staff(settings, _lock_number(tx, user_id), clock.now())
    _update_user(tx, user_id, is_staff=True)
    events.note(tx, events.Kind.STAFF_GIVEN, user_id, actor_id=actor_id)


def set_blocked(user_id: str, blocked: bool, *, actor_id: str | None = None, not_staff: bool = False) -> bool:
    """Blocks a user at once, or lets them sign in again. Both end all sessions and forget all devices. False, and nothing ends, if
    they were blocked, or not blocked, before.

    Refuses with `NotAllowed` users who would block themselves, staff who would block other staff, and all changes to staff where
    `not_staff` is set; and with `NotFound`.
    """
    refuse_oneself(actor_id, user_id)
    result = False
    with suppress(_Unchanged), acting(actor_id, user_id) as tx:
        revocation.end_all(tx, user_id)  # first, since sessions are locked before their user
        if not_staff or (actor_id and blocked):
            refuse_staff(tx, user_id, STAFF_CHANGE_STAFF if not_staff else STAFF_FIRST)
        living = select(User.blocked_at.is_not(None)).where(User.id == user_id, User.deleted_at.is_(None))
        if tx.scalar(living.with_for_update(key_share=True)) == blocked:
            raise _Unchanged
        _update_user(tx, user_id, blocked_at=clock.now() if blocked else None)
        events.note(tx, events.Kind.USER_BLOCKED if blocked else events.Kind.USER_UNBLOCKED, user_id, actor_id=actor_id)
        result = True
    if result:  # after a restored backup, users in this log are blocked again: docs/privacy.md
        log.info("%s user %s.", "Blocked" if blocked else "Unblocked", user_id)
    return result


class _Unchanged(Exception):
    """Rolls back a change that finds its result there already."""


def _stored(names: Mapping[str, str], metadata: Mapping[str, Any] | None) -> dict[str, str | None]:
    """The columns of names and metadata, as they are stored. Refuses with `InvalidFields`."""
    return read_names(names) | ({} if metadata is None else {"app_metadata": read_metadata(metadata)})


def _number_of(user_id: str) -> Select[str | None]:
    """Selects the user's number, which is NULL for a deleted user."""
    return select(User.telephone_number).where(User.id == user_id)


def _lock_verifications(tx: Transaction, user_id: str) -> None:
    """Locks the verifications of the user's number, before anything else is locked.

    A login locks its verification first, then its device or the limits, then the user. A transaction with another order could wait
    for a login that waits for it.
    """
    of_number = Verification.telephone_number == _number_of(user_id).scalar_subquery()
    tx.execute(select(Verification.id).where(of_number).order_by(Verification.id).with_for_update())


def _delete_verifications(tx: Transaction, user_id: str) -> None:
    """Deletes the verifications of the user's number, and those that the user asked for."""
    of_number = Verification.telephone_number == _number_of(user_id).scalar_subquery()
    tx.execute(delete_from(Verification).where(or_(of_number, Verification.user_id == user_id)))


def _lock_number(tx: Transaction, user_id: str) -> str | None:
    """The user's number, with the row of the user locked; None for a deleted or unknown user."""
    return tx.scalar(_number_of(user_id).with_for_update())


def _update_user(tx: Transaction, user_id: str, **values: object) -> None:
    """Changes columns of a user. Raises `NotFound` for a deleted or unknown user."""
    changed = update(User).where(User.id == user_id, User.deleted_at.is_(None)).values(values).returning(User.id)
    if tx.scalar(changed) is None:
        raise NotFound


def _is_fresh(tx: Transaction, session_id: str | None) -> bool:
    """Whether the session has not ended and was opened within `PROOF_STAYS_FRESH`. A proof of the number opens
    each session."""
    now = clock.now()
    opened_lately = (Session.created_at > now - PROOF_STAYS_FRESH, Session.created_at <= now + clock.APART)
    this_session = (Session.id == session_id, Session.ended_at.is_(None))
    return bool(tx.scalar(select(exists().where(*this_session, *opened_lately))))


def _set_number(
    tx: Transaction,
    settings: Settings,
    user_id: str,
    number: str,
    language: str,
    *,
    session_to_keep: str | None = None,
    actor_id: str | None = None,
) -> Refusal | None:
    """Gives the user the number and puts a notice to the old number into the outbox; or returns why not.

    With `session_to_keep`, all devices are forgotten except the one of that session.
    """
    of_old_number = Verification.telephone_number == _number_of(user_id).scalar_subquery()
    try:
        with tx.begin_nested():
            tx.execute(delete_from(Verification).where(of_old_number))  # before the user is locked: see `_lock_verifications`
            if session_to_keep is not None:
                devices.forget(tx, user_id, devices.all_but_that_of(tx, session_to_keep))
            old = _lock_number(tx, user_id)
            if old is None:
                return NotSignedIn()
            if refusal := test_numbers.refuses_change(settings, old, number, clock.now()):
                return refusal
            _update_user(tx, user_id, telephone_number=number)
    except IntegrityError:
        return TelephoneNumberTaken()
    if old != number:
        tombstones.mark(tx, settings, user_id, old, clock.now())
        outbox.add_notice(tx, old, language, events.request_id.get())
        events.note(tx, events.Kind.NUMBER_CHANGED, user_id, actor_id=actor_id)
    return None
