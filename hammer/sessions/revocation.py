"""The end of sessions, which several deeds bring about. One that is over already keeps the moment at which it ended."""

from sqlalchemy import ColumnElement, update

from hammer import clock, events
from hammer.db.database import Transaction
from hammer.models import Session
from hammer.sessions import devices


def end(tx: Transaction, user_id: str, *which: ColumnElement[bool], noted_as: events.Kind | None = None) -> bool:
    """Ends the user's sessions, or those of them that are meant by `which`; False when there was none to end.

    What ended is noted as an event of the kind `noted_as`; of none where the deed has an event of its own.
    """
    over = update(Session).where(Session.user_id == user_id, Session.ended_at.is_(None), *which).returning(Session.id)
    ended = bool(tx.scalars(over.values(ended_at=clock.now())).all())
    if ended and noted_as:
        events.note(tx, noted_as, user_id)
    return ended


def end_all(tx: Transaction, user_id: str, *, but: str | None = None, noted_as: events.Kind | None = None) -> None:
    """Ends all of the user's sessions but one, and forgets all of their devices but the one on which that was opened."""
    others = () if but is None else (Session.id != but,)
    not_its_own = () if but is None else (devices.all_but_that_of(tx, but),)
    devices.forget(tx, user_id, *not_its_own)
    end(tx, user_id, *others, noted_as=noted_as)
    devices.forget(tx, user_id, *not_its_own)  # a sign-in that was quicker has left a new one
