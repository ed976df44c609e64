"""The tokens of apps that people sign in to: `exchange`, `refresh`, `revoke`, and whose an access token is.

What an app is given for a code is a session of the kind `app`. Its access token opens `/oauth/userinfo` and nothing else.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, bindparam, or_, select, update

from config import ACCESS_TOKEN_LIFETIME, Settings
from hammer import clock, codes, events
from hammer.clients import registry
from hammer.db.database import Transaction, db, transaction
from hammer.db.prepared import insert_row, prepared
from hammer.grants import authorizations
from hammer.models import SESSION_IDLE, SESSION_LIFETIME, Authorization, Client, Consent, Session, SessionKind, SignInScope, User
from hammer.refusals import NotSignedIn
from hammer.sessions import revocation, sessions
from hammer.sessions.sessions import GRACE

ACCESS: Final = "app-access"
_THIS: Final = and_(Authorization.id == bindparam("request"), Authorization.client_id == bindparam("client"))
FIND_GRANT: Final = prepared(select(Authorization.grant_id).where(_THIS))
# What the person allowed is read again: they may have withdrawn it since, or the client may be no longer the operator's own.
_ALLOWED: Final = (
    select(Session.id)
    .join(Client, Client.id == Authorization.client_id)
    .outerjoin(Consent, and_(Consent.user_id == Session.user_id, Consent.client_id == Client.id))
    .where(Session.id == Authorization.session_id, or_(Client.first_party, Consent.user_id.is_not(None)))
    .correlate(Authorization)
    .exists()
)
SPEND: Final = prepared(
    update(Authorization)
    .where(_THIS, Authorization.consumed_at.is_(None), _ALLOWED)
    .values(consumed_at=bindparam("now"), grant_id=bindparam("grant"))
    .returning(Authorization)
)
LOCK_USER: Final = prepared(
    select(User.id)
    .join(Session)
    .join(Authorization, Authorization.session_id == Session.id)
    .where(_THIS, User.blocked_at.is_(None), User.deleted_at.is_(None))
    .with_for_update(read=True, key_share=True, of=User)
)
LOCK_BROWSER: Final = prepared(
    select(Session)
    .join(Authorization, Authorization.session_id == Session.id)
    .where(
        _THIS,
        Session.kind == SessionKind.BROWSER,
        Session.ended_at.is_(None),
        Session.expires_at > bindparam("now"),
        Session.seen_at > bindparam("unused_since"),
    )
    .with_for_update(read=True, of=Session)
)

_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)


@dataclass(frozen=True)
class Grant:
    """What an app is given for a code."""

    session: Session
    """Its id is the `sid` of the id token, its `created_at` the time at which the person proved their number."""
    nonce: str | None


@dataclass(frozen=True)
class Holder:
    """Whom an access token of an app is about, and what it shows about them."""

    user_id: str
    client_id: str
    scopes: frozenset[SignInScope]


def exchange(settings: Settings, client_id: str, code: str, *, redirect_uri: str, verifier: str | None) -> Grant | None:
    """Exchanges a code; None for one that is wrong, expired, used, or of another client, address or verifier.

    The code is spent before anything is compared. A second use also ends what was given for it (RFC 6749 §4.1.2).
    """
    claim = codes.read_proof(settings.keys("authorizations"), authorizations.KIND, code)
    if claim is None:
        return None
    now = clock.now()
    this = {"request": claim[0], "client": client_id}
    with transaction() as tx:
        if not registry.may_sign_in(tx, client_id):
            return None
        # A new proof at the same moment moves the request to another session of the browser: the second look finds that one.
        parent = _lock_parent(tx, now, **this) or _lock_parent(tx, now, **this)
        spent = SPEND.row(tx, Authorization, **this, now=now, grant=codes.random_id())
        if spent is None:
            _revoke_replayed(tx, client_id, FIND_GRANT.value(tx, **this))
            return None
        right = now < spent.expires_at and spent.redirect_uri == redirect_uri and _proves(spent.code_challenge, verifier)
        session = _open(tx, spent, parent, now) if parent and right else None
    return Grant(session, spent.nonce) if session else None


def refresh(settings: Settings, client_id: str, refresh_token: str) -> Session:
    """The session, ready for its next tokens: see `sessions.refresh`. Refuses with `NotSignedIn`, also the token of
    another client, whose session ends: the token was stolen."""
    return sessions.refresh(settings, refresh_token, kind=SessionKind.APP, client_id=client_id)


def scopes(settings: Settings, refresh_token: str) -> frozenset[str]:
    """The scopes that were given with this refresh token; none for one that is forged."""
    claim = codes.read_proof(settings.keys("sessions"), SessionKind.APP, refresh_token)
    given = db.session.scalar(select(Session.scopes).where(Session.id == claim[0])) if claim else None
    return frozenset((given or "").split())


def revoke(settings: Settings, client_id: str, token: str) -> None:
    """Ends the session of an access or refresh token, also an old one (RFC 7009). Does nothing for a token of another client.

    The app gets no logout notice: it is the one that asks.
    """
    claims = (codes.read_proof(settings.keys("sessions"), kind, token) for kind in (SessionKind.APP, ACCESS))
    claim = next(filter(None, claims), None)
    if claim is None:
        return
    with transaction() as tx:
        over = update(Session).where(Session.id == claim[0], Session.client_id == client_id, Session.ended_at.is_(None))
        user_id = tx.scalar(over.values(ended_at=clock.now()).returning(Session.user_id))
        if user_id is not None:
            events.note(tx, events.Kind.APP_SIGNED_OUT, user_id, client_id=client_id)


def access_token(settings: Settings, session: Session) -> str:
    """The access token of a session of an app. It is valid for `ACCESS_TOKEN_LIFETIME`, and until the next one is used."""
    return codes.proof(settings.key("sessions"), ACCESS, session.id, session.refreshes)


def holder(settings: Settings, access_token: str) -> Holder:
    """Whom this access token is about. Refuses with `NotSignedIn`."""
    claim = codes.read_proof(settings.keys("sessions"), ACCESS, access_token)
    if claim is None:
        raise NotSignedIn
    session_id, number = claim
    caller = sessions.caller(session_id, SessionKind.APP, issued_at_refresh=number)
    session = db.session.get(Session, session_id) if caller else None
    if session is None or not _is_fresh(session, number):
        raise NotSignedIn
    return Holder(session.user_id, str(session.client_id), frozenset(map(SignInScope, (session.scopes or "").split())))


def _is_fresh(session: Session, number: int) -> bool:
    """Whether the access token with this number is the newest one and has not expired, or was the newest one until just now."""
    now = clock.now()
    lifetime = {session.refreshes: ACCESS_TOKEN_LIFETIME, session.refreshes - 1: GRACE}.get(number)
    return lifetime is not None and session.refreshed_at - clock.APART <= now < session.refreshed_at + lifetime


def _proves(challenge: str | None, verifier: str | None) -> bool:
    """Whether the verifier is the one whose S256 challenge began the request (RFC 7636 §4.6). One without a challenge is refused:
    an attacker may have taken the challenge away (RFC 9700 §2.1.1)."""
    if challenge is None or verifier is None:
        return challenge is verifier
    if not _VERIFIER.fullmatch(verifier):
        return False
    return codes.same(challenge, codes.base64url(hashlib.sha256(verifier.encode()).digest()))


def _lock_parent(tx: Transaction, now: datetime, **this: str) -> Session | None:
    """The session of the browser in which the request was allowed; None if it is over, or its user may not sign in.

    It is locked, after its user: what ends it at the same moment waits, and then ends the session of the app as well. A deletion
    locks in the same order.
    """
    if LOCK_USER.value(tx, **this) is None:
        return None
    return LOCK_BROWSER.row(tx, Session, **this, now=now, unused_since=now - SESSION_IDLE[SessionKind.BROWSER])


def _open(tx: Transaction, spent: Authorization, parent: Session, now: datetime) -> Session:
    expires_at = parent.expires_at
    # A browser's session that ends early is one of a test number: the app's ends with it.
    lasts = parent.created_at + SESSION_LIFETIME[SessionKind.BROWSER] <= expires_at
    if lasts and SignInScope.OFFLINE_ACCESS in spent.scopes.split():
        expires_at = parent.created_at + SESSION_LIFETIME[SessionKind.APP]
    opened = insert_row(
        tx,
        Session,
        id=spent.grant_id,
        user_id=parent.user_id,
        kind=SessionKind.APP,
        device=parent.device,
        client_id=spent.client_id,
        parent_id=parent.id,
        scopes=spent.scopes,
        refreshes=0,
        refreshed_at=now,
        created_at=parent.created_at,
        seen_at=now,
        expires_at=expires_at,
    )
    events.note(tx, events.Kind.APP_SIGNED_IN, parent.user_id, client_id=spent.client_id)
    return opened


def _revoke_replayed(tx: Transaction, client_id: str, grant_id: str | None) -> None:
    if grant_id is not None and revocation.end_matching(tx, Session.id == grant_id):
        user_id = tx.scalar(select(Session.user_id).where(Session.id == grant_id))
        events.note(tx, events.Kind.CODE_REPLAYED, user_id, client_id=client_id)
