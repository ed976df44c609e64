"""Signing in by a code: `send_code`, `resend_code`, `confirm_code`."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import bindparam, select, update

from config import Settings
from hammer import clock, codes, events
from hammer.db.database import Transaction, db, transaction
from hammer.db.prepared import insert_row, prepared
from hammer.invites import invite_codes, tombstones
from hammer.login import verifications
from hammer.login.verifications import Asker, CodeSent
from hammer.models import Device, Referral, Session, SessionKind, User, Verification
from hammer.parsing import phones
from hammer.quotas import idempotency, invite_attempts
from hammer.refusals import NotAllowed, Unavailable, WrongCode
from hammer.sessions import devices, revocation
from hammer.sms import outbox

_FREE_CODE_TRIES = 10

# Locked, lest a user who is being deleted at this moment gets one session more.
FIND_USER: Final = prepared(
    select(User).where(User.telephone_number == bindparam("number")).with_for_update(read=True, key_share=True)
)
CREATE_USER: Final = prepared(lambda insert: insert(User).on_conflict_do_nothing().returning(User))
COUNT_INVITEE: Final = prepared(
    update(User)
    .where(User.invite_code == bindparam("invite"), User.deleted_at.is_(None), User.id != bindparam("user"))
    .values(invite_count=User.invite_count + 1)
    .returning(User.id)
)


@dataclass(frozen=True)
class SignedIn:
    user: User
    session: Session
    device: Device
    """Known from now on."""
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
    """A new verification of the number, its code on the way by text. Nobody learns here whether the number is known.

    A request that is repeated with its `key`, as when its answer was lost, gets the same verification and no other text.

    Refuses with `InvalidFields` and `RegionNotServed`; with `TooManyRequests` when too many texts were asked for lately, or too
    much was guessed at this number; with `Unavailable` when so much was guessed everywhere that unknown devices must wait for the
    next day.
    """
    number = phones.read(settings, telephone_number)
    invite = invite_codes.meant(invite_code, settings.public_url) if invite_code else None
    with transaction() as tx:
        begin = partial(verifications.begin, tx, settings, number, asker, invite_code=invite)
        sent = verifications.ask_once(tx, settings, key, begin)
    outbox.wake_senders()
    return sent


def send_code_to_stored(settings: Settings, number: str, asker: Asker, *, key: idempotency.Key | None = None) -> CodeSent:
    """The same for a number that is stored already, in E.164. It is not read again: its numbering plan may have changed.

    Refuses with `TooManyRequests` and `Unavailable`.
    """
    with transaction() as tx:
        sent = verifications.ask_once(tx, settings, key, partial(verifications.begin, tx, settings, number, asker))
    outbox.wake_senders()
    return sent


def resend_code(settings: Settings, verification_id: str, asker: Asker, *, key: idempotency.Key | None = None) -> CodeSent:
    """The same code on its way once more: same expiry, same guesses left. Repeated with its `key`, not once more.

    Refuses with `NotFound` when the verification is over or never was, and with `TooManyRequests`.
    """
    with transaction() as tx:
        again = partial(verifications.again, tx, settings, verification_id, asker)
        sent = verifications.ask_once(tx, settings, key, again)
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
    """A new session of whoever holds the number, and at the first login the user with an invite code of their own.

    An invite code that came along to a first login is activated. One that cannot be costs a try of the number and of `address`, as
    it does in `invites.activate`; where no try is left it is not looked up. The login goes on in every case, and answers the same.

    The guess is taken before anything is compared, so that of any number of parallel tries only as many as are left are looked at.
    Refuses with `WrongCode` for a code that is wrong, expired, spent, void or unknown alike; with `InvalidFields` for what cannot
    be the code (no guess is taken); with `NotAllowed` for a blocked user. `device` is roughly what it is; the session `instead_of`
    ends, for somebody who proves their number anew.

    A request that is repeated with its `key` takes no guess: it gets the same refusal, or the same session as long as that lives
    and was never refreshed, else `WrongCode`.
    """
    signed_in = None
    with transaction() as tx:
        before = idempotency.claim(tx, key)
        if before is not None:
            return _opened_before(tx, **before)
        guess = verifications.guess(tx, settings, verification_id, code)
        if guess.verification is not None and guess.refusal is None:
            signed_in = _sign_in(tx, settings, guess.verification, kind, device, address)
            if signed_in is not None and instead_of is not None:
                revocation.end(tx, signed_in.user.id, Session.id == instead_of)
        if signed_in is not None:
            opened = {"session": signed_in.session.id, "turn": signed_in.device.turns, "created": signed_in.created}
            idempotency.keep(tx, key, **opened)
        elif guess.verification is not None:
            idempotency.keep_refusal(tx, key, guess.refusal or NotAllowed())
        else:
            idempotency.free(tx, key)
    guess.proven()
    if signed_in is None:
        raise NotAllowed
    return signed_in


def signed_in_before(key: idempotency.Key) -> SignedIn | None:
    """What `confirm_code` gave to the request with this key; None when there was none, or when that session is over."""
    before = idempotency.peek(db.session(), key)
    with suppress(WrongCode):
        return _opened_before(db.session(), **before) if before and "session" in before else None
    return None


def _opened_before(tx: Transaction, session: str, turn: int, created: bool) -> SignedIn:
    """The session that the same request opened before, for a caller who lost the answer. Refuses with `WrongCode` when that has
    ended, or was refreshed, or its device signed in again: then the answer arrived."""
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
    tx: Transaction, settings: Settings, verification: Verification, kind: SessionKind, device: str, address: str
) -> SignedIn | None:
    now = clock.now()
    user, created = _user_of(tx, verification.telephone_number, now)
    if user.blocked_at is not None:
        events.note(tx, events.Kind.SIGN_IN_BLOCKED, user.id)
        return None
    if created and verification.invite_code and not tombstones.lies(tx, settings, verification.telephone_number, now):
        limits = invite_attempts.limits(tx, settings, user.id, verification.telephone_number, address, now)
        if invite_attempts.take(tx, limits, now) is None and _activate_first(tx, user, verification.invite_code, now):
            invite_attempts.give_back(tx, limits, now)
    known = devices.welcome(tx, verification.device_id, user, now)
    opened = insert_row(tx, Session, **Session.opening(user, kind=kind, device=device, now=now, device_id=known.id))
    events.note(tx, events.Kind.SIGNED_UP if created else events.Kind.SIGNED_IN, user.id)
    return SignedIn(user, opened, known, created)


def _user_of(tx: Transaction, number: str, now: datetime) -> tuple[User, bool]:
    """The one user of the number, made if there is none, and whether it was made. The unique constraints decide both."""
    for _ in range(_FREE_CODE_TRIES):
        user = FIND_USER.row(tx, User, number=number)
        if user is not None:
            return user, False
        new = {"id": codes.random_id(), "telephone_number": number, "invite_code": codes.new_invite_code(), "date_joined": now}
        user = CREATE_USER.row(tx, User, **new)
        if user is not None:
            return user, True
    raise Unavailable(retry_after=1)


def _activate_first(tx: Transaction, user: User, invite_code: str, now: datetime) -> bool:
    """Activates the invite code that came along to a first login; whether a living user owns it.

    A user made just now can neither own the code nor stand above its owner.
    """
    owner = COUNT_INVITEE.value(tx, invite=invite_code, user=user.id)
    if owner is None:
        return False
    insert_row(tx, Referral, referee_id=user.id, referrer_id=owner, activated_at=now)
    events.note(tx, events.Kind.INVITE_ACTIVATED, user.id)
    return True
