"""Signing in to an app: `request`, `store`, `next_step`, `approve` (authorization code flow, RFC 6749 §4.1).

The code is computed from the row and a key outside the database, and never stored: a dump of the database opens no app.
"""

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import and_, bindparam, select, update

from config import Settings
from hammer import clock, codes, events
from hammer.db.database import Transaction, db, transaction
from hammer.db.prepared import insert_row, prepared
from hammer.models import Authorization, Client, Consent, Session, SignInScope, User
from hammer.quotas import addresses, counters
from hammer.quotas.counters import HOUR, Limit
from hammer.refusals import NotFound, TooManyRequests
from hammer.sessions.sessions import Caller

LIFETIME: Final = timedelta(minutes=30)
"""How long people have for an answer: long enough for some texts that are late."""
CODE_LIFETIME: Final = timedelta(seconds=60)
"""How long a code can be exchanged. RFC 6749 §4.1.2 recommends at most ten minutes."""
PER_ADDRESS_PER_HOUR: Final = 300
"""Requests of one address that are stored for people who still have something to do: enough for an office in which all people
sign in at nine. The networks around it have multiples of it: `addresses.TIMES`."""

KIND: Final = "authorization-code"

FIND_ALLOWED: Final = prepared(
    select(Session.created_at, Consent.scopes)
    .outerjoin(Consent, and_(Consent.user_id == Session.user_id, Consent.client_id == bindparam("client")))
    .where(Session.id == bindparam("browser"))
)
INSERT_CONSENT: Final = prepared(lambda insert: insert(Consent).on_conflict_do_nothing().returning(Consent.user_id))

STORED: Final = [column.key for column in Authorization.__table__.columns if column.key not in ("consumed_at", "grant_id")]
"""The columns of a new request."""


class Step(StrEnum):
    """What a person has to do before they are signed in to the app."""

    SIGN_IN = "sign-in"
    PROVE = "prove"
    """Prove their number again: the app wants a newer login."""
    CONSENT = "consent"


def request(
    client: Client,
    *,
    redirect_uri: str,
    scopes: Iterable[str],
    state: str | None = None,
    nonce: str | None = None,
    code_challenge: str | None = None,
    prompt: Iterable[str] = (),
    max_age: int | None = None,
    login_hint: str | None = None,
) -> Authorization:
    """A request of this client, made of parameters that were checked, and not stored.

    `max_age` is in seconds; `login_hint` is a number in E.164.
    """
    now = clock.now()
    return Authorization(
        id=codes.random_id(),
        client_id=client.id,
        redirect_uri=redirect_uri,
        scopes=_words(scopes),
        state=state,
        nonce=nonce,
        code_challenge=code_challenge,
        prompt=" ".join(prompt),
        max_age=max_age,
        login_hint=login_hint,
        created_at=now,
        expires_at=now + LIFETIME,
    )


def store(settings: Settings, asked: Authorization, *, allowed_in: str | None = None, address: str | None = None) -> None:
    """Stores a request. When nothing is left to do for the person, `allowed_in` is their session, and its code can be exchanged.

    With an address it is counted. Refuses with `TooManyRequests` after `PER_ADDRESS_PER_HOUR` from one address (more from a wide
    network): strangers could fill the disk.
    """
    now = clock.now()
    if allowed_in is not None:
        asked.session_id, asked.expires_at = allowed_in, now + CODE_LIFETIME
    limits = [] if address is None else _limits(settings, address)
    with transaction() as tx:
        if limits and len(counters.take(tx, limits, now)) < len(limits):
            raise TooManyRequests(retry_after=clock.seconds_until(counters.ends_at(HOUR, now), now))
        insert_row(tx, Authorization, **{name: getattr(asked, name) for name in STORED})


def find(authorization_id: str) -> tuple[Authorization, Client] | None:
    """The request with this id and its client. It may be over or answered.

    None if there is none, if its client is disabled, or if the address that it leads to is not the client's any more.
    """
    if not codes.is_id(authorization_id):  # PostgreSQL refuses a NUL in a value
        return None
    with_client = select(Authorization, Client).join(Client, Client.id == Authorization.client_id)
    found = db.session.execute(with_client.where(Authorization.id == authorization_id, Client.disabled_at.is_(None))).one_or_none()
    if found is None or found.Authorization.redirect_uri not in found.Client.redirect_uris.split():
        return None
    return found.Authorization, found.Client


def is_open(asked: Authorization) -> bool:
    """Whether the person can still answer the request."""
    return asked.session_id is None and clock.now() < asked.expires_at


