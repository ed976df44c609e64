"""Which clients there are, and which one is calling. OAuth 2.0 (RFC 6749 §1.1) calls an app or a backend a client."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from config import fault_of_origin, serialized_origin
from hammer import clock, codes, events
from hammer.db.database import Transaction, db, transaction
from hammer.db.prepared import prepared
from hammer.models import Authorization, Client, Consent, Device, Scope, Session
from hammer.refusals import N_, InvalidFields, NotFound

SENDS_PER_HOUR: Final = 100
"""Messages an hour that a client may ask for, unless the operator says otherwise."""
MOST_SENDS_PER_HOUR: Final = 1_000_000
LONGEST_NAME: Final = 80
NAME_TAKEN: Final = N_("There is already a client with this name.")
NOT_A_NAME: Final = N_("A name is one line of 1 to 80 characters.")
NOT_A_SCOPE: Final = N_("There is no such scope.")
NOT_AN_ORIGIN: Final = N_("An origin is an address like https://app.example.com.")
NOT_A_LIMIT: Final = N_("Must be a whole number from 0 to 1000000.")

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


def is_enabled(client_id: str) -> bool:
    """Whether there is such a client, and it is not disabled."""
    return FIND_CALLER.row(db.session(), Client, client=client_id) is not None


def find(name: str) -> Client:
    """The client with this id or name. Refuses with `NotFound`."""
    found = db.session.scalar(select(Client).where(or_(Client.id == name, Client.name == name)).order_by(Client.id != name))
    if found is None:
        raise NotFound
    return found


def every() -> list[Client]:
    """All clients by name."""
    return list(db.session.scalars(select(Client).order_by(Client.name)))


def origins() -> frozenset[str]:
    """The origins of all clients that are not disabled."""
    # On a connection of its own: the one of this request may have failed.
    with db.engine.connect() as connection:
        each = connection.scalars(select(Client.origins).where(Client.disabled_at.is_(None))).all()
    return frozenset(origin for of_one in each for origin in of_one.split())


def add(name: str, scopes: Iterable[str], *, origins: Iterable[str] = (), sends_per_hour: int = SENDS_PER_HOUR) -> Client:
    """A new client. Refuses with `InvalidFields`, also for a name that another client has."""
    columns = _read(name=name, scopes=scopes, origins=origins, sends_per_hour=sends_per_hour)
    client = Client(id=codes.random_id(), generation=0, created_at=clock.now(), **columns)
    try:
        with transaction() as tx:
            tx.add(client)
            tx.flush()
            events.note(tx, events.Kind.CLIENT_ADDED, client_id=client.id)
    except IntegrityError as error:
        raise InvalidFields({"name": [NAME_TAKEN]}) from error
    return client


def change(client_id: str, **given: object) -> None:
    """Changes those of `name`, `scopes`, `origins` and `sends_per_hour` that are given. Its tokens have the new scopes at once.

    Refuses with `InvalidFields` and `NotFound`.
    """
    try:
        with transaction() as tx:
            _update(tx, client_id, **_read(**given))
            events.note(tx, events.Kind.CLIENT_CHANGED, client_id=client_id)
    except IntegrityError as error:
        raise InvalidFields({"name": [NAME_TAKEN]}) from error


def disable(client_id: str) -> None:
    """Makes the client's secrets and tokens invalid at once, signs out everyone who signed in through it, and forgets the devices.
    Refuses with `NotFound`."""
    with transaction() as tx:
        _update(tx, client_id, disabled_at=func.coalesce(Client.disabled_at, clock.now()), disables=Client.disables + 1)
        _end_sessions(tx, client_id)
        events.note(tx, events.Kind.CLIENT_DISABLED, client_id=client_id)


def enable(client_id: str) -> None:
    """Makes the secrets of a disabled client valid again; its tokens and sessions stay over. Refuses with `NotFound`."""
    with transaction() as tx:
        _update(tx, client_id, disabled_at=None)
        events.note(tx, events.Kind.CLIENT_ENABLED, client_id=client_id)


def remove(client_id: str) -> None:
    """Disables the client for ever and deletes it. Events keep its id. Refuses with `NotFound`."""
    with transaction() as tx:
        if tx.scalar(delete(Client).where(Client.id == client_id).returning(Client.id)) is None:
            raise NotFound
        _end_sessions(tx, client_id)
        for table in (Authorization, Consent):
            tx.execute(delete(table).where(table.client_id == client_id))
        events.note(tx, events.Kind.CLIENT_REMOVED, client_id=client_id)


def _read(**given: object) -> dict[str, object]:
    """Columns of a client from what an operator typed. Refuses with `InvalidFields`, which reports every bad field."""
    columns, errors = dict(given), {}
    if "name" in given:
        columns["name"] = str(given["name"]).strip()
        if not 0 < len(str(columns["name"])) <= LONGEST_NAME or not str(columns["name"]).isprintable():
            errors["name"] = [NOT_A_NAME]
    if "scopes" in given:
        scopes = set(_words(given["scopes"]))
        columns["scopes"] = " ".join(scope for scope in Scope if scope in scopes)
        if scopes - set(Scope):
            errors["scopes"] = [NOT_A_SCOPE]
    if "origins" in given:
        origins = _words(given["origins"])
        if any(map(fault_of_origin, origins)):
            errors["origins"] = [NOT_AN_ORIGIN]
        else:
            columns["origins"] = " ".join(dict.fromkeys(map(serialized_origin, origins)))
    if "sends_per_hour" in given and not 0 <= int(str(given["sends_per_hour"])) <= MOST_SENDS_PER_HOUR:
        errors["sends_per_hour"] = [NOT_A_LIMIT]
    if errors:
        raise InvalidFields(errors)
    return columns


def _words(given: object) -> list[str]:
    return [word for each in given for word in str(each).split() or [""]] if isinstance(given, Iterable) else []


def _update(tx: Transaction, client_id: str, **values: object) -> None:
    if tx.scalar(update(Client).where(Client.id == client_id).values(values).returning(Client.id)) is None:
        raise NotFound


def _end_sessions(tx: Transaction, client_id: str) -> None:
    """Ends the sessions of a client whose row is locked, and makes its devices strangers: it may have kept their tokens."""
    tx.execute(delete(Device).where(Device.client_id == client_id))
    tx.execute(update(Session).where(Session.client_id == client_id, Session.ended_at.is_(None)).values(ended_at=clock.now()))
