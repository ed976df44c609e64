"""Sessions: who is calling, new tokens, and the end of a session.

The cookie or the refresh token of a session is computed from its id and a key outside the database. So a dump of the database opens
no session, and the refresh token of a lost answer can be computed again.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, func, or_, select, update

from config import Settings
from hammer import clock, codes, events
from hammer.db.database import Transaction, db, transaction
from hammer.db.pagination import MOST_PER_PAGE
from hammer.db.prepared import Prepared, prepared
from hammer.models import SEEN_EVERY, SESSION_IDLE, SESSION_LIFETIME, Client, Session, SessionKind, User
from hammer.quotas import idempotency
from hammer.refusals import NotFound, NotSignedIn, Unavailable
from hammer.sessions import devices as known_devices
from hammer.sessions import revocation

GRACE = timedelta(seconds=30)
"""How long a spent refresh token still gets the same successor, if no token of that answer was used: answers get lost."""

OF_PEOPLE: Final = (SessionKind.BROWSER, SessionKind.PROGRAM)
"""The kinds of sessions that a one-time code opens."""

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
    """The user and the session of a request."""

    user_id: str
    session_id: str
    is_staff: bool


@dataclass(frozen=True)
class SignedInDevice:
    """A session, as its owner sees it."""

    id: str
    device: str
    """A rough description, like the name of a browser."""
    created_at: datetime
    refreshed_at: datetime
    """When it last got new tokens."""
    seen_at: datetime
    """When it was last used, give or take an hour."""
    expires_at: datetime
    client: str | None
    """The name of the app through which it signed in; None for none, and for an app that was removed."""


def cookie(settings: Settings, session: Session) -> str:
    """The cookie for the browser of `session`, which is of the kind `browser` or `admin`."""
    return codes.proof(settings.key("sessions"), session.kind, session.id)


def refresh_token(settings: Settings, session: Session) -> str:
    """The only refresh token of `session` that is valid now."""
    return codes.proof(settings.key("sessions"), session.kind, session.id, session.refreshes)


def by_cookie(settings: Settings, shown: str, kind: SessionKind = SessionKind.BROWSER) -> Caller | None:
    """The caller with this cookie of a session of this kind; None if it is forged or its session is over. A forged cookie costs no
    query."""
    session_id = id_in_cookie(settings, shown, kind)
    return caller(session_id, kind) if session_id else None


def id_in_cookie(settings: Settings, shown: str, kind: SessionKind = SessionKind.BROWSER) -> str | None:
    """The id of the session whose cookie this is; None if the cookie is forged. The session may be over."""
    claim = codes.read_proof(settings.keys("sessions"), kind, shown)
    return claim[0] if claim else None


def caller(session_id: str, kind: SessionKind, *, issued_at_refresh: int | None = None) -> Caller | None:
    """The caller with this session of this kind; None if the session is over, or its user is blocked or deleted.

    This is one statement. Once in `SEEN_EVERY` a second one records that the session is used. Another one records the first use,
    within `GRACE`, of an access token that came with the newest refresh (number `issued_at_refresh`): the answer has arrived, so
    the previous refresh token is not accepted again.
    """
    now = clock.now()
    found = FIND_CALLER.rows(db.session(), device=session_id, kind=kind, now=now, unused_since=now - SESSION_IDLE[kind])
    if not found:
        return None
    user_id, found_id, is_staff, seen_at, refreshes, received, refreshed_at = found[0]
    if issued_at_refresh == refreshes > (received or 0) and now - GRACE < refreshed_at <= now + clock.APART:
        _record(Session.id == found_id, Session.refreshes == refreshes, refreshes_received=refreshes)
    if seen_at > now + clock.APART:
        _record(Session.id == found_id, Session.seen_at == seen_at, seen_at=now, **_corrected_times(now))
    elif seen_at <= now - SEEN_EVERY[kind]:
        _record(Session.id == found_id, Session.seen_at < now, seen_at=now)
    return Caller(user_id, found_id, is_staff)


def refresh(
    settings: Settings,
    shown: str,
    *,
    kind: SessionKind = SessionKind.PROGRAM,
    client_id: str | None = None,
    key: idempotency.Key | None = None,
) -> Session:
    """Exchanges a refresh token: the session, ready for its next pair of tokens.

    A token that is used twice ends the session (RFC 9700 §4.14.2), unless its answer was lost: then the same successor is given
    again. An answer counts as lost for `GRACE` after the exchange, while no token of it was used. A request that is repeated with
    its `key` gets the same successor too, until that one is exchanged, and ends nothing. Refuses with `NotSignedIn`, and ends the
    session, where it is not one of the app with this `client_id`.
    """
    claim = codes.read_proof(settings.keys("sessions"), kind, shown)
    if claim is None:
        raise NotSignedIn
    session_id, number = claim
    now = clock.now()
    token = _Token(session_id, number, kind, client_id)
    with transaction() as tx:
        if idempotency.claim(tx, key) is not None:
            return _refreshed_before(tx, token, now)
        session = _exchange(tx, token, now) or _after_lost_answer(tx, token, now)
        if session is not None:
            idempotency.keep(tx, key)
        else:
            _end_the_stolen(tx, session_id, number)
            idempotency.free(tx, key)
    if session is None:
        raise NotSignedIn
    return session


@dataclass(frozen=True)
class _Token:
    """A refresh token: that of a session after this number of refreshes, of this kind and of an app."""

    session_id: Any
    number: Any
    kind: SessionKind
    client_id: Any
    """None for any app or none."""

    def may_be_refreshed(self, now: Any, unused_since: Any) -> tuple[ColumnElement[bool], ...]:
        """Whether its session is live, of the right app, and its user may sign in. The moments may be parameters of a statement."""
        may_sign_in = exists().where(User.id == Session.user_id, User.blocked_at.is_(None), User.deleted_at.is_(None))
        of_client = () if self.client_id is None else (Session.client_id == self.client_id,)
        return Session.id == self.session_id, live(now, {self.kind: unused_since}), may_sign_in, *of_client


def _exchange(tx: Transaction, token: _Token, now: datetime) -> Session | None:
    """Spends the token; None if it was spent before or its session may not be refreshed."""
    of_client = {} if token.client_id is None else {"client": token.client_id}
    session = _exchange_statement(token.kind, bool(of_client)).row(
        *(tx, Session),
        session=token.session_id,
        number=token.number,
        next_number=token.number + 1,
        now=now,
        unused_since=now - SESSION_IDLE[token.kind],
        **of_client,
    )
    if session is not None and session.created_at > now + clock.APART:
        tx.execute(update(Session).where(Session.id == session.id).values(_corrected_times(now)))
    return session


@cache
def _exchange_statement(kind: SessionKind, of_client: bool) -> Prepared[str]:
    token = _Token(bindparam("session"), bindparam("number"), kind, bindparam("client") if of_client else None)
    which = *token.may_be_refreshed(bindparam("now"), bindparam("unused_since")), Session.refreshes == token.number
    spent: dict[str, Any] = {"refreshes": bindparam("next_number"), "refreshed_at": bindparam("now"), "seen_at": bindparam("now")}
    return prepared(update(Session).where(*which).values(spent).returning(Session))


def _after_lost_answer(tx: Transaction, token: _Token, now: datetime) -> Session | None:
    """The session, if this token was spent within `GRACE` and no token of that answer was used."""
    spent_just_now = (
        Session.refreshes == token.number + 1,
        Session.refreshed_at > now - GRACE,
        Session.refreshed_at <= now + clock.APART,
    )
    not_received = func.coalesce(Session.refreshes_received, 0) <= token.number
    current = token.may_be_refreshed(now, now - SESSION_IDLE[token.kind])
    return tx.scalar(select(Session).where(*current, *spent_just_now, not_received))


def _refreshed_before(tx: Transaction, token: _Token, now: datetime) -> Session:
    """The session that the same request refreshed before, until its successor is exchanged. Refuses with `NotSignedIn`."""
    current = token.may_be_refreshed(now, now - SESSION_IDLE[token.kind])
    session = tx.scalar(select(Session).where(*current, Session.refreshes == token.number + 1))
    if session is None:
        raise NotSignedIn
    return session


def devices(user_id: str) -> list[SignedInDevice]:
    """The user's live sessions, newest first, at most 100."""
    now = clock.now()
    since = {f"unused_since_{kind}": now - SESSION_IDLE[kind] for kind in OF_PEOPLE}
    return [SignedInDevice(*row) for row in FIND_DEVICES.rows(db.session(), user=user_id, now=now, **since)]