def next_step(asked: Authorization, client: Client, caller: Caller | None) -> Step | None:
    """What the caller has to do next; None if nothing is left to do. The request need not be stored."""
    if caller is None:
        return Step.SIGN_IN
    found = FIND_ALLOWED.rows(db.session(), client=client.id, browser=caller.session_id)
    if not found:  # the caller was deleted just now
        return Step.SIGN_IN
    [(proved_at, allowed)] = found
    if proved_at < asked.created_at:
        too_old = asked.max_age is not None and proved_at < clock.now() - timedelta(seconds=asked.max_age)
        if too_old or "login" in asked.prompt.split():
            return Step.PROVE
    if _asks_each_time(client, asked):
        return Step.CONSENT
    return None if client.first_party or set(asked.scopes.split()).issubset((allowed or "").split()) else Step.CONSENT


def is_asked_once(client: Client, asked: Authorization) -> bool:
    """Whether the same request is not asked about again after the person has allowed it."""
    return not client.first_party and not _asks_each_time(client, asked)


def allowed(user_id: str, client_id: str) -> frozenset[str]:
    """The scopes that the user allowed the client before."""
    remembered = select(Consent.scopes).where(Consent.user_id == user_id, Consent.client_id == client_id)
    return frozenset((db.session.scalar(remembered) or "").split())


def approve(settings: Settings, authorization_id: str, caller: Caller) -> str:
    """The code for the app, which can be exchanged once within `CODE_LIFETIME`. What the caller allowed is remembered.

    When the answer is sent again, it is the same code until that is exchanged. Refuses with `NotFound` when the request is over, or
    was answered in another session.
    """
    now = clock.now()
    this = Authorization.id == authorization_id, Authorization.expires_at > now, Authorization.consumed_at.is_(None)
    answer = update(Authorization).where(*this, Authorization.session_id.is_(None)).returning(Authorization)
    # Locked: a deletion of the user at the same moment waits, and then deletes the consent as well.
    person = select(User.id).where(User.id == caller.user_id, User.deleted_at.is_(None))
    with transaction() as tx:
        if tx.scalar(person.with_for_update(read=True, key_share=True)) is None:
            raise NotFound
        asked = tx.scalar(answer.values(session_id=caller.session_id, expires_at=now + CODE_LIFETIME))
        if asked is None:
            asked = tx.scalar(select(Authorization).where(*this, Authorization.session_id == caller.session_id))
        else:
            _remember(tx, caller.user_id, asked)
        if asked is None:
            raise NotFound
        return code(settings, asked)


def code(settings: Settings, asked: Authorization) -> str:
    """The code of a request that was allowed."""
    return codes.proof(settings.key("authorizations"), KIND, asked.id)


def _asks_each_time(client: Client, asked: Authorization) -> bool:
    """Whether the person is asked whatever they allowed before: the app wants it, or another app can get the answer. An app on the
    same device can have the same scheme or port, and without a secret nothing tells the two apart (RFC 8252 §8.6)."""
    wanted = {"consent", "select_account"}.intersection(asked.prompt.split())
    return bool(wanted) or (client.public and not asked.redirect_uri.startswith("https:"))


def _limits(settings: Settings, address: str) -> list[Limit]:
    return [
        Limit(f"authorizations/{place}", most, HOUR)
        for network, most in addresses.shares(address, PER_ADDRESS_PER_HOUR)
        for place in settings.keyed_hashes("addresses", network)
    ]


def _remember(tx: Transaction, user_id: str, asked: Authorization) -> None:
    """Adds the scopes to those that the user allows the client. Of the operator's own apps nothing is remembered."""
    if tx.scalar(select(Client.first_party).where(Client.id == asked.client_id)):
        return
    INSERT_CONSENT.value(tx, user_id=user_id, client_id=asked.client_id, scopes="", given_at=clock.now())
    this = Consent.user_id == user_id, Consent.client_id == asked.client_id
    before = tx.scalar(select(Consent.scopes).where(*this).with_for_update()) or ""
    allowed = _words({*before.split(), *asked.scopes.split()})
    if allowed != before:
        tx.execute(update(Consent).where(*this).values(scopes=allowed, given_at=clock.now()))
        events.note(tx, events.Kind.CONSENT_GIVEN, user_id, client_id=asked.client_id)


def _words(scopes: Iterable[str]) -> str:
    """The scopes in our order, with spaces between them."""
    given = set(scopes)
    return " ".join(scope for scope in SignInScope if scope in given)
