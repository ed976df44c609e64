"""The actions of apps that people sign in to, by their verbs. All need an application context."""

import hashlib
from typing import Any

from flask import current_app
from sqlalchemy import select

from config import Settings
from hammer import codes
from hammer.clients import registry
from hammer.db.database import db
from hammer.grants import authorizations, exchanges
from hammer.grants.exchanges import Grant
from hammer.models import Authorization, Client, LogoutNotice, Session
from hammer.sessions.sessions import Caller

REDIRECT_URI = "https://shop.example.com/callback"
LOGOUT_URI = "https://shop.example.com/logout"
VERIFIER = "v" * 43
CHALLENGE = codes.base64url(hashlib.sha256(VERIFIER.encode()).digest())
SCOPES = "openid phone"
OFFLINE = "openid offline_access"


def add_app(name: str = "Shop", **given: Any) -> Client:
    """A client that people can sign in to, and that is notified when they sign out."""
    return registry.add(name, **{"redirect_uris": [REDIRECT_URI], "backchannel_logout_uri": LOGOUT_URI} | given)


def caller(session: Session) -> Caller:
    """The person of this session of a browser."""
    return Caller(session.user_id, session.id, is_staff=False)


def request(client: Client, scopes: str = SCOPES, **asked: Any) -> Authorization:
    """A request of the client that is not stored."""
    given = {"redirect_uri": REDIRECT_URI, "code_challenge": CHALLENGE, "nonce": "n-1"} | asked
    return authorizations.request(client, scopes=scopes.split(), **given)


def ask(client: Client, scopes: str = SCOPES, **asked: Any) -> Authorization:
    """A stored request of the client."""
    made = request(client, scopes, **asked)
    authorizations.store(current_app.config["SETTINGS"], made)
    return made


def code(settings: Settings, client: Client, session: Session, scopes: str = SCOPES, **asked: Any) -> str:
    """The code for an app that the person of this session allows these scopes."""
    return authorizations.approve(settings, ask(client, scopes, **asked).id, caller(session))


def exchange(settings: Settings, client: Client, code: str, **shown: Any) -> Grant | None:
    """What the client is given for a code."""
    return exchanges.exchange(settings, client.id, code, **{"redirect_uri": REDIRECT_URI, "verifier": VERIFIER} | shown)


def sign_in(settings: Settings, client: Client, session: Session, scopes: str = SCOPES) -> Session:
    """The session of the app that the person of this session of a browser signs in to."""
    grant = exchange(settings, client, code(settings, client, session, scopes))
    assert grant is not None
    return grant.session


def is_over(session: Session) -> bool:
    """Whether the session was ended, or is deleted."""
    db.session.rollback()
    return db.session.scalar(select(Session.id).where(Session.id == session.id, Session.ended_at.is_(None))) is None


def notified() -> list[tuple[str, str]]:
    """Which client (first) will be notified of the end of which session (second), sorted."""
    db.session.rollback()
    return sorted((notice.client_id, notice.session_id) for notice in db.session.scalars(select(LogoutNotice)))
