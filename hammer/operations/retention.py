"""What is past its keeping time: `prune`.

Counters and tombstones carry their end themselves: with the last day that they count for, and after `tombstones.LIFETIME`. All
other times stand here, and in `docs/privacy.md`.

It works in small transactions, so that nobody waits behind a large one; cut short, it goes on at the next call.
"""

import logging
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, inspect, or_, select, true, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from config import LONGEST_CODE_TTL_SECONDS
from hammer import clock
from hammer.db.database import Base, db, transaction
from hammer.invites import tombstones
from hammer.models import (
    SESSION_LIFETIME,
    Counter,
    Device,
    Event,
    IdempotencyKey,
    Message,
    SendAllowance,
    Session,
    Tombstone,
    Verification,
)
from hammer.quotas import idempotency, texts

VERIFICATIONS_KEPT = timedelta(hours=24)
"""After their end, and their texts with them: long enough to ask why a login failed today, no longer than a number of somebody who
never signed up may lie about (GDPR Art. 5(1)(e), OWASP ASVS 14.2.7)."""
SESSIONS_KEPT = timedelta(days=30)
"""After their end: so long people can see in their export which devices were signed in, which matters after a theft."""
ALLOWANCES_KEPT = timedelta(hours=24)
"""From the beginning of their day; then, and once the wait is over too, one says no more than none does. They are keyed hashes, but
also a keyed hash of a number is somebody's."""
NOTICES_KEPT = timedelta(hours=24)
"""From the moment at which they were due: one that could not be sent by then says where somebody was, to nobody's use."""
DEVICES_KEPT = timedelta(days=400)
"""After their last sign-in: as long as a browser keeps the cookie by which they are known."""
COUNTERS_KEPT = timedelta(hours=24)
"""After their end: where a clock was ahead for some hours, what was counted today must not be forgotten when it is right again."""
EVENTS_KEPT = timedelta(days=365)
"""What happened, told by random ids: long enough to find out about a theft that was noticed late."""

MOST_AT_ONCE = 1000
"""Rows in one transaction."""

log = logging.getLogger(__name__)


def prune() -> dict[str, int]:
    """How many rows of each kind were past their keeping time; they are gone now. May be called at any time."""
    now = clock.now()
    _set_right(now)
    old = now - VERIFICATIONS_KEPT
    ended = or_(Verification.expires_at <= old, Verification.consumed_at <= old)
    # None is consumed earlier than this before it expires: so one index finds all of them.
    ended = and_(Verification.expires_at <= old + timedelta(seconds=LONGEST_CODE_TTL_SECONDS), ended)
    # Made while the clock was ahead: it would live when its time comes.
    early = and_(Verification.expires_at > now, Verification.created_at > now + clock.APART)
    verifications = or_(ended, early)
    repeated = or_(IdempotencyKey.expires_at <= now, IdempotencyKey.expires_at > now + idempotency.FORM_LIFETIME + clock.APART)
    old = now - SESSIONS_KEPT
    sessions = or_(Session.expires_at <= old, Session.ended_at <= old)
    notices = and_(Message.verification_id.is_(None), Message.due_at <= now - NOTICES_KEPT)
    return {
        "texts": _clear(Message, Message.verification_id.in_(select(Verification.id).where(verifications)))
        + _clear(Message, notices),
        "verifications": _clear(Verification, verifications),
        "sessions": _clear(Session, sessions),
        "send allowances": _clear(SendAllowance, _spent_allowance(now)),
        "counters": _clear(Counter, Counter.ends_at <= now - COUNTERS_KEPT),
        "devices": _clear(Device, Device.used_at <= now - DEVICES_KEPT),
        "tombstones": _clear(Tombstone, Tombstone.expires_at <= now),
        "events": _clear(Event, Event.at <= now - EVENTS_KEPT),
        "idempotency keys": _clear(IdempotencyKey, repeated),
    }


def restored() -> dict[str, int]:
    """After a backup was restored, or a standby took over that lacked the last transactions: how much was voided that was used or
    ended since, perhaps, and may not come back. Those are all codes, all sessions and known devices, and the answers to repeated
    requests."""
    anything = true()
    gone = {
        "texts": _clear(Message, Message.verification_id.is_not(None)),
        "verifications": _clear(Verification, anything),
        "devices": _clear(Device, anything),
        "idempotency keys": _clear(IdempotencyKey, anything),
    }
    with transaction() as tx:
        over = update(Session).where(Session.ended_at.is_(None)).values(ended_at=clock.now())
        return gone | {"sessions": len(tx.scalars(over.returning(Session.id)).all())}


def _set_right(now: datetime) -> None:
    """Moments that lie further ahead than they can: a clock was wrong. Left as they are they would count for as long as it was
    ahead. A session is set right when it is used (`sessions`); here one ends that is not used any more."""
    latest = {
        SendAllowance.day_began_at: now,
        Session.expires_at: now + max(SESSION_LIFETIME.values()),
        Device.used_at: now,
        Tombstone.expires_at: now + tombstones.LIFETIME,
    }
    moved = sum(_move(column, most) for column, most in latest.items())
    if moved:
        log.warning("Set right %d moments that lay in the future: a clock was ahead.", moved)


def _move(column: InstrumentedAttribute[datetime], latest: datetime) -> int:
    """Moves what lies after `latest` there. It is looked for without a transaction, since there is hardly ever anything."""
    table, moved, beyond = column.class_, 0, column > latest + clock.APART
    [key] = inspect(table).primary_key
    while keys := db.session.scalars(select(key).where(beyond).limit(MOST_AT_ONCE)).all():
        with transaction() as tx:
            tx.execute(update(table).where(key.in_(keys), beyond).values({column.key: latest}))
        moved += len(keys)
    return moved


def _spent_allowance(now: datetime) -> ColumnElement[bool]:
    no_wait = or_(SendAllowance.next_send_at <= now, SendAllowance.next_send_at > now + texts.LONGEST_WAIT + clock.APART)
    return and_(SendAllowance.day_began_at <= now - ALLOWANCES_KEPT, no_wait)


def _clear(table: type[Base], over: ColumnElement[bool]) -> int:
    """Deletes the rows that are `over`. That is asked twice: a row may have come back to life since it was chosen."""
    gone = 0
    keys = inspect(table).primary_key
    while True:
        with transaction() as tx:
            batch = select(*keys).where(over).limit(MOST_AT_ONCE)
            cleared = tx.execute(
                delete(table).where(tuple_(*keys).in_(batch), over).returning(*keys),
                execution_options={"synchronize_session": False},
            )
            count = len(cleared.all())
        gone += count
        if count < MOST_AT_ONCE:
            return gone
