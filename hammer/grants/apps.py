"""The apps that a person signed in to, as the person sees them: `apps`, `end`, `forget`."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, or_, select

from hammer import clock, codes, events
from hammer.db.database import Transaction, db, transaction
from hammer.db.pagination import MOST_PER_PAGE
from hammer.models import Client, Consent, Session, SessionKind, SignInScope
from hammer.refusals import NotFound
from hammer.sessions import revocation
from hammer.sessions.sessions import is_live


@dataclass(frozen=True)
class App:
    """An app that a person is signed in to, or allowed something."""

    client_id: str
    name: str
    first_party: bool
    """Whether it is the operator's own, which is not asked about."""
    scopes: tuple[SignInScope, ...]
    """What it may know about them."""
    signed_in_at: datetime | None
    """When they signed in to it last; None if they are not signed in to it."""


def apps(user_id: str) -> list[App]:
    """The apps that the user is signed in to or allowed something, by name, at most 100."""
    mine = (Session.user_id == user_id, Session.kind == SessionKind.APP, is_live(clock.now(), SessionKind.APP))
    signed_in = select(Session.client_id, func.max(Session.refreshed_at).label("at")).where(*mine).group_by(Session.client_id)
    live = signed_in.subquery()
    allowed = select(Consent).where(Consent.user_id == user_id).subquery()
    every = (
        select(Client.id, Client.name, Client.first_party, allowed.c.scopes, live.c.at)
        .outerjoin(live, live.c.client_id == Client.id)
        .outerjoin(allowed, allowed.c.client_id == Client.id)
        .where(or_(live.c.at.is_not(None), allowed.c.scopes.is_not(None)), Client.disabled_at.is_(None))
    )
    found = db.session.execute(every.order_by(Client.name).limit(MOST_PER_PAGE)).all()
    return [App(row.id, row.name, row.first_party, tuple(map(SignInScope, (row.scopes or "").split())), row.at) for row in found]


def end(user_id: str, client_id: str) -> None:
    """Signs the user out of the app, which is told. What they allowed it stays. Refuses with `NotFound`."""
    with transaction() as tx:
        if not _end(tx, user_id, client_id):
            raise NotFound


def forget(user_id: str, client_id: str) -> None:
    """Signs the user out of the app and forgets what they allowed it: next time it has to ask again. Refuses with `NotFound`."""
    with transaction() as tx:
        ended = _end(tx, user_id, client_id)
        allowed = delete(Consent).where(Consent.user_id == user_id, Consent.client_id == client_id).returning(Consent.user_id)
        withdrawn = tx.scalar(allowed) is not None
        if withdrawn:
            events.note(tx, events.Kind.CONSENT_WITHDRAWN, user_id, client_id=client_id)
        if not ended and not withdrawn:
            raise NotFound


def sign_out(user_id: str, session_id: str) -> None:
    """Ends the session of the browser in which this session of an app was opened, with all other apps that were signed in to there.
    Does nothing if both are over."""
    with transaction() as tx:
        of_browser = tx.scalar(select(Session.parent_id).where(Session.id == session_id, Session.user_id == user_id))
        either = or_(Session.id == session_id, Session.id == of_browser)
        revocation.end(tx, user_id, either, noted_as=events.Kind.SESSION_ENDED)


def _end(tx: Transaction, user_id: str, client_id: str) -> bool:
    if not codes.is_id(client_id):  # PostgreSQL refuses a NUL in a value
        raise NotFound
    in_app = Session.kind == SessionKind.APP, Session.client_id == client_id
    ended = revocation.end_matching(tx, Session.user_id == user_id, *in_app)
    if ended:
        events.note(tx, events.Kind.APP_SIGNED_OUT, user_id, client_id=client_id)
    return ended
