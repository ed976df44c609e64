"""Signed-in devices: who is calling, a new pair of tokens, and the end of a session.

What a device shows (a cookie, or a refresh token) is computed from its session's id and a key outside the database. So a dump of
the database opens nothing, and the refresh token of a lost answer can be given again.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, func, or_, select, update

from config import Settings
from hammer import clock, codes, events
from hammer.db.database import Transaction, db, transaction
from hammer.db.pagination import MOST_PER_PAGE
from hammer.db.prepared import prepared
from hammer.models import SEEN_EVERY, SESSION_IDLE, SESSION_LIFETIME, Session, SessionKind, User
from hammer.quotas import idempotency
from hammer.refusals import NotFound, NotSignedIn, Unavailable
from hammer.sessions import devices as known_devices
from hammer.sessions import revocation

GRACE = timedelta(seconds=30)
"""How long a spent refresh token is still answered, with the same successor, while nothing of that answer was used: answers get
lost."""

FIND_CALLER: Final = prepared(
    select(
        User.id,
        Session.id,
        User.is_staff,
        Session.seen_at,
        Session.refreshes,
        Session.refreshes_received,
        Session.refreshed_at,
    )
    .join(User, User.id == Session.user_id)
    .where(
        Session.id == bindparam("device"),
        Session.kind == bindparam("kind"),
        Session.ended_at.is_(None),
        Session.expires_at > bindparam("now"),
        Session.seen_at > bindparam("unused_since"),
        User.blocked_at.is_(None),
        User.deleted_at.is_(None),
    )
)


@dataclass(frozen=True)
class Caller:
    """Who is behind a request."""

    user_id: str
    session_id: str
    is_staff: bool


@dataclass(frozen=True)
class SignedInDevice:
    """A session, as its owner sees it. `device` is roughly what it is; `refreshed_at` when it last got new tokens, and
    `seen_at` when it was last used, give or take an hour."""

    id: str
    device: str
    created_at: datetime
    refreshed_at: datetime
    seen_at: datetime
    expires_at: datetime


def cookie(settings: Settings, session: Session) -> str:
    """What the browser of `session` keeps."""
    return codes.proof(settings.key("sessions"), SessionKind.BROWSER, session.id)


def refresh_token(settings: Settings, session: Session) -> str:
    """The one refresh token of `session` that works now."""
    return codes.proof(settings.key("sessions"), SessionKind.PROGRAM, session.id, session.refreshes)


def by_cookie(settings: Settings, shown: str) -> Caller | None:
    """Who keeps this cookie; None when it is forged or its session is over. A forged one costs no query."""
    session_id = id_in_cookie(settings, shown)
    return caller(session_id, SessionKind.BROWSER) if session_id else None


def id_in_cookie(settings: Settings, shown: str) -> str | None:
    """The id of the session whose cookie this is, which may be over; None when it is forged."""
    claim = codes.read_proof(settings.key("sessions"), SessionKind.BROWSER, shown)
    return claim[0] if claim else None


def caller(session_id: str, kind: SessionKind, *, issued_at_refresh: int | None = None) -> Caller | None:
    """Who is signed in by this session of this kind; None when it is over or its user blocked or gone.

    One statement. Once in `SEEN_EVERY` another remembers that the session is used, and so does one at the first use of an access
    token that was issued at the newest refresh (`issued_at_refresh` is its number) within `GRACE`: from then on the refresh token
    of before is no lost answer.
    """
    now = clock.now()
    found = FIND_CALLER.rows(db.session(), device=session_id, kind=kind, now=now, unused_since=now - SESSION_IDLE[kind])
    if not found:
        return None
    user_id, found_id, is_staff, seen_at, refreshes, received, refreshed_at = found[0]
    if issued_at_refresh == refreshes > (received or 0) and now - GRACE < refreshed_at <= now + clock.APART:
        _remember(Session.id == found_id, Session.refreshes == refreshes, refreshes_received=refreshes)
    if seen_at > now + clock.APART:
        _remember(Session.id == found_id, Session.seen_at == seen_at, seen_at=now, **_set_right(now))
    elif seen_at <= now - SEEN_EVERY:
        _remember(Session.id == found_id, Session.seen_at < now, seen_at=now)
    return Caller(user_id, found_id, is_staff)


def refresh(settings: Settings, shown: str, *, key: idempotency.Key | None = None) -> Session:
    """The session, ready for its next pair of tokens; the refresh token that was shown is spent.

    One that comes twice ends the whole session (RFC 9700 §4.14.2), unless neither its successor nor an access token that came with
    that was ever used and `GRACE` has not passed: then the same successor is given again, and the window does not move. A request
    that is repeated with its `key` gets the same successor too, as long as that was never exchanged, and ends nothing. Refuses
    with `NotSignedIn`.
    """
    claim = codes.read_proof(settings.key("sessions"), SessionKind.PROGRAM, shown)
    if claim is None:
        raise NotSignedIn
    session_id, number = claim
    now = clock.now()
    welcome = exists().where(User.id == Session.user_id, User.blocked_at.is_(None), User.deleted_at.is_(None))
    here = and_(Session.id == session_id, _live(now, SessionKind.PROGRAM), welcome)
    with transaction() as tx:
        if idempotency.claim(tx, key) is not None:
            return _refreshed_before(tx, here, Session.refreshes == number + 1)
        exchange = update(Session).where(here, Session.refreshes == number).returning(Session)
        session = tx.scalar(exchange.values(refreshes=number + 1, refreshed_at=now, seen_at=now))
        if session is not None and session.created_at > now + clock.APART:
            tx.execute(update(Session).where(Session.id == session_id).values(_set_right(now)))
        if session is None:
            not_received = func.coalesce(Session.refreshes_received, 0) <= number
            just_now = Session.refreshed_at > now - GRACE, Session.refreshed_at <= now + clock.APART
            session = tx.scalar(select(Session).where(here, Session.refreshes == number + 1, not_received, *just_now))
        if session is None:
            _end_the_stolen(tx, session_id, number, now)
            idempotency.free(tx, key)
        else:
            idempotency.keep(tx, key)
    if session is None:
        raise NotSignedIn
    return session


def _refreshed_before(tx: Transaction, *same_successor: ColumnElement[bool]) -> Session:
    """The session, while the refresh token that the same request was given has not been exchanged. Refuses with `NotSignedIn`."""
    session = tx.scalar(select(Session).where(*same_successor))
    if session is None:
        raise NotSignedIn
    return session


def devices(user_id: str) -> list[SignedInDevice]:
    """The user's live sessions, newest first, 100 at most."""
    columns = (Session.id, Session.device, Session.created_at, Session.refreshed_at, Session.seen_at, Session.expires_at)
    mine = select(*columns).where(Session.user_id == user_id, _live(clock.now()))
    newest = mine.order_by(Session.created_at.desc(), Session.id).limit(MOST_PER_PAGE)
    return [SignedInDevice(*row) for row in db.session.execute(newest)]


