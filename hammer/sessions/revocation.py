"""Ending sessions, for all verbs that do so. A session that has ended keeps the moment at which it ended.

With the session of a browser end the sessions of the apps that its user signed in to there, and the apps are told (OpenID Connect
Back-Channel Logout).
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, or_, select, update

from hammer import clock, codes, events
from hammer.db.database import Transaction
from hammer.models import Client, LogoutNotice, Session, SessionKind
from hammer.sessions import devices


def end(tx: Transaction, user_id: str, *which: ColumnElement[bool], noted_as: events.Kind | None = None) -> bool:
    """Ends the user's sessions, or those that match `which`; False if there were none.

    Adds an event of the kind `noted_as`; none if the verb has an event of its own.
    """
    ended = end_matching(tx, Session.user_id == user_id, *which)
    if ended and noted_as:
        events.note(tx, noted_as, user_id)
    return ended


def replace(tx: Transaction, user_id: str, old: str, new: str) -> None:
    """Ends the session `old`. The apps that the user signed in to there stay signed in, now with the session `new`."""
    tx.execute(update(Session).where(Session.parent_id == old, Session.user_id == user_id).values(parent_id=new))
    end(tx, user_id, Session.id == old)


def end_all(tx: Transaction, user_id: str, *, but: str | None = None, noted_as: events.Kind | None = None) -> None:
    """Ends all sessions of the user except `but` and those of apps that were opened in it, and forgets all devices except the one
    on which `but` was opened."""
    others = () if but is None else (Session.id != but, or_(Session.parent_id.is_(None), Session.parent_id != but))
    not_its_own = () if but is None else (devices.all_but_that_of(tx, but),)
    devices.forget(tx, user_id, *not_its_own)
    end(tx, user_id, *others, noted_as=noted_as)
    devices.forget(tx, user_id, *not_its_own)  # a sign-in that came first may have added a device


def end_matching(tx: Transaction, *which: ColumnElement[bool]) -> bool:
    """Ends the sessions that match `which`, of whatever user; False if there were none."""
    over = update(Session).where(Session.ended_at.is_(None)).values(ended_at=clock.now())
    ended = tx.execute(over.where(*which).returning(Session.id, Session.kind)).all()
    # A statement of its own: an app that was signed in to at the same moment is seen only now, since its session waits for ours.
    browsers = [session_id for session_id, kind in ended if kind == SessionKind.BROWSER]
    children = tx.scalars(over.where(Session.parent_id.in_(browsers)).returning(Session.id)).all() if browsers else ()
    add_notices(tx, [*(session_id for session_id, kind in ended if kind == SessionKind.APP), *children])
    return bool(ended)


def add_notices(tx: Transaction, of_apps: Collection[str]) -> None:
    """Puts a notice into the queue for each of these sessions of apps, unless its app wants none."""
    if not of_apps:
        return
    now = clock.now()
    wanted = select(Session.client_id, Session.user_id, Session.id).join(Client, Client.id == Session.client_id)
    wanted = wanted.where(Session.id.in_(of_apps), Client.backchannel_logout_uri.is_not(None), Client.disabled_at.is_(None))
    for client_id, user_id, session_id in tx.execute(wanted).all():
        about = {"client_id": client_id, "user_id": user_id, "session_id": session_id}
        tx.add(LogoutNotice(id=codes.random_id(), **about, tries=0, created_at=now, due_at=now))
