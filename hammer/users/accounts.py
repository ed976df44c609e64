"""What people may change about themselves: `create`, `rename`, `change_number`, `delete`; and staff's deeds.

An `actor_id` names who does it, where that may be somebody else: the audit trail says so. The command line has none.
"""

import logging
import re
import unicodedata
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete as delete_from
from sqlalchemy import exists, or_, select, update
from sqlalchemy.exc import IntegrityError

from config import Settings
from hammer import clock, events
from hammer.db.database import Transaction, db, transaction
from hammer.invites import tombstones
from hammer.login import new_users, verifications
from hammer.login.verifications import Asker, CodeSent
from hammer.models import Device, Session, User, Verification
from hammer.parsing import phones
from hammer.quotas import idempotency, invite_attempts
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

log = logging.getLogger(__name__)

USERNAME = "[A-Za-z][A-Za-z0-9_.-]{0,29}"
"""It begins with a letter, so that it never reads as a number; `me` is taken by everybody."""
LONGEST_NAME = 150
NOT_A_USERNAME = N_(
    "A username begins with a Latin letter and goes on with letters, digits, dots, hyphens or underscores, 30 at most."
)
TOO_LONG = N_("This is longer than 150 characters.")
NOT_TEXT = N_("This has a character that is not text.")
PILED_UP = N_("One letter here carries too many marks.")
MOST_MARKS: Final = 4
"""Marks on one letter that take no room of their own. As many are needed: a Hebrew shin has its dot, a dagesh, a vowel and an
accent; Burmese and Tibetan syllables have up to four."""
PROOF_STAYS_FRESH: Final = timedelta(minutes=5)
"""So long after proving their number people may change it, or delete themselves: whoever finds an open device may not."""
SIGN_IN_AGAIN = N_("Please sign in again first: this needs a code that is at most five minutes old.")
YOUR_NUMBER = N_("This is your number already.")
_NOT_TEXT: Final = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
"""Control characters, invisible signs, halves of characters, what is none, and what ends a line or a paragraph."""
_JOINERS: Final = "\u200c\u200d"
"""Of the signs that nobody sees, those that writing and emoji need; others turn a name around or make it look empty."""
_BLANKS: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and signs that look like nothing: the fillers of Hangul, the Braille pattern without dots."""


def create(
    settings: Settings,
    telephone_number: str,
    names: Mapping[str, str],
    *,
    is_staff: bool = False,
    actor_id: str | None = None,
    key: idempotency.Key | None = None,
) -> str:
    """A user made by hand, and their id. A request that is repeated with its `key` gets the same one.

    Refuses with `InvalidFields`, `RegionNotServed`, `TelephoneNumberTaken`, `UsernameTaken`.
    """
    number = phones.read(settings, telephone_number)
    stored = _as_stored(names)
    with transaction() as tx:
        if idempotency.claim(tx, key) is not None:
            # By the number, which is part of the request: the id of a person is not kept with the key.
            before = tx.scalar(select(User.id).where(User.telephone_number == number))
            if before is not None:
                return before
        user = new_users.insert(tx, number, clock.now(), is_staff=is_staff, **stored)
        if isinstance(user, Refusal):
            raise user
        events.note(tx, events.Kind.USER_CREATED, user.id, actor_id=actor_id)
        if is_staff:
            events.note(tx, events.Kind.STAFF_GIVEN, user.id, actor_id=actor_id)
        idempotency.keep(tx, key)
    return user.id


def rename(user_id: str, names: Mapping[str, str], *, actor_id: str | None = None) -> None:
    """Changes those of `username`, `first_name` and `last_name` that are given. Refuses with `UsernameTaken`, `NotFound`."""
    if not names:
        return
    try:
        with transaction() as tx:
            _change(tx, user_id, **_as_stored(names))
            events.note(tx, events.Kind.USER_RENAMED, user_id, actor_id=actor_id)
    except IntegrityError as error:
        raise UsernameTaken from error


def proved_lately(session_id: str) -> bool:
    """Whether the number was proved for this session so lately that its user may change it, or delete themselves."""
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
    """A new verification of the number that the user wants to have from now on, its code on the way by text. A request that is
    repeated with its `key` gets the same one.

    Nobody learns here whether somebody else has it. Refuses with `NotAllowed` when the old number was not proved lately for this
    session; with `InvalidFields`, `RegionNotServed`, `TooManyRequests` and `Unavailable` as signing in does.
    """
    number = phones.read(settings, telephone_number)

    def ask() -> CodeSent:
        if not _is_fresh(tx, session_id):
            raise NotAllowed(SIGN_IN_AGAIN)
        if tx.scalar(select(User.telephone_number).where(User.id == user_id)) == number:
            raise InvalidFields({"telephone_number": [YOUR_NUMBER]})
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
    """Gives the user the number that `ask_number` asked about; the old one is told so by a text.

    A request that is repeated with its `key` takes no guess.

    Refuses with `WrongCode` and `InvalidFields` as signing in does, and with `TelephoneNumberTaken`: whoever hears that has proved
    that they hold the number. With `NotSignedIn` a user who was deleted meanwhile.
    """
    with transaction() as tx:
        if idempotency.claim(tx, key) is not None:
            return
        _hold_proofs(tx, user_id)
        purpose = verifications.CHANGE_NUMBER
        proved = verifications.guess(tx, settings, verification_id, code, purpose=purpose, user_id=user_id, key=key)
        if isinstance(proved, Refusal):
            refusal: Refusal | None = proved
        else:
            keep = session_id if end_other_sessions else None
            new = proved.telephone_number, proved.language
            refusal = _move(tx, settings, user_id, *new, forget_devices_but_that_of=keep)
            if refusal is None and end_other_sessions:
                revocation.end(tx, user_id, Session.id != session_id, noted_as=events.Kind.SESSIONS_ENDED)
            idempotency.keep_outcome(tx, key, refusal)
    if refusal is not None:
        raise refusal
    outbox.wake_senders()


def move(settings: Settings, user_id: str, telephone_number: str, *, language: str, end_sessions: bool = False) -> None:
    """Staff's act: gives the user another number without a proof, as when a numbering plan has changed.

    What was known or pending by the old number goes: devices, and codes under way. Sessions stay unless `end_sessions` says
    otherwise: the person is the same, and would be shut out by a new number that is wrong. The old number gets a notice in
    `language`.

    Refuses with `InvalidFields` and `RegionNotServed` as a new number is, with `TelephoneNumberTaken`, and with `NotFound`.
    """
    number = phones.read(settings, telephone_number)
    with transaction() as tx:
        _hold_proofs(tx, user_id)
        tx.execute(delete_from(Verification).where(Verification.user_id == user_id))
        devices.forget(tx, user_id)
        refusal = _move(tx, settings, user_id, number, language)
        if refusal is not None:
            raise NotFound if isinstance(refusal, NotSignedIn) else refusal
        devices.forget(tx, user_id)  # a login that was quicker has left a new one
        if end_sessions:
            revocation.end(tx, user_id, noted_as=events.Kind.SESSIONS_ENDED)
    outbox.wake_senders()


def delete(
    settings: Settings,
    user_id: str,
    *,
    actor_id: str | None = None,
    session_id: str | None = None,
    key: idempotency.Key | None = None,
) -> None:
    """Forgets all that is personal and ends every session. What remains counts for others and names nobody. A request
    that is repeated with its `key` is done already; `was_deleted` says so to a caller whose session is gone.

    Who deletes themselves (`actor_id`) must have proved their number lately for their session. Refuses with `NotAllowed`,
    `NotFound`.
    """
    now = clock.now()
    with transaction() as tx:
        if idempotency.claim(tx, key) is not None:
            return
        if actor_id == user_id and not _is_fresh(tx, session_id):
            raise NotAllowed(SIGN_IN_AGAIN)
        _hold_proofs(tx, user_id)
        number = select(User.telephone_number).where(User.id == user_id, User.deleted_at.is_(None))
        theirs = or_(Verification.telephone_number == number.scalar_subquery(), Verification.user_id == user_id)
        tx.execute(delete_from(Verification).where(theirs))
        devices.forget(tx, user_id)
        had = tx.scalar(number.with_for_update())
        if had is None:
            raise NotFound
        nobody = {"telephone_number": None, "username": None, "first_name": "", "last_name": "", "is_staff": False}
        tx.execute(_living(user_id).values(nobody | {"deleted_at": now}))
        tombstones.mark(tx, settings, user_id, had, now)
        invite_attempts.forget(tx, user_id)
        for table in (Session, Device):  # a login that was quicker has left new ones
            tx.execute(delete_from(table).where(table.user_id == user_id))
        events.note(tx, events.Kind.USER_DELETED, user_id, actor_id=actor_id)
        idempotency.keep(tx, key)
    log.info("Deleted user %s.", user_id)  # a backup of before knows nothing of it: docs/privacy.md


def was_deleted(key: idempotency.Key) -> bool:
    """Whether `delete` has done the request with this key."""
    return idempotency.peek(db.session(), key) is not None


def set_staff(user_id: str, is_staff: bool, *, actor_id: str | None = None) -> None:
    """Gives or takes what staff may do; it holds from the user's next request on. Refuses with `NotFound`."""
    with transaction() as tx:
        _change(tx, user_id, is_staff=is_staff)
        events.note(tx, events.Kind.STAFF_GIVEN if is_staff else events.Kind.STAFF_TAKEN, user_id, actor_id=actor_id)


