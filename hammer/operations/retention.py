"""Deleting data past its retention time: `prune`.

The rows of counters and tombstones store their own end: the last day that they count for, and `tombstones.LIFETIME`. The times of
texts, sessions, webhooks and events are settings; all others are here. `docs/privacy.md` has all of them.

The work is done in small transactions, so that no request waits behind a large one. If it is interrupted, the next call continues.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, inspect, or_, select, true, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from config import LONGEST_CODE_TTL_SECONDS, Settings
from hammer import clock
from hammer.db.database import Base, db, transaction
from hammer.factors import recovery
from hammer.invites import tombstones
from hammer.models import (
    SESSION_LIFETIME,
    Authorization,
    Client,
    Consent,
    Counter,
    Device,
    EventCount,
    IdempotencyKey,
    LogoutNotice,
    Message,
    SecondFactor,
    SendAllowance,
    Session,
    SpentChallenge,
    Tombstone,
    Verification,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from hammer.operations import seals
from hammer.quotas import idempotency, texts
from hammer.sessions import revocation
from hammer.webhooks import deliveries, feed

ALLOWANCES_KEPT = timedelta(hours=24)
"""How long allowances are kept after the beginning of their day. When the day and the wait are over, a row has no effect any more.
Its key is the keyed hash of a number, which is personal data too."""
NOTICES_KEPT = timedelta(hours=24)
"""How long notices are kept after they were due. One that was not sent by then is of no use, and it contains a number. It is no
setting: a warning about a change of number has to outlast a gateway that is down for hours."""
DEVICES_KEPT = timedelta(days=400)
"""How long devices are kept after their last sign-in: as long as browsers keep the cookie that identifies them."""
COUNTERS_KEPT = timedelta(hours=24)
"""How long counters are kept after their end. If a clock was ahead for some hours, the counts of today must still be there when it
is right again."""
AUTHORIZATIONS_KEPT = timedelta(hours=24)
"""How long requests of apps are kept after their code expired, if it was exchanged: one that is used a second time revokes what was
given for it."""
UNUSED_AUTHORIZATIONS_KEPT = timedelta(hours=1)
"""How long the others are kept after their end: long enough to say on the page that they are over. Strangers can make many."""
LOGOUT_NOTICES_KEPT = timedelta(days=7)
"""How long logout notices are kept: long enough to find out why an app did not sign a person out."""
CHALLENGES_KEPT = timedelta(hours=24)
"""How long spent challenges of passkeys are kept after their end. If a clock was ahead for some hours, they must still be there."""
EVENT_COUNTS_KEPT = timedelta(days=15)
"""How long the counts of an hour are kept: one day longer than the operator's pages show them."""

MOST_AT_ONCE = 1000
"""Rows that one transaction deletes or changes."""

log = logging.getLogger(__name__)


def prune(settings: Settings) -> dict[str, int]:
    """Deletes all rows past their retention time. Returns how many of each kind. May be called at any time.

    Verifications may name the number of a person who never signed up, so they are kept for a day at most (GDPR Art. 5(1)(e),
    OWASP ASVS 14.2.7). Events name people only by random ids. They go together with all events of their seal, which is
    `seals.LONGEST_SPAN` later at most.
    """
    now = clock.now()
    _correct_future_moments(now)
    old = now - settings.texts_kept
    ended = or_(Verification.expires_at <= old, Verification.consumed_at <= old)
    # A code is consumed at most this long before it expires, so the index on expires_at finds all rows.
    ended = and_(Verification.expires_at <= old + timedelta(seconds=LONGEST_CODE_TTL_SECONDS), ended)
    # Rows that were made while a clock was ahead: their codes would become valid later.
    early = and_(Verification.expires_at > now, Verification.created_at > now + clock.APART)
    verifications = or_(ended, early)
    repeated = or_(IdempotencyKey.expires_at <= now, IdempotencyKey.expires_at > now + idempotency.FORM_LIFETIME + clock.APART)
    old = now - settings.sessions_kept
    sessions = or_(Session.expires_at <= old, Session.ended_at <= old)
    notices = and_(Message.verification_id.is_(None), Message.due_at <= now - NOTICES_KEPT)
    return {
        "texts": _clear(Message, Message.verification_id.in_(select(Verification.id).where(verifications)))
        + _clear(Message, notices),
        "verifications": _clear(Verification, verifications),
        "sessions": _clear(Session, sessions),
        "authorizations": _clear(Authorization, _spent_authorization(now)),
        "logout notices": _clear(LogoutNotice, LogoutNotice.created_at <= now - LOGOUT_NOTICES_KEPT),
        "send allowances": _clear(SendAllowance, _spent_allowance(now)),
        "counters": _clear(Counter, Counter.ends_at <= now - COUNTERS_KEPT),
        "devices": _clear(Device, Device.used_at <= now - DEVICES_KEPT),
        "tombstones": _clear(Tombstone, Tombstone.expires_at <= now),
        "webhook attempts": _clear(WebhookAttempt, WebhookAttempt.at <= now - settings.webhook_log_kept),
        "webhook deliveries": _clear(WebhookDelivery, WebhookDelivery.due_at <= now - settings.webhook_log_kept),
        "events": seals.prune(now - settings.events_kept),
        "event counts": _clear(EventCount, or_(EventCount.hour <= now - EVENT_COUNTS_KEPT, EventCount.hour > now)),
        "idempotency keys": _clear(IdempotencyKey, repeated),
        "spent challenges": _clear(SpentChallenge, SpentChallenge.expires_at <= now - CHALLENGES_KEPT),
    }


