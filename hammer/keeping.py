"""What is past its keeping time: `prune`.

Counters and tombstones carry their end themselves: with the last day that they count for, and after `tombstones.LIFETIME`. All
other times stand here, and in `docs/privacy.md`.

It works in small transactions, so that nobody waits behind a large one; cut short, it goes on at the next call.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, inspect, or_, select, true, tuple_, update

from config import LONGEST_CODE_TTL_SECONDS
from hammer import clock, idempotency
from hammer.database import Base, transaction
from hammer.models import Counter, Device, Event, IdempotencyKey, SendAllowance, Session, Text, Tombstone, Verification

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
EVENTS_KEPT = timedelta(days=365)
"""What happened, told by random ids: long enough to find out about a theft that was noticed late."""

MOST_AT_ONCE = 1000
"""Rows in one transaction."""


def prune() -> dict[str, int]:
    """How many rows of each kind were past their keeping time; they are gone now. May be called at any time."""
    now = clock.now()
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
    notices = and_(Text.verification_id.is_(None), Text.due_at <= now - NOTICES_KEPT)
    return {
        "texts": _clear(Text, Text.verification_id.in_(select(Verification.id).where(verifications))) + _clear(Text, notices),
        "verifications": _clear(Verification, verifications),
        "sessions": _clear(Session, sessions),
        "send allowances": _clear(SendAllowance, _spent_allowance(now)),
        "counters": _clear(Counter, Counter.ends_at <= now),
        "devices": _clear(Device, Device.used_at <= now - DEVICES_KEPT),
        "tombstones": _clear(Tombstone, Tombstone.expires_at <= now),
        "events": _clear(Event, Event.at <= now - EVENTS_KEPT),
        "idempotency keys": _clear(IdempotencyKey, repeated),
    }


def restored() -> dict[str, int]:
    """After a backup was restored, or a standby took over that lacked the last transactions: how much was voided that was used or
    ended since, perhaps, and may not come back. Those are all codes, and all sessions, with the answers to repeated requests."""
    anything = true()
    gone = {
        "texts": _clear(Text, Text.verification_id.is_not(None)),
        "verifications": _clear(Verification, anything),
        "idempotency keys": _clear(IdempotencyKey, anything),
    }
    with transaction() as session:
        over = update(Session).where(Session.ended_at.is_(None)).values(ended_at=clock.now())
        return gone | {"sessions": len(session.scalars(over.returning(Session.id)).all())}


def _spent_allowance(now: datetime) -> ColumnElement[bool]:
    return and_(SendAllowance.day_began_at <= now - ALLOWANCES_KEPT, SendAllowance.next_send_at <= now)


def _clear(table: type[Base], over: ColumnElement[bool]) -> int:
    """Deletes the rows that are `over`. That is asked twice: a row may have come back to life since it was chosen."""
    gone = 0
    keys = inspect(table).primary_key
    while True:
        with transaction() as session:
            batch = select(*keys).where(over).limit(MOST_AT_ONCE)
            cleared = session.execute(
                delete(table).where(tuple_(*keys).in_(batch), over).returning(*keys),
                execution_options={"synchronize_session": False},
            )
            count = len(cleared.all())
        gone += count
        if count < MOST_AT_ONCE:
            return gone
