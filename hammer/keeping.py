"""What is past its keeping time: `prune`.

It works in small transactions, so that nobody waits behind a large one; cut short, it goes on at the next call.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select

from hammer import clock
from hammer.database import transaction
from hammer.models import SendAllowance, Session, Text, Verification

VERIFICATIONS_KEPT = timedelta(hours=24)
"""After their end, and their texts with them: long enough to ask why a login failed today, no longer than a number of somebody who
never signed up may lie about (GDPR Art. 5(1)(e), OWASP ASVS 14.2.7)."""
SESSIONS_KEPT = timedelta(days=30)
"""After their end: so long people can see in their export which devices were signed in, which matters after a theft."""
ALLOWANCES_KEPT = timedelta(hours=24)
"""From the beginning of their day; then, and once the wait is over too, one says no more than none does. They are keyed hashes, but
also a keyed hash of a number is somebody's."""

MOST_AT_ONCE = 1000
"""Rows in one transaction."""


def prune() -> dict[str, int]:
    """How many rows of each kind were past their keeping time; they are gone now. May be called at any time."""
    now = clock.now()
    old = now - VERIFICATIONS_KEPT
    verifications = or_(Verification.expires_at <= old, Verification.consumed_at <= old)
    old = now - SESSIONS_KEPT
    sessions = or_(Session.expires_at <= old, Session.ended_at <= old)
    return {
        "texts": _clear(Text.id, Text.verification_id.in_(select(Verification.id).where(verifications))),
        "verifications": _clear(Verification.id, verifications),
        "sessions": _clear(Session.id, sessions),
        "send allowances": _clear(SendAllowance.number_hash, _spent_allowance(now)),
    }


def _spent_allowance(now: datetime) -> ColumnElement[bool]:
    return and_(SendAllowance.day_began_at <= now - ALLOWANCES_KEPT, SendAllowance.next_send_at <= now)


def _clear(key: Any, over: ColumnElement[bool]) -> int:
    """Deletes the rows that are `over`. That is asked twice: a row may have come back to life since it was chosen."""
    gone = 0
    while True:
        with transaction() as session:
            batch = select(key).where(over).limit(MOST_AT_ONCE)
            cleared = session.execute(
                delete(key.class_).where(key.in_(batch), over).returning(key), execution_options={"synchronize_session": False}
            )
            count = len(cleared.all())
        gone += count
        if count < MOST_AT_ONCE:
            return gone