def sign_out(user_id: str, session_id: str) -> None:
    """Ends the session that its user is in, at once and for all its tokens; its device stays known. Refuses with `NotFound`."""
    with transaction() as tx:
        ended = revocation.end(tx, user_id, Session.id == session_id, _live(clock.now()), noted_as=events.Kind.SESSION_ENDED)
    if not ended:
        raise NotFound


def end(user_id: str, session_id: str, *, asked_in: str | None = None) -> None:
    """Ends one of the user's sessions, at once and for all its tokens, and forgets its device; unless that is the device of another
    session, in which it was asked for (`asked_in`). Refuses with `NotFound`."""
    if "\0" in session_id:  # PostgreSQL takes none in a text, and no id has one
        raise NotFound
    meant = Session.id == session_id, _live(clock.now())
    with transaction() as tx:
        not_mine = [known_devices.all_but_that_of(tx, asked_in)] if asked_in and asked_in != session_id else []
        known_devices.forget(tx, user_id, known_devices.signed_in_by(*meant), *not_mine)
        ended = revocation.end(tx, user_id, *meant, noted_as=events.Kind.SESSION_ENDED)
    if not ended:
        raise NotFound


def end_others(user_id: str, session_id: str) -> None:
    """Ends all of the user's sessions but this one, and forgets all devices but the one on which it was opened."""
    with transaction() as tx:
        revocation.end_all(tx, user_id, but=session_id, noted_as=events.Kind.SESSIONS_ENDED)


def _end_the_stolen(tx: Transaction, session_id: str, number: int, now: datetime) -> None:
    """Ends a session whose refresh token came twice, and forgets its device: a thief of the one may have copied the other. One
    that has ended, or is not good for other reasons, is only over."""
    this = Session.id == session_id, Session.ended_at.is_(None)
    stolen = tx.scalar(select(Session.user_id).where(*this, Session.refreshes > number))
    if stolen is not None:
        known_devices.forget(tx, stolen, known_devices.signed_in_by(*this))
    ended = tx.scalar(update(Session).where(*this).values(ended_at=now).returning(Session.id))
    if stolen is not None and ended is not None:
        events.note(tx, events.Kind.REFRESH_REUSED, stolen)


def _live(now: datetime, *kinds: SessionKind) -> ColumnElement[bool]:
    """Not ended, not expired, and used lately; of one of these kinds, or of any."""
    used = [and_(Session.kind == kind, Session.seen_at > now - SESSION_IDLE[kind]) for kind in kinds or SESSION_IDLE]
    return and_(Session.ended_at.is_(None), Session.expires_at > now, or_(*used))


def _set_right(now: datetime) -> dict[str, object]:
    """Columns of a session, where they hold moments that a clock left which was ahead: it ends as if it had begun now, and what is
    only good while it is fresh was good an hour ago."""
    soon, stale = now + clock.APART, now - timedelta(hours=1)
    too_late = [
        (and_(Session.kind == kind, Session.expires_at > soon + time), now + time) for kind, time in SESSION_LIFETIME.items()
    ]
    return {
        "created_at": case((Session.created_at > soon, stale), else_=Session.created_at),
        "refreshed_at": case((Session.refreshed_at > soon, stale), else_=Session.refreshed_at),
        "expires_at": case(*too_late, else_=Session.expires_at),
    }


def _remember(*which: ColumnElement[bool], **values: object) -> None:
    # The caller is let in all the same when the database cannot write just now; the next request tries again.
    with suppress(Unavailable), transaction() as tx:
        tx.execute(update(Session).where(*which).values(values))
