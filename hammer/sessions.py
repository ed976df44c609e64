"""Signed-in devices: who is calling, a new pair of tokens, and the end of a session.

What a device shows (a cookie, or a refresh token) is computed from its session's id and a key outside the database. So a dump of
the database opens nothing, and the refresh token of a lost answer can be given again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, select, update

from config import Settings
from hammer import clock, codes
from hammer.database import MOST_PER_PAGE, db, transaction
from hammer.models import BROWSER, PROGRAM, Session, User
from hammer.refusals import NotFound, NotSignedIn

GRACE = timedelta(seconds=30)
"""How long a spent refresh token is still answered, with the same successor, while that one was not used: answers get lost."""


@dataclass(frozen=True)
class Caller:
    """Who is behind a request."""

    user_id: str
    session_id: str
    is_staff: bool


@dataclass(frozen=True)
class Device:
    """A signed-in device, as its owner sees it. `device` is roughly what it is; `refreshed_at` when it last got new tokens."""

    id: str
    device: str
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    ended_at: datetime | None


def cookie(settings: Settings, session: Session) -> str:
    """What the browser of `session` keeps."""
    return codes.proof(settings.key("sessions"), BROWSER, session.id)


def refresh_token(settings: Settings, session: Session) -> str:
    """The one refresh token of `session` that works now."""
    return codes.proof(settings.key("sessions"), PROGRAM, session.id, session.refreshes)


def by_cookie(settings: Settings, shown: str) -> Caller | None:
    """Who keeps this cookie; None when it is forged or its session is over. A forged one costs no query."""
    claim = codes.read_proof(settings.key("sessions"), BROWSER, shown)
    return claim and caller(claim[0], BROWSER)


def caller(session_id: str, door: str) -> Caller | None:
    """Who is signed in by this session at this door; None when it is over or its user blocked or gone."""
    row = db.session.execute(
        select(User.id, Session.id, User.is_staff)
        .join(User, User.id == Session.user_id)
        .where(
            Session.id == session_id, Session.door == door, _live(clock.now()), User.blocked_at.is_(None), User.deleted_at.is_(None)
        )
    ).one_or_none()
    return None if row is None else Caller(*row)


def refresh(settings: Settings, shown: str) -> Session:
    """The session, ready for its next pair of tokens; the refresh token that was shown is spent.

    One that comes twice ends the whole session (RFC 9700 §4.14.2), unless its successor was never used and `GRACE` has not passed:
    then the same successor is given again, and the window does not move. Refuses with `NotSignedIn`.
    """
    claim = codes.read_proof(settings.key("sessions"), PROGRAM, shown)
    if claim is None:
        raise NotSignedIn
    session_id, number = claim
    now = clock.now()
    welcome = exists().where(User.id == Session.user_id, User.blocked_at.is_(None), User.deleted_at.is_(None))
    here = and_(Session.id == session_id, Session.door == PROGRAM, _live(now), welcome)
    with transaction() as tx:
        exchange = update(Session).where(here, Session.refreshes == number).returning(Session)
        session = tx.scalar(exchange.values(refreshes=number + 1, refreshed_at=now))
        if session is None:
            lost_answer = here, Session.refreshes == number + 1, Session.refreshed_at > now - GRACE
            session = tx.scalar(select(Session).where(*lost_answer))
        if session is None:
            tx.execute(update(Session).where(Session.id == session_id, Session.ended_at.is_(None)).values(ended_at=now))
    if session is None:
        raise NotSignedIn
    return session


def devices(user_id: str) -> list[Device]:
    """The user's live sessions, newest first, 100 at most."""
    columns = (Session.id, Session.device, Session.created_at, Session.refreshed_at, Session.expires_at, Session.ended_at)
    mine = select(*columns).where(Session.user_id == user_id, _live(clock.now()))
    return [Device(*row) for row in db.session.execute(mine.order_by(Session.created_at.desc(), Session.id).limit(MOST_PER_PAGE))]


def end(user_id: str, session_id: str) -> None:
    """Ends one of the user's sessions, at once and for all its tokens. Refuses with `NotFound`."""
    if "\0" in session_id:  # PostgreSQL takes none in a text, and no id has one
        raise NotFound
    now = clock.now()
    with transaction() as tx:
        mine = update(Session).where(Session.id == session_id, Session.user_id == user_id, _live(now)).returning(Session.id)
        ended = tx.scalar(mine.values(ended_at=now))
    if ended is None:
        raise NotFound


def end_others(user_id: str, session_id: str) -> None:
    """Ends all of the user's sessions but this one."""
    now = clock.now()
    with transaction() as tx:
        others = update(Session).where(Session.user_id == user_id, Session.id != session_id, Session.ended_at.is_(None))
        tx.execute(others.values(ended_at=now))


def _live(now: datetime) -> ColumnElement[bool]:
    return and_(Session.ended_at.is_(None), Session.expires_at > now)
