"""The apps that a person signed in to, as the person sees them: `apps`, `end`, `forget`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, exists, func, null, select

from hammer import clock, codes, events
from hammer.db.database import Transaction, db, transaction
from hammer.db.pagination import MOST_PER_PAGE
from hammer.db.prepared import prepared
from hammer.models import SESSION_IDLE, Authorization, Client, Consent, Session, SessionKind, SignInScope, User
from hammer.refusals import NotFound
from hammer.sessions import revocation
from hammer.sessions.sessions import live


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
    """When it last got tokens for them; None if they are not signed in to it."""


def apps(user_id: str) -> list[App]:
    """The apps that the user is signed in to or allowed something, by name, at most 100."""
    now = clock.now()
    rows = FIND_APPS.rows(db.session(), user=user_id, now=now, unused_since=now - SESSION_IDLE[SessionKind.APP])
    found = [_app([row for row in rows if row.id == client_id]) for client_id in {row.id for row in rows}]
    return sorted(found, key=lambda app: app.name)[:MOST_PER_PAGE]


_USED: Final = (
    select(Session.client_id, Session.scopes, func.max(Session.refreshed_at).label("at"))
    .where(
        Session.user_id == bindparam("user"),
        live(bindparam("now"), {SessionKind.APP: bindparam("unused_since")}),
    )
    .group_by(Session.client_id, Session.scopes)
)
_ALLOWED: Final = select(Consent.client_id, Consent.scopes, null()).where(Consent.user_id == bindparam("user"))
_KNOWN: Final = _USED.union_all(_ALLOWED).subquery()
FIND_APPS: Final = prepared(
    select(Client.id, Client.name, Client.first_party, _KNOWN.c.scopes, _KNOWN.c.at)
    .join(_KNOWN, _KNOWN.c.client_id == Client.id)
    .where(Client.disabled_at.is_(None))
)


def _app(rows: Sequence[Row[Any]]) -> App:
    """The app of these rows: each has scopes, and the time of a sign-in with them, or none for a consent."""
    scopes = {scope for row in rows for scope in row.scopes.split()}
    signed_in_at = max((row.at for row in rows if row.at), default=None)
    client = rows[0]
    return App(client.id, client.name, client.first_party, tuple(scope for scope in SignInScope if scope in scopes), signed_in_at)


def end(user_id: str, client_id: str) -> None:
    """Signs the user out of the app, which gets a logout notice, and voids its codes that are not exchanged yet. What they allowed
    it stays. Refuses with `NotFound`."""
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


def was_opened_in(browser_session_id: str, session_id: str, client_id: str) -> bool:
    """Whether the app's session was opened in the given session of a browser. Both may be over."""
    this = Session.id == session_id, Session.client_id == client_id, Session.parent_id == browser_session_id
    return bool(codes.is_id(session_id) and db.session.scalar(select(exists().where(*this))))


def _end(tx: Transaction, user_id: str, client_id: str) -> bool:
    if not codes.is_id(client_id):  # PostgreSQL refuses a NUL in a value
        raise NotFound
    # An exchange locks the user too: it comes before, and its session is ended here, or after, and finds no request.
    tx.execute(select(User.id).where(User.id == user_id).with_for_update())
    in_app = Session.kind == SessionKind.APP, Session.client_id == client_id
    ended = revocation.end_matching(tx, Session.user_id == user_id, *in_app)
    if ended:
        events.note(tx, events.Kind.APP_SIGNED_OUT, user_id, client_id=client_id)
    theirs = Authorization.session_id.in_(select(Session.id).where(Session.user_id == user_id))
    voided = revocation.void(tx, *revocation.unused(clock.now()), theirs, Authorization.client_id == client_id)
    return bool(ended or voided)
