"""The actions of apps that people sign in to, by their verbs. All need an application context."""

import hashlib

from config import Settings
from hammer import clock, codes
from hammer.db.database import transaction
from hammer.grants import authorizations, exchanges
from hammer.grants.exchanges import Grant
from hammer.models import Authorization, Client, Session
from hammer.sessions.sessions import Caller

REDIRECT_URI = "https://shop.example.com/callback"
LOGOUT_URI = "https://shop.example.com/logout"
VERIFIER = "a verifier has 43 characters at the least---".replace(" ", "-")
CHALLENGE = codes.base64url(hashlib.sha256(VERIFIER.encode()).digest())


def add_app(name: str = "Shop", **columns: object) -> Client:
    """A client that people can sign in to, and that is told when they sign out."""
    its = {"redirect_uris": REDIRECT_URI, "backchannel_logout_uri": LOGOUT_URI, "scopes": "", "sends_per_hour": 0} | columns
    with transaction() as tx:
        client = Client(id=codes.random_id(), name=name, generation=0, disables=0, created_at=clock.now(), **its)
        tx.add(client)
    return client


def caller(session: Session) -> Caller:
    """The person of this session of a browser."""
    return Caller(session.user_id, session.id, is_staff=False)


def ask(client: Client, scopes: str = "openid phone", **asked: object) -> Authorization:
    """A stored request of the client."""
    given = {"redirect_uri": REDIRECT_URI, "code_challenge": CHALLENGE, "nonce": "n-1"} | asked
    made = authorizations.request(client, scopes=scopes.split(), **given)  # type: ignore[arg-type]
    authorizations.store(made)
    return made


def code(settings: Settings, client: Client, session: Session, scopes: str = "openid phone", **asked: object) -> str:
    """The code for an app that the person of this session allows these scopes."""
    return authorizations.approve(settings, ask(client, scopes, **asked).id, caller(session))


def exchange(settings: Settings, client: Client, code: str, **shown: str | None) -> Grant | None:
    """What the client is given for a code."""
    right = {"redirect_uri": REDIRECT_URI, "verifier": VERIFIER} | shown
    return exchanges.exchange(settings, client.id, code, **right)  # type: ignore[arg-type]


def sign_in(settings: Settings, client: Client, session: Session, scopes: str = "openid phone") -> Session:
    """The session of the app that the person of this session of a browser signs in to."""
    grant = exchange(settings, client, code(settings, client, session, scopes))
    assert grant is not None
    return grant.session