def set_blocked(user_id: str, blocked: bool, *, actor_id: str | None = None) -> None:
    """Shuts a user out at once, or lets them in again (with a new sign-in); none of their devices is known then. Refuses with
    `NotFound`."""
    with transaction() as tx:
        revocation.end_all(tx, user_id)
        _change(tx, user_id, blocked_at=clock.now() if blocked else None)
        events.note(tx, events.Kind.USER_BLOCKED if blocked else events.Kind.USER_UNBLOCKED, user_id, actor_id=actor_id)


def _hold_proofs(tx: Transaction, user_id: str) -> None:
    """Locks the proofs of the user's number, before anything else is locked.

    A login locks its proof first, then its device or counters, then the user. In another order the two would wait for each other.
    """
    number = select(User.telephone_number).where(User.id == user_id).scalar_subquery()
    theirs = select(Verification.id).where(Verification.telephone_number == number).order_by(Verification.id)
    tx.execute(theirs.with_for_update())


def _living(user_id: str) -> Any:
    return update(User).where(User.id == user_id, User.deleted_at.is_(None))


def _change(tx: Transaction, user_id: str, **values: object) -> None:
    if tx.scalar(_living(user_id).values(values).returning(User.id)) is None:
        raise NotFound


def _is_fresh(tx: Transaction, session_id: str | None) -> bool:
    now = clock.now()
    lately = (Session.created_at > now - PROOF_STAYS_FRESH, Session.created_at <= now + clock.APART)
    here = (Session.id == session_id, Session.ended_at.is_(None), *lately)
    return bool(tx.scalar(select(exists().where(*here))))


