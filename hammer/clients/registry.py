"""Which clients there are, and which one is calling. OAuth 2.0 (RFC 6749 §1.1) calls an app or a backend a client."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from config import Settings, fault_of_origin, serialized_origin
from hammer import clock, codes, events
from hammer.acting import CHANGED_SINCE, acting
from hammer.db.database import Transaction, db
from hammer.db.pagination import Page
from hammer.db.prepared import prepared
from hammer.models import Authorization, Client, Consent, Scope, Session, SessionKind, SigningAlgorithm
from hammer.outgoing import uris
from hammer.quotas import idempotency
from hammer.refusals import N_, InvalidFields, NotFound
from hammer.sessions import devices, revocation
from hammer.sessions.keys import IdTokenKeys
from hammer.webhooks import endpoints

SENDS_PER_HOUR: Final = 100
"""Messages an hour that a client may ask for, unless the operator says otherwise."""
MOST_SENDS_PER_HOUR: Final = 1_000_000
LONGEST_NAME: Final = 80
MOST_AT_ONCE: Final = 1000
"""Sessions that one statement ends: PostgreSQL accepts 65,535 values in one."""
NAME_TAKEN: Final = N_("There is already a client with this name.")
NOT_A_NAME: Final = N_("A name is one line of 1 to 80 characters.")
NOT_A_SCOPE: Final = N_("There is no such scope.")
NOT_AN_ORIGIN: Final = N_("An origin is an address like https://app.example.com.")
NOT_A_LIMIT: Final = N_("Must be a whole number from 0 to 1000000.")
NOT_AN_ALGORITHM: Final = N_("Type one of RS256, ES256 and EdDSA.")
NO_SCOPES_IF_PUBLIC: Final = N_("Give a public client no scopes: it has no secret to call the API with.")
PKCE_IF_PUBLIC: Final = N_("Leave PKCE on for a public client: nothing else binds its codes to it.")

FIND_CALLER: Final = prepared(select(Client).where(Client.id == bindparam("client"), Client.disabled_at.is_(None)))
# The row is locked: a client that is disabled at the same moment waits, and then its new session and device end as well. It locks
# the client, then devices, then sessions; so does a login.
LOCK: Final = prepared(
    select(Client.id).where(Client.id == bindparam("client"), Client.disabled_at.is_(None)).with_for_update(read=True)
)


@dataclass(frozen=True)
class ClientCaller:
    """The client of a request. `scopes` are those of its token that the operator still allows it."""

    client: Client
    scopes: frozenset[Scope]


class Doubt(StrEnum):
    """What is hardly meant in what the operator registered."""

    NO_TEXTS = "no-texts"
    """It may ask for texts, but for none an hour."""
    NO_SIGN_IN = "no-sign-in"
    """It is set up for people who sign in, but has no redirect URI."""
    NO_PKCE = "no-pkce"
    """A code that is stolen on its way can be used in another browser."""


def doubts(client: Client) -> list[Doubt]:
    """What to warn the operator of."""
    for_people = client.public or client.post_logout_redirect_uris or client.backchannel_logout_uri
    found = {
        Doubt.NO_TEXTS: Scope.CODES_SEND in allowed(client) and not client.sends_per_hour,
        Doubt.NO_SIGN_IN: for_people and not client.redirect_uris,
        Doubt.NO_PKCE: not client.pkce_required,
    }
    return [doubt for doubt, holds in found.items() if holds]


def caller(client_id: str, scopes: Iterable[str], disables: int | None) -> ClientCaller | None:
    """The caller with a token of this client and these scopes, issued when it had been disabled so many times; None if the client
    is disabled or removed, or was disabled since."""
    client = FIND_CALLER.row(db.session(), Client, client=client_id)
    if client is None or client.disables != disables:
        return None
    return ClientCaller(client, allowed(client).intersection(scopes))


def allowed(client: Client) -> frozenset[Scope]:
    """What the operator allows the client."""
    return frozenset(map(Scope, client.scopes.split()))


def may_sign_in(tx: Transaction, client_id: str) -> bool:
    """Whether people may sign in through the client: not if it is disabled or removed, also at this moment."""
    return LOCK.value(tx, client=client_id) is not None


def enabled(client_id: str) -> Client | None:
    """The client with this id; None if there is none, or it is disabled."""
    if not codes.is_id(client_id):  # PostgreSQL refuses a NUL in a value
        return None
    return FIND_CALLER.row(db.session(), Client, client=client_id)


def public_client(client_id: str) -> Client | None:
    """The public client with this id, which authenticates by no secret; None if there is none, or it is disabled."""
    client = enabled(client_id)
    return client if client is not None and client.public else None


def find(name: str) -> Client:
    """The client with this id or name. Refuses with `NotFound`."""
    found = db.session.scalar(select(Client).where(or_(Client.id == name, Client.name == name)).order_by(Client.id != name))
    if found is None:
        raise NotFound
    return found


def get(client_id: str) -> Client:
    """The client with this id. Refuses with `NotFound`."""
    found = db.session.get(Client, client_id)
    if found is None:
        raise NotFound
    return found


def every() -> list[Client]:
    """All clients by name."""
    return list(db.session.scalars(select(Client).order_by(Client.name)))


def page(after: str | None, limit: int) -> Page[Client]:
    """Clients by name, those behind the one with the id `after`; from the first one if there is no such client."""
    behind = db.session.get(Client, after) if after and codes.is_id(after) else None
    rows = select(Client).where(Client.name > behind.name) if behind else select(Client)
    found = list(db.session.scalars(rows.order_by(Client.name).limit(limit + 1)))
    return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)


def edition(client: Client) -> str:
    """A hash of what can be changed: another one later says that it was changed."""
    return sha256(repr([getattr(client, field) for field in FIELDS]).encode()).hexdigest()


def make_key(settings: Settings, client: Client) -> None:
    """Makes the key that signs the id tokens of the client, so that it is published before the first of them."""
    if client.redirect_uris:
        IdTokenKeys(settings).ensure(SigningAlgorithm(client.algorithm))


def check_backchannel(settings: Settings, uri: str | None) -> None:
    """Refuses with `InvalidFields` an address for logout notices that Hammer may not post to."""
    if uri is not None:
        uris.check_server(settings, "backchannel_logout_uri", uri)


def origins() -> frozenset[str]:
    """The origins of all clients that are not disabled."""
    # On a connection of its own: the one of this request may have failed.
    with db.engine.connect() as connection:
        each = connection.scalars(select(Client.origins).where(Client.disabled_at.is_(None))).all()
    return frozenset(origin for of_one in each for origin in of_one.split())


def add(
    name: str,
    scopes: Iterable[str] = (),
    *,
    origins: Iterable[str] = (),
    sends_per_hour: int = SENDS_PER_HOUR,
    public: bool = False,
    actor_id: str | None = None,
    key: idempotency.Key | None = None,
    **sign_in: object,
) -> Client:
    """A new client. `sign_in` takes what `change` takes for people who sign in. A request that is repeated with its `key` gets the
    same client. Refuses with `InvalidFields`, also for a name that another client has."""
    given = {"name": name, "scopes": scopes, "origins": origins, "sends_per_hour": sends_per_hour, **sign_in}
    columns = _read(given, public=public)
    client = Client(id=codes.random_id(), generation=0, created_at=clock.now(), public=public, **columns)
    try:
        with acting(actor_id) as tx:
            before = idempotency.claim(tx, key)
            if before is not None and (added := tx.get(Client, before["id"])) is not None:
                return added
            tx.add(client)
            tx.flush()
            events.note(tx, events.Kind.CLIENT_ADDED, actor_id=actor_id, client_id=client.id)
            if not client.pkce_required:
                events.note(tx, events.Kind.CLIENT_PKCE_OFF, actor_id=actor_id, client_id=client.id)
            idempotency.keep(tx, key, id=client.id)
    except IntegrityError as error:
        raise InvalidFields({"name": [NAME_TAKEN]}) from error
    return client


def change(client_id: str, *, actor_id: str | None = None, seen: str = "", **given: object) -> None:
    """Changes those of `name`, `scopes`, `origins`, `sends_per_hour`, `redirect_uris`, `post_logout_redirect_uris`,
    `backchannel_logout_uri`, `algorithm`, `first_party` and `pkce_required` that are given.

    Its tokens have the new scopes at once. Who is about to be sent to an address that is taken away does not arrive there. From a
    client that is first party no more everyone is signed out: they were never asked. Refuses with `InvalidFields` and `NotFound`.

    :param seen: the `edition` that the caller has seen; any other one is refused.
    """
    try:
        with acting(actor_id) as tx:
            client = tx.scalar(select(Client).where(Client.id == client_id).with_for_update())
            if client is None:
                raise NotFound
            if seen and seen != edition(client):
                raise InvalidFields({"seen": [CHANGED_SINCE]})
            columns, had_pkce, was_first_party = _read(given, public=client.public), client.pkce_required, client.first_party
            _update(tx, client_id, **columns)
            events.note(tx, events.Kind.CLIENT_CHANGED, actor_id=actor_id, client_id=client_id)
            if had_pkce and columns.get("pkce_required") is False:
                events.note(tx, events.Kind.CLIENT_PKCE_OFF, actor_id=actor_id, client_id=client_id)
            of_it = Authorization.client_id == client_id
            if was_first_party and columns.get("first_party") is False:
                _end_sessions(tx, client_id, Session.kind == SessionKind.APP)
                revocation.void(tx, of_it)
            if "redirect_uris" in columns:
                revocation.void(tx, of_it, Authorization.redirect_uri.not_in(str(columns["redirect_uris"]).split()))
    except IntegrityError as error:
        raise InvalidFields({"name": [NAME_TAKEN]}) from error


def disable(client_id: str, *, actor_id: str | None = None) -> None:
    """Makes the client's secrets and tokens invalid at once, signs out everyone who signed in through it, and forgets the devices.
    Its codes and requests are void. Refuses with `NotFound`."""
    with acting(actor_id) as tx:
        _update(tx, client_id, disabled_at=func.coalesce(Client.disabled_at, clock.now()), disables=Client.disables + 1)
        devices.forget_of_client(tx, client_id)
        _end_sessions(tx, client_id)
        revocation.void(tx, Authorization.client_id == client_id)
        events.note(tx, events.Kind.CLIENT_DISABLED, actor_id=actor_id, client_id=client_id)


def enable(client_id: str, *, actor_id: str | None = None) -> None:
    """Makes the secrets of a disabled client valid again; its tokens, sessions and requests stay over. Refuses with `NotFound`."""
    with acting(actor_id) as tx:
        _update(tx, client_id, disabled_at=None)
        revocation.void(tx, Authorization.client_id == client_id)  # one may have been stored just after the client was disabled
        events.note(tx, events.Kind.CLIENT_ENABLED, actor_id=actor_id, client_id=client_id)


def remove(client_id: str, *, actor_id: str | None = None) -> None:
    """Disables the client for ever and deletes it. Events keep its id. Refuses with `NotFound`."""
    with acting(actor_id) as tx:
        if tx.scalar(delete(Client).where(Client.id == client_id).returning(Client.id)) is None:
            raise NotFound
        devices.forget_of_client(tx, client_id)
        _end_sessions(tx, client_id)
        revocation.void(tx, Authorization.client_id == client_id)
        endpoints.remove_of_client(tx, client_id, actor_id=actor_id)
        for table in (Authorization, Consent):
            tx.execute(delete(table).where(table.client_id == client_id))
        events.note(tx, events.Kind.CLIENT_REMOVED, actor_id=actor_id, client_id=client_id)


def _read(given: Mapping[str, object], *, public: bool) -> dict[str, object]:
    """Columns of a client from what an operator typed. Refuses with `InvalidFields`, which reports every bad field."""
    read = {field: _READERS[field](value, public) for field, value in given.items()}
    errors = {field: [fault] for field, (_, fault) in read.items() if fault}
    if errors:
        raise InvalidFields(errors)
    return {field: column for field, (column, _) in read.items()}


# Each of these answers with a column, and with what is wrong with it.


def _name(given: str, _: bool) -> tuple[str, str]:
    name = given.strip()
    return name, "" if 0 < len(name) <= LONGEST_NAME and name.isprintable() else NOT_A_NAME


def _scopes(given: Iterable[str], public: bool) -> tuple[str, str]:
    scopes = set(_words(given))
    fault = NOT_A_SCOPE if scopes - set(Scope) else NO_SCOPES_IF_PUBLIC if public and scopes else ""
    return " ".join(scope for scope in Scope if scope in scopes), fault


def _origins(given: Iterable[str], _: bool) -> tuple[str, str]:
    origins = _words(given)
    if any(map(fault_of_origin, origins)):
        return "", NOT_AN_ORIGIN
    return " ".join(dict.fromkeys(map(serialized_origin, origins))), ""


def _limit(given: int, _: bool) -> tuple[int, str]:
    return given, "" if 0 <= given <= MOST_SENDS_PER_HOUR else NOT_A_LIMIT


def _redirect_uris(given: Iterable[str], public: bool) -> tuple[str, str]:
    each = list(dict.fromkeys(given))
    faults = filter(None, (uris.fault_of_redirect_uri(uri, public=public) for uri in each))
    return " ".join(each), next(faults, uris.TOO_MANY if len(each) > uris.MOST else "")


def _server(given: str | None, _: bool) -> tuple[str | None, str]:
    return given, "" if given is None else uris.fault_of_server(given)


def _algorithm(given: str, _: bool) -> tuple[str, str]:
    return given, "" if given in set(SigningAlgorithm) else NOT_AN_ALGORITHM


def _pkce(given: bool, public: bool) -> tuple[bool, str]:
    return given, PKCE_IF_PUBLIC if public and not given else ""


_READERS: Final[Mapping[str, Callable[[Any, bool], tuple[object, str]]]] = {
    "name": _name,
    "scopes": _scopes,
    "origins": _origins,
    "sends_per_hour": _limit,
    "redirect_uris": _redirect_uris,
    "post_logout_redirect_uris": _redirect_uris,
    "backchannel_logout_uri": _server,
    "algorithm": _algorithm,
    "first_party": lambda given, _: (given, ""),
    "pkce_required": _pkce,
}

FIELDS: Final = tuple(_READERS)
"""What can be changed."""


def _words(given: Iterable[str]) -> list[str]:
    return [word for each in given for word in each.split() or [""]]


def _update(tx: Transaction, client_id: str, **values: object) -> None:
    if tx.scalar(update(Client).where(Client.id == client_id).values(values).returning(Client.id)) is None:
        raise NotFound


def _end_sessions(tx: Transaction, client_id: str, *which: ColumnElement[bool]) -> None:
    """Ends the sessions of a client whose row is locked, or those that match `which`."""
    live = select(Session.id).where(Session.client_id == client_id, Session.ended_at.is_(None), *which)
    ids = tx.scalars(live.order_by(Session.id)).all()
    for start in range(0, len(ids), MOST_AT_ONCE):
        revocation.end_matching(tx, Session.id.in_(ids[start : start + MOST_AT_ONCE]))
