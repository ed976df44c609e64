"""Signing in by a one-time code: `send_code`, `resend_code`, `confirm_code`."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import bindparam, select

from config import Settings
from hammer import clock, events
from hammer.clients import registry
from hammer.db.database import Transaction, db, transaction
from hammer.db.prepared import insert_row, prepared
from hammer.invites import activation, invite_codes
from hammer.login import new_users, test_numbers, verifications
from hammer.login.verifications import Asker, CodeSent
from hammer.models import Device, Session, SessionKind, User, Verification
from hammer.parsing import phones
from hammer.quotas import idempotency
from hammer.refusals import NotAllowed, Refusal, WrongCode
from hammer.sessions import devices, revocation
from hammer.sms import outbox

# The row is locked: a deletion of the user at the same moment waits, and then deletes the new session as well.
FIND_USER: Final = prepared(
    select(User).where(User.telephone_number == bindparam("number")).with_for_update(read=True, key_share=True)
)


@dataclass(frozen=True)
class SignedIn:
    """A session that was opened by a right code."""

    user: User
    session: Session
    device: Device
    """The device that signed in, which is a known device from now on."""
    created: bool
    """Whether this was the first login of the number."""


def send_code(
    settings: Settings,
    telephone_number: str,
    asker: Asker,
    *,
    invite_code: str | None = None,
    key: idempotency.Key | None = None,
) -> CodeSent:
    """A new verification of the number; the message with its code is in the outbox. The answer does not depend on whether the
    number has a user.

    A request that is repeated with its `key` (because its answer was lost) gets the same verification and no second message.

    Refuses with `InvalidFields` and `RegionNotServed`; with `TooManyRequests` when too many messages were asked for, or too many
    codes guessed for this number; with `Unavailable` when the whole system's guesses of today are spent, so that unknown devices
    cannot sign in before tomorrow.
    """
    number = phones.read(settings, telephone_number)
    invite = invite_codes.meant(invite_code, settings.public_url) if invite_code else None
    with transaction() as tx:
        begin = partial(verifications.begin, tx, settings, number, asker, invite_code=invite)
        sent = verifications.ask_once(tx, settings, key, begin)
    outbox.wake_senders()
    return sent


def send_code_to_stored(settings: Settings, number: str, asker: Asker, *, key: idempotency.Key | None = None) -> CodeSent:
    """The same for a number that is already stored, in E.164. It is not parsed again: its numbering plan may have changed.

    Refuses with `TooManyRequests` and `Unavailable`.
    """
    with transaction() as tx:
        sent = verifications.ask_once(tx, settings, key, partial(verifications.begin, tx, settings, number, asker))
    outbox.wake_senders()
    return sent


def resend_code(settings: Settings, verification_id: str, asker: Asker, *, key: idempotency.Key | None = None) -> CodeSent:
    """The same code, sent once more: same expiry, same number of guesses left. A request that is repeated with its `key` sends
    nothing.

    Refuses with `NotFound` when the code cannot be used any more or never existed, and with `TooManyRequests` and `Unavailable`.
    """
    with transaction() as tx:
        resend = partial(verifications.resend, tx, settings, verification_id, asker)
        sent = verifications.ask_once(tx, settings, key, resend)
    outbox.wake_senders()
    return sent


def confirm_code(
    settings: Settings,
    verification_id: str,
    code: str,
    *,
    kind: SessionKind,
    device: str,
    address: str,
    instead_of: str | None = None,
    key: idempotency.Key | None = None,
) -> SignedIn:
    """A new session for the person who holds the number; the first login also creates the user.

    An invite code that was sent along with a first login is activated. One that cannot be activated costs an attempt of the number
    and of `address`, as in `activation.activate`; when no attempt is left, it is not looked up. The login succeeds in each of these
    cases, and its answer is the same.

    A session that the fixed code of a test number opens ends with the test numbers, and leaves no known device.

    `device` is a rough description of the device; the client that asked for the code may have stated another one. The session
    `instead_of` ends: it is the one in which this person proves their number again.

    The guess is taken before the code is compared, so parallel requests cannot compare more codes than there are guesses left.
    Refuses with `WrongCode` for a code that is wrong, expired, used, void or unknown; with `InvalidFields` for input that cannot be
    the code (no guess is taken); with `NotAllowed` for a blocked user, and where the client that asked for the code is disabled by
    now.

    A request that is repeated with its `key` takes no guess. It gets the same refusal, or the same session if that is still valid
    and was never refreshed, otherwise `WrongCode`.
    """
    with transaction() as tx:
        stored = idempotency.claim(tx, key)
        if stored is not None:
            return _opened_before(tx, **stored)
        now = clock.now()
        proved = verifications.guess(tx, settings, verification_id, code, key=key, now=now)
        outcome = proved if isinstance(proved, Refusal) else _sign_in(tx, settings, proved, kind, device, address, key, now)
        if instead_of is not None and isinstance(outcome, SignedIn):
            revocation.replace(tx, outcome.user.id, instead_of, outcome.session.id)
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def signed_in_before(key: idempotency.Key) -> SignedIn | None:
    """The answer of `confirm_code` to the request with this key; None when there was no such request, or its session is over."""
    stored = idempotency.peek(db.session(), key)
    with suppress(WrongCode):
        return _opened_before(db.session(), **stored) if stored and "session" in stored else None
    return None


def _opened_before(tx: Transaction, session: str, turn: int, created: bool) -> SignedIn:
    """The session that the first request with the same key opened, for a caller who did not receive the answer. The arguments are
    what `_sign_in` stored with the key.

    Raises `WrongCode` when the session has ended, was refreshed, or its device signed in again. The last two show that the answer
    did arrive.
    """
    opened = (
        select(Session, User, Device)
        .join(User, User.id == Session.user_id)
        .join(Device, Device.id == Session.device_id)
        .where(Session.id == session, Session.ended_at.is_(None), Session.expires_at > clock.now(), Session.refreshes == 0)
        .where(Device.turns == turn, User.blocked_at.is_(None), User.deleted_at.is_(None))
    )
    found = tx.execute(opened.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise WrongCode(attempts_left=0)
    return SignedIn(found.User, found.Session, found.Device, created)


def _sign_in(
    tx: Transaction,
    settings: Settings,
    proved: Verification,
    kind: SessionKind,
    device: str,
    address: str,
    key: idempotency.Key | None,
    now: datetime,
) -> SignedIn | Refusal:
    """Opens a session for the user of the proved number, who is created if there is none. Returns `NotAllowed` for a blocked
    user, and where the client that asked for the code is disabled."""
    if proved.client_id is not None and not registry.may_sign_in(tx, proved.client_id):
        return _refused(tx, key)
    fixed = verifications.fixed_code(tx, settings, proved, now) is not None
    user, created = _find_or_create(tx, proved.telephone_number, now)
    if user.blocked_at is not None:
        events.note(tx, events.Kind.SIGN_IN_BLOCKED, user.id)
        return _refused(tx, key)
    if created and proved.invite_code:
        activation.activate_at_first_login(tx, settings, user.id, proved.telephone_number, proved.invite_code, address, now)
    known = devices.signed_in(tx, proved.device_id, user, now, client_id=proved.client_id, trusted=not fixed)
    opening = Session.opening(
        user, kind=kind, device=proved.device or device, now=now, device_id=known.id, client_id=proved.client_id
    )
    if fixed:
        opening["expires_at"] = min(opening["expires_at"], test_numbers.end_at(settings))
        events.note(tx, events.Kind.TEST_NUMBER_USED, user.id, client_id=proved.client_id)
    opened = insert_row(tx, Session, **opening)
    events.note(tx, events.Kind.SIGNED_UP if created else events.Kind.SIGNED_IN, user.id, client_id=proved.client_id)
    idempotency.keep(tx, key, session=opened.id, turn=known.turns, created=created)
    return SignedIn(user, opened, known, created)


def _refused(tx: Transaction, key: idempotency.Key | None) -> Refusal:
    refusal = NotAllowed()
    idempotency.keep_refusal(tx, key, refusal)
    return refusal


def _find_or_create(tx: Transaction, number: str, now: datetime) -> tuple[User, bool]:
    """The user of the number, and whether they were created just now. Raises `Unavailable`."""
    user = FIND_USER.row(tx, User, number=number)
    if user is not None:
        return user, False
    created = new_users.insert(tx, number, now)
    if isinstance(created, User):
        return created, True
    user = FIND_USER.row(tx, User, number=number)  # a first login of the same number was quicker
    if user is None:
        raise created
    return user, False