def _move(
    tx: Transaction,
    settings: Settings,
    user_id: str,
    number: str,
    language: str,
    *,
    forget_devices_but_that_of: str | None = None,
) -> Refusal | None:
    """Gives the user the number, and tells the one they had, in this language; or why not."""
    now = clock.now()
    mine = select(User.telephone_number).where(User.id == user_id)
    try:
        with tx.begin_nested():
            # What is left of proofs of the old number goes with it, and before the user is locked: see `_hold_proofs`.
            tx.execute(delete_from(Verification).where(Verification.telephone_number == mine.scalar_subquery()))
            if forget_devices_but_that_of is not None:
                devices.forget(tx, user_id, devices.all_but_that_of(tx, forget_devices_but_that_of))
            old = tx.scalar(mine.with_for_update())
            moved = tx.scalar(_living(user_id).values(telephone_number=number).returning(User.id))
    except IntegrityError:
        return TelephoneNumberTaken()
    if moved is None:
        return NotSignedIn()
    if old is not None and old != number:
        tombstones.mark(tx, settings, user_id, old, now)
        outbox.add_notice(tx, old, language)
        events.note(tx, events.Kind.NUMBER_CHANGED, user_id)
    return None


def _as_stored(names: Mapping[str, str]) -> dict[str, str | None]:
    """Names as they are kept: trimmed, composed (NFC), a blank username as None. `InvalidFields` names all bad ones at once."""
    kept = {field: unicodedata.normalize("NFC", value.strip()) for field, value in names.items()}
    errors = {}
    for field, value in kept.items():
        if field == "username" and value and (not re.fullmatch(USERNAME, value) or value.lower() == "me"):
            errors[field] = [NOT_A_USERNAME]
        elif len(value) > LONGEST_NAME:
            errors[field] = [TOO_LONG]
        elif any(unicodedata.category(sign) in _NOT_TEXT and sign not in _JOINERS for sign in value):
            errors[field] = [NOT_TEXT]
        elif _piles_up(value):
            errors[field] = [PILED_UP]
        elif value and all(unicodedata.category(sign)[0] in "MZ" or sign in _JOINERS + _BLANKS for sign in value):
            errors[field] = [NOT_TEXT]  # there is nothing to see in it
    if errors:
        raise InvalidFields(errors)
    return {field: (value or None) if field == "username" else value for field, value in kept.items()}


def _piles_up(name: str) -> bool:
    """Whether one letter carries more marks than any writing needs. Marks that take room (`Mc`) and joiners begin no new letter."""
    marks = 0
    for sign in name:
        kind = unicodedata.category(sign)
        if kind in ("Mn", "Me"):
            marks += 1
        elif kind != "Mc" and sign not in _JOINERS:
            marks = 0
        if marks > MOST_MARKS:
            return True
    return False