def sign_out(user_id: str, session_id: str) -> None:
    """Ends the session of the caller at once, with all its tokens. Its device stays known. Refuses with `NotFound`."""
    with transaction() as tx:
        ended = revocation.end(tx, user_id, Session.id == session_id, is_live(clock.now()), noted_as=events.Kind.SESSION_ENDED)
    if not ended:
        raise NotFound


def end(user_id: str, session_id: str, *, asked_in: str | None = None) -> None:
    """Ends one of the user's sessions at once, with all its tokens, and forgets its device.

    The device stays known if the session that asks (`asked_in`) was opened on it too. Refuses with `NotFound`.
    """
    if "\0" in session_id:  # PostgreSQL refuses it in a string, and no id contains it
        raise NotFound
    meant = Session.id == session_id, is_live(clock.now())
    with transaction() as tx:
        not_mine = [known_devices.all_but_that_of(tx, asked_in)] if asked_in and asked_in != session_id else []
        known_devices.forget(tx, user_id, known_devices.signed_in_by(*meant), *not_mine)
        ended = revocation.end(tx, user_id, *meant, noted_as=events.Kind.SESSION_ENDED)
    if not ended:
        raise NotFound


def end_others(user_id: str, session_id: str) -> None:
    """Ends all sessions of the user except this one, and forgets all devices except the one on which it was opened."""
    with transaction() as tx:
        revocation.end_all(tx, user_id, but=session_id, noted_as=events.Kind.SESSIONS_ENDED)


