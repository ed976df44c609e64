"""Ends the sessions of everybody that began before a moment: after a theft, after a backup was restored, with another key."""

import logging
from collections.abc import Generator
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Select, func, select

from hammer import clock, events
from hammer.db.database import db, transaction
from hammer.models import Session
from hammer.sessions import revocation

MOST_AT_ONCE: Final = 1000
"""Sessions that one transaction ends, besides those of apps that were opened in them."""

log = logging.getLogger(__name__)


def count(before: datetime | None) -> tuple[int, int]:
    """How many sessions `end` would end, and of how many people."""
    counted = select(func.count(), func.count(Session.user_id.distinct())).where(*_meant(before))
    sessions, people = db.session.execute(counted).one()
    return sessions, people


def end(before: datetime | None) -> Generator[int]:
    """Ends all sessions that began before this moment, however often they were refreshed since; those of apps end with the session
    that they were opened in. None ends all. Yields how many were ended after each transaction: at most about `MOST_AT_ONCE`.

    Devices stay known: a person signs in again with one code. Each person has an event for each transaction that ended sessions of
    theirs. If the process is killed, what it has committed stays, and the next call goes on.
    """
    ended, last = 0, ""
    while ids := db.session.scalars(_following(last, *_meant(before))).all():
        with transaction() as tx:
            theirs = revocation.end_matching(tx, Session.id.in_(ids))
            for user_id in sorted(set(theirs)):
                events.note(tx, events.Kind.SESSIONS_ENDED, user_id)
        ended, last = ended + len(theirs), ids[-1]
        yield len(theirs)
    log.info("Ended %d sessions%s.", ended, f" that began before {before:%F %T} UTC" if before else "")


def _meant(before: datetime | None) -> tuple[ColumnElement[bool], ...]:
    live = Session.ended_at.is_(None), Session.expires_at > clock.now()
    return live if before is None else (*live, Session.created_at < before)


def _following(last: str, *which: ColumnElement[bool]) -> Select[str]:
    """The ids of the next sessions that are meant. In the order of the primary key, so that all calls together read the table
    once."""
    return select(Session.id).where(Session.id > last, *which).order_by(Session.id).limit(MOST_AT_ONCE)
