"""The app that people sign in to in the measurement. It and their browsers' sessions are put into the database directly."""

import hashlib
import hmac
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from sqlalchemy import select

from hammer import clock, create_app
from hammer.clients import registry
from hammer.clients import secrets as client_secrets
from hammer.db.database import db, transaction
from hammer.models import Consent, Session, SessionKind, SigningAlgorithm, User
from hammer.sessions import sessions
from hammer.web import tokens
from tests.benchmarks import floor, hammer_app
from tests.benchmarks.load import Connection, Person

REDIRECT_URI = "https://app.example/callback"
SCOPES = "openid phone"
VERIFIER = secrets.token_urlsafe(43)
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class AppClient:
    """A registered app."""

    client_id: str
    secret: str

    async def authorize(self, at: Connection, person: Person) -> None:
        """Sends a person who is signed in, and has allowed everything, to the application. They come back with a code."""
        head, _ = await at.send("GET", self.address, b"", {"Cookie": person.cookie}, expect=303)
        location = next(line.partition(" ")[2] for line in head.splitlines() if line.lower().startswith("location: "))
        person.authorization_code = dict(parse_qsl(urlsplit(location).query))["code"]

    async def exchange(self, at: Connection, person: Person) -> None:
        """Exchanges the code of a person."""
        headers = {"Content-Type": FORM, "Authorization": self.credentials}
        await at.send("POST", "/oauth/token", self.body(person.authorization_code), headers, expect=200)

    @property
    def address(self) -> str:
        """The address of a request to sign a person in."""
        parameters = {
            "client_id": self.client_id,
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "scope": SCOPES,
            "state": "the state",
            "nonce": "the nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return f"/oauth/authorize?{urlencode(parameters)}"

    @property
    def credentials(self) -> str:
        """The header `Authorization` of the app."""
        return f"Basic {b64encode(f'{self.client_id}:{self.secret}'.encode()).decode()}"

    def body(self, code: str) -> bytes:
        """The body that exchanges this code."""
        sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
        return urlencode(sent).encode()


def register(url: str, people: Sequence[Person], *, of_floor: bool) -> AppClient:
    """Registers the app in this database, and signs these people in with a browser each. They have allowed the app everything."""
    settings, now = hammer_app.settings_for(url), clock.now()
    with create_app(settings).app_context():
        client = registry.add(f"App {secrets.token_hex(4)}", redirect_uris=[REDIRECT_URI])
        tokens.id_token_keys().signing(SigningAlgorithm(client.algorithm))  # made before the measurement
        users = {user.telephone_number: user for user in db.session.scalars(select(User)).all()}
        with transaction() as tx:
            for person in people:
                user = users[person.number]
                opened = Session(**Session.opening(user, kind=SessionKind.BROWSER, device="", now=now))
                tx.add(opened)
                tx.add(Consent(user_id=user.id, client_id=client.id, scopes=SCOPES, given_at=now))
                person.cookie = f"session={opened.id}" if of_floor else f"__Host-hammer={sessions.cookie(settings, opened)}"
        secret = floor_secret(client.id) if of_floor else client_secrets.secret(settings, client)
        return AppClient(client.id, secret)


def floor_secret(client_id: str) -> str:
    return hmac.digest(floor.KEY, client_id.encode(), "sha256").hex()
