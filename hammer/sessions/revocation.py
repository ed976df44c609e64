"""Ending sessions, for all verbs that do so. A session that has ended keeps the moment at which it ended."""

from sqlalchemy import ColumnElement, update

from hammer import clock, events
from hammer.db.database import Transaction
from hammer.models import Session
from hammer.sessions import devices


def end(tx: Transaction, user_id: str, *which: ColumnElement[bool], noted_as: events.Kind | None = None) -> bool:
    """Ends the user's sessions, or those that match `which`; False if there were none.

    Adds an event of the kind `noted_as`; none if the verb has an event of its own.
    """
    over = update(Session).where(Session.user_id == user_id, Session.ended_at.is_(None), *which).returning(Session.id)
    ended = bool(tx.scalars(over.values(ended_at=clock.now())).all())
    if ended and noted_as:
        events.note(tx, noted_as, user_id)
    return ended


def end_all(tx: Transaction, user_id: str, *, but: str | None = None, noted_as: events.Kind | None = None) -> None:
    """Ends all sessions of the user except `but`, and forgets all devices except the one on which `but` was opened."""
    others = () if but is None else (Session.id != but,)
    not_its_own = () if but is None else (devices.all_but_that_of(tx, but),)
    devices.forget(tx, user_id, *not_its_own)
    end(tx, user_id, *others, noted_as=noted_as)
    devices.forget(tx, user_id, *not_its_own)  # a sign-in that came first may have added a device
