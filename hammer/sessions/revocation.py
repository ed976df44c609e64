"""Ending sessions, for all verbs that do so. A session that has ended keeps the moment at which it ended.

When the session of a browser ends, the sessions of the apps that its user signed in to there end too, and the apps get logout
notices (OpenID Connect Back-Channel Logout).
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, delete, or_, select, update

from hammer import clock, codes, events
from hammer.db import server_clock
from hammer.db.database import Transaction
from hammer.models import Authorization, Client, LogoutNotice, Session, SessionKind
from hammer.sessions import devices


def end(
    tx: Transaction,
    user_id: str,
    *which: ColumnElement[bool],
    noted_as: events.Kind | None = None,
    actor_id: str | None = None,
) -> bool:
    """Ends the user's sessions, or those that match `which`; False if there were none.

    Adds an event of the kind `noted_as`, which names the actor; none if the verb has an event of its own.
    """
    ended = end_matching(tx, Session.user_id == user_id, *which)
    if ended and noted_as:
        events.note(tx, noted_as, user_id, actor_id=actor_id)
    return bool(ended)


def replace(tx: Transaction, user_id: str, old: str, new: str) -> None:
    """Ends the session `old`. The apps that the user signed in to there stay signed in, now with the session `new`, and codes that
    were allowed there stay good."""
    now = clock.now()
    this = Session.id == old, Session.user_id == user_id, Session.ended_at.is_(None)
    if tx.scalar(update(Session).where(*this).values(ended_at=now).returning(Session.id)) is None:
        return
    tx.execute(update(Session).where(Session.id.in_(_locked(Session.parent_id == old))).values(parent_id=new))
    tx.execute(update(Authorization).where(*unused(now), Authorization.session_id == old).values(session_id=new))


def all_but(session_id: str) -> ColumnElement[bool]:
    """A condition: all sessions except this one and those of apps that were opened in it."""
    return and_(Session.id != session_id, Session.parent_id.is_distinct_from(session_id))


def end_all(
    tx: Transaction,
    user_id: str,
    *,
    but: str | None = None,
    noted_as: events.Kind | None = None,
    actor_id: str | None = None,
) -> None:
    """Ends all sessions of the user except `but` and those of apps that were opened in it, and forgets all devices except the one
    on which `but` was opened."""
    others, not_its_own = ((), ()) if but is None else ((all_but(but),), (devices.all_but_that_of(tx, but),))
    devices.forget(tx, user_id, *not_its_own)
    end(tx, user_id, *others, noted_as=noted_as, actor_id=actor_id)
    devices.forget(tx, user_id, *not_its_own)  # a sign-in that came first may have added a device


def end_matching(tx: Transaction, *which: ColumnElement[bool]) -> list[str]:
    """Ends the sessions that match `which`, of whatever user, and those of apps that were opened in them. Returns the user of
    each."""
    # Browsers are locked first, then the others, always in the order of their ids, so that no two transactions wait for each other.
    # An app that is signed in to at this moment has locked its browser, and is seen by the second statement.
    browsers = tx.scalars(_locked(Session.kind == SessionKind.BROWSER, *which)).all()
    these = _locked(or_(and_(*which), Session.parent_id.in_(browsers)))
    over = update(Session).where(Session.id.in_(these), Session.ended_at.is_(None)).values(ended_at=clock.now())
    ended = tx.execute(over.returning(Session.id, Session.kind, Session.user_id)).all()
    add_notices(tx, [session_id for session_id, kind, _ in ended if kind == SessionKind.APP])
    return [user_id for *_, user_id in ended]


def unused(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Conditions: the requests of apps whose codes can still be exchanged, or that can still be answered."""
    # An exchange that waited for a lock has read the time before. The index on expires_at finds the few rows.
    return Authorization.consumed_at.is_(None), Authorization.expires_at > now - clock.APART


def void(tx: Transaction, *which: ColumnElement[bool]) -> int:
    """Deletes the requests of apps that match `which`: how many. Those whose codes were exchanged are kept, to notice a replay."""
    these = select(Authorization.id).where(Authorization.consumed_at.is_(None), *which).order_by(Authorization.id).with_for_update()
    gone = delete(Authorization).where(Authorization.id.in_(these), Authorization.consumed_at.is_(None))
    return len(tx.scalars(gone.returning(Authorization.id)).all())


def _locked(*which: ColumnElement[bool]) -> Select[str]:
    return select(Session.id).where(Session.ended_at.is_(None), *which).order_by(Session.id).with_for_update()


def add_notices(tx: Transaction, of_apps: Collection[str]) -> None:
    """Puts a notice into the queue for each of these sessions of apps, unless its app wants none."""
    if not of_apps:
        return
    now = clock.now()
    wanted = select(Session.client_id, Session.user_id, Session.id).join(Client, Client.id == Session.client_id)
    wanted = wanted.where(Session.id.in_(of_apps), Client.backchannel_logout_uri.is_not(None), Client.disabled_at.is_(None))
    for client_id, user_id, session_id in tx.execute(wanted).all():
        about = {"client_id": client_id, "user_id": user_id, "session_id": session_id}
        tx.add(LogoutNotice(id=codes.random_id(), **about, tries=0, created_at=now, due_at=server_clock.now()))