def _end_the_stolen(tx: Transaction, session_id: str, number: int) -> None:
    """Ends a session whose refresh token was used twice, and forgets its device: a thief may have copied the device's token too.

    A session that has expired, or whose token was not exchanged, is only ended. One that has ended stays as it is.
    """
    this = Session.id == session_id, Session.ended_at.is_(None)
    stolen = tx.scalar(select(Session.user_id).where(*this, Session.refreshes > number))
    if stolen is not None:
        known_devices.forget(tx, stolen, known_devices.signed_in_by(*this))
    ended = revocation.end_matching(tx, *this)
    if stolen is not None and ended:
        events.note(tx, events.Kind.REFRESH_REUSED, stolen)


def is_live(now: datetime, *kinds: SessionKind) -> ColumnElement[bool]:
    """Whether a session is live: not ended, not expired, and used recently. Of these kinds, by default of those `OF_PEOPLE`."""
    return live(now, {kind: now - SESSION_IDLE[kind] for kind in kinds or OF_PEOPLE})


def live(now: Any, unused_since: Mapping[SessionKind, Any]) -> ColumnElement[bool]:
    """As `is_live`, for statements that are prepared: the moments are its parameters."""
    used = [and_(Session.kind == kind, Session.seen_at > moment) for kind, moment in unused_since.items()]
    return and_(Session.ended_at.is_(None), Session.expires_at > now, or_(*used))


FIND_DEVICES: Final = prepared(
    select(Session.id, Session.device, Session.created_at, Session.refreshed_at, Session.seen_at, Session.expires_at, Client.name)
    .outerjoin(Client, Client.id == Session.client_id)
    .where(
        Session.user_id == bindparam("user"),
        live(bindparam("now"), {kind: bindparam(f"unused_since_{kind}") for kind in OF_PEOPLE}),
    )
    .order_by(Session.created_at.desc(), Session.id)
    .limit(MOST_PER_PAGE)
)


def _corrected_times(now: datetime) -> dict[str, object]:
    """Values for a session whose times were written while the clock was ahead.

    It expires as if it had begun now. Its sign-in and its refresh count as an hour old, so that nothing counts as recent.
    """
    soon, stale = now + clock.APART, now - timedelta(hours=1)
    too_late = [
        (and_(Session.kind == kind, Session.expires_at > soon + time), now + time) for kind, time in SESSION_LIFETIME.items()
    ]
    return {
        "created_at": case((Session.created_at > soon, stale), else_=Session.created_at),
        "refreshed_at": case((Session.refreshed_at > soon, stale), else_=Session.refreshed_at),
        "expires_at": case(*too_late, else_=Session.expires_at),
    }


def _record(*which: ColumnElement[bool], **values: object) -> None:
    # If the database cannot write at present, the caller is accepted all the same, and the next request records it.
    with suppress(Unavailable), transaction() as tx:
        tx.execute(update(Session).where(*which).values(values))