def restored() -> dict[str, int]:
    """Voids all codes, sessions, known devices, consents and answers to repeated requests; of staff, recovery codes and enrolment
    links. Returns how many of each kind.

    For use after a backup was restored, or a standby took over that lacked the last transactions: what was used, ended or withdrawn
    since then would be valid again.

    Also skips places in the event feed, so that new events do not get those that apps saw on events which the backup lacks.
    """
    anything = true()
    feed.skip_places()
    gone = {
        "texts": _clear(Message, Message.verification_id.is_not(None)),
        "verifications": _clear(Verification, anything),
        "devices": _clear(Device, anything),
        "authorizations": _clear(Authorization, anything),
        "consents": _clear(Consent, anything),
        "idempotency keys": _clear(IdempotencyKey, anything),
    }
    with transaction() as tx:
        tx.execute(update(SecondFactor).values(recovery_used=recovery.ALL_USED, link_expires_at=None))
    ended, live = 0, select(Session.id).where(Session.ended_at.is_(None)).limit(MOST_AT_ONCE)
    while ids := db.session.scalars(live).all():
        with transaction() as tx:
            ended += len(revocation.end_matching(tx, Session.id.in_(ids)))
    return gone | {"sessions": ended}


def _correct_future_moments(now: datetime) -> None:
    """Moves moments that are further ahead than they can be to the latest possible one. They were written while a clock was ahead.

    Uncorrected, they would count for as long as the clock was ahead. Sessions are also corrected when they are used (`sessions`);
    this ends those that are not used any more.
    """
    latest: dict[InstrumentedAttribute[Any], datetime] = {
        SendAllowance.day_began_at: now,
        Session.expires_at: now + max(SESSION_LIFETIME.values()),
        Device.used_at: now,
        Tombstone.expires_at: now + tombstones.LIFETIME,
        WebhookDelivery.due_at: now + deliveries.LONGEST_WAIT,
        WebhookEndpoint.rotated_at: now,
        Client.rotated_at: now,
    }
    moved = sum(_move(column, most) for column, most in latest.items())
    if moved:
        log.warning("Corrected %d moments that were in the future: a clock was ahead.", moved)


def _move(column: InstrumentedAttribute[Any], latest: datetime) -> int:
    """Sets all later moments to `latest`. Searches without a transaction, since there are hardly ever any."""
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


def _spent_authorization(now: datetime) -> ColumnElement[bool]:
    unused_or_old = or_(Authorization.consumed_at.is_(None), Authorization.expires_at <= now - AUTHORIZATIONS_KEPT)
    return and_(Authorization.expires_at <= now - UNUSED_AUTHORIZATIONS_KEPT, unused_or_old)


def _clear(table: type[Base], over: ColumnElement[bool]) -> int:
    """Deletes the rows that are `over`. The condition is checked twice: a row may have changed since it was chosen."""
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
